"""Stand-ins for what numpy's arrays are pickled with, which check what a file tells them.

numpy's own functions believe a pickle: a data type can be one of Python objects, a shape larger than its
data. Readers of untrusted files give these instead, under numpy's names (:func:`numpy_globals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["PickledArray", "PickledDtype", "array_state", "numpy_globals", "plain_array"]

_NUMERIC = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"}
_MAX_DIMENSIONS = 32
# The package that numpy 1 and numpy 2 keep these functions in.
_HOMES = ("numpy.core", "numpy._core")


class PickledDtype:
    """A data type as a pickle tells it: numbers and truth values of a standard size, nothing else."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        """Take the arguments that numpy pickles a data type with.

        Args:
            code: kind and bytes, such as ``f4``.
            align: not used.
            copy: not used.

        Raises:
            ValueError: if it is no plain number.
        """
        if not isinstance(code, str) or code not in _NUMERIC:
            raise ValueError(f"an array of {code!r} is not one of numbers")
        self.dtype = np.dtype(code)
        """The data type."""

    def __setstate__(self, state: Any) -> None:
        """Take the byte order; a file that tells of fields or subarrays is refused."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("a data type's state can't be read")
        if any(item is not None for item in state[2:5]):
            raise ValueError("an array of records is not one of numbers")
        if state[1] != "|":
            self.dtype = self.dtype.newbyteorder(state[1])


class PickledArray(np.ndarray):
    """An array for readers that call ``__setstate__`` themselves: checks the state first."""

    def __new__(cls) -> PickledArray:
        """Return an empty array, to be filled by ``__setstate__``."""
        return super().__new__(cls, (0,), np.dtype("i1"))

    def __setstate__(self, state: Any) -> None:
        """Take shape and data, as :func:`array_state` checks them."""
        super().__setstate__(array_state(state))


def array_state(state: Any) -> tuple[int, tuple[int, ...], np.dtype[Any], Any, bytes]:
    """Check the state that numpy pickles an array with.

    Args:
        state: version, shape, data type, whether columns lie together, bytes. Python 2's bytes come as text.

    Returns:
        The same, safe for numpy.

    Raises:
        ValueError: if it is not that, or shape and data disagree.
    """
    if not isinstance(state, tuple) or len(state) != 5:
        raise ValueError("an array's state can't be read")
    version, shape, dtype, fortran, data = state
    dtype = _dtype_of(dtype)
    return 1, _shape_of(shape, dtype, data := _bytes_of(data)), dtype, bool(fortran), data


def plain_array(array: np.ndarray) -> np.ndarray:
    """Return an array without stand-ins, in this machine's byte order."""
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def numpy_globals(array: Callable[[], np.ndarray]) -> dict[str, Any]:
    """Return the stand-ins by the names in pickles.

    Args:
        array: makes the empty array that the reader fills afterwards.
    """

    def reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
        if kind is not PickledArray:
            raise ValueError("only plain arrays can be read")
        return array()

    functions = {
        "multiarray._reconstruct": reconstruct,
        "multiarray.scalar": _scalar,
        "numeric._frombuffer": _from_buffer,
    }
    found: dict[str, Any] = {f"{home}.{name}": value for home in _HOMES for name, value in functions.items()}
    return {**found, "numpy.ndarray": PickledArray, "numpy.dtype": PickledDtype}


def _scalar(dtype: Any, data: Any = b"") -> Any:
    data, dtype = _bytes_of(data), _dtype_of(dtype)
    _shape_of((), dtype, data)
    return np.frombuffer(data, dtype)[0]


def _from_buffer(
    data: Any, dtype: Any, shape: Any, order: Any, axis_order: Sequence[int] | None = None
) -> np.ndarray:
    data, dtype = _bytes_of(data), _dtype_of(dtype)
    shape = _shape_of(shape, dtype, data)
    # A copy: the bytes of a pickle can't be written to.
    flat = np.frombuffer(bytearray(data), dtype)
    if order == "K" and axis_order is not None:
        return flat.reshape(shape).transpose(axis_order)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _dtype_of(value: Any) -> np.dtype[Any]:
    if isinstance(value, PickledDtype):
        return value.dtype
    if isinstance(value, np.dtype) and value.str[1:] in _NUMERIC:
        return np.dtype(value.str)
    raise ValueError("an array's data type can't be read")


def _bytes_of(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError("an array's data is not bytes")
    return bytes(data)


def _shape_of(shape: Any, dtype: np.dtype[Any], data: bytes) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("an array's shape can't be read")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("an array's shape can't be read")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes of data")
    return shape
