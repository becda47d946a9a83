"""Reading pickles of arrays without running anything that is in them.

A pickle is a program: it may name any function and have it called. This reader knows numbers, text, lists,
tuples, dicts, numpy arrays and plain torch tensors, calls functions of ours alone, and refuses a file that
names anything else. It is Python's own ``pickle._Unpickler`` with most of its instructions taken away; the
fast one can't be limited that far (its memo grows to any index a file names, and it hashes nested tuples).
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from cardamage.utils.safe_numpy import PickledArray, array_state, numpy_globals

__all__ = ["ForbiddenPickleError", "load"]

# Instructions that push plain values, or put them together.
_PLAIN = """
    PROTO STOP FRAME MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT LONG LONG1 LONG4 BININT BININT1 BININT2
    FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE
    SHORT_BINUNICODE BINUNICODE8 EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT
    GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL
""".split()
_OPCODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_NAMES = {code: name for name, code in _OPCODES.items()}
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
# ``hash`` of a deeply nested tuple overflows the stack of the process.
_KEYS = (str, bytes, int, float, bool, type(None))
_DAMAGE = (
    EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError,
    RecursionError, RuntimeError, struct.error,
)  # fmt: skip


class ForbiddenPickleError(pickle.UnpicklingError):
    """A pickle that names something which could run code.

    Attributes:
        name: what it names: a function or class, or an instruction of the pickle machine.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the file names '{name}', and loading that could run code")
        self.name = name


def load(file: IO[bytes]) -> Any:
    """Read one pickle, of Python 2 or 3 and any protocol up to 5.

    Args:
        file: opened for reading bytes, and seekable.

    Returns:
        Dicts, lists, tuples, text (Python 2's bytes read as latin1), numbers, arrays of numbers and tensors
        on the CPU.

    Raises:
        ForbiddenPickleError: if the file names anything else. Nothing was called.
        pickle.UnpicklingError: if it is damaged or cut short; the reason in a few words.
    """
    try:
        return _Unpickler(_Bounded(file)).load()
    except pickle.UnpicklingError:
        raise
    except _DAMAGE as error:
        raise pickle.UnpicklingError(str(error) or "the file is cut short") from error


class _Bounded:
    """A file that is asked for no more bytes than it has: a length told in a pickle allocates nothing."""

    def __init__(self, file: IO[bytes]) -> None:
        here = file.tell()
        self._left = file.seek(0, os.SEEK_END) - here
        self._file = file
        file.seek(here)

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._left:
            raise EOFError
        self._left -= count
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline()
        self._left -= len(line)
        return line

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[:] = data
        return len(data)


# Its attributes are not public; they are the same in Python 3.8 and later.
_Python: Any = vars(pickle)["_Unpickler"]


def _refusal(code: int) -> Callable[[Any], None]:
    def refuse(machine: _Unpickler) -> None:
        # A text or picture may begin with the letter of such an instruction.
        if code not in _NAMES or not (machine.stack or machine.metastack):
            raise pickle.UnpicklingError("the file is no pickle")
        raise ForbiddenPickleError(_NAMES[code])

    return refuse


class _Unpickler(_Python):
    stack: list[Any]
    metastack: list[list[Any]]

    def __init__(self, file: _Bounded) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _GLOBALS:
            return _GLOBALS[full]
        if not _DOTTED.fullmatch(full):
            raise pickle.UnpicklingError("the file is no pickle")
        raise ForbiddenPickleError(full)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not isinstance(arguments, tuple) or not any(function is known for known in _FUNCTIONS):
            raise ForbiddenPickleError(getattr(function, "__name__", type(function).__name__))
        self.stack[-1] = function(*arguments)

    def load_build(self) -> None:
        """Give arrays and dtypes their state; anything else's __setstate__ could run code."""
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is np.ndarray:
            target.__setstate__(array_state(state))
        elif isinstance(target, _GLOBALS["numpy.dtype"]):
            target.__setstate__(state)
        elif type(target) is not OrderedDict:
            # A state dict carries the versions of its modules as state; nobody needs them.
            raise ForbiddenPickleError(type(target).__name__)

    def load_append(self) -> None:
        value = self.stack.pop()
        self._list().append(value)

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._list().extend(values)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        self._fill(self.pop_mark())

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._fill(items)

    def load_bytearray8(self) -> None:
        (count,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(count)))

    def load_inst(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
        self.find_class(module, name)
        raise ForbiddenPickleError(f"{module}.{name}")

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError("the file is no pickle")
        return self.stack[-1]

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict) or len(items) % 2:
            raise pickle.UnpicklingError("the file is no pickle")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise pickle.UnpicklingError(f"a dict has a key of type {type(key).__name__}")
            target[key] = value

    dispatch = {
        **{code: _refusal(code) for code in range(256)},
        **{_OPCODES[name]: _Python.dispatch[_OPCODES[name]] for name in _PLAIN},
        _OPCODES["REDUCE"]: load_reduce,
        _OPCODES["BUILD"]: load_build,
        _OPCODES["APPEND"]: load_append,
        _OPCODES["APPENDS"]: load_appends,
        _OPCODES["SETITEM"]: load_setitem,
        _OPCODES["SETITEMS"]: load_setitems,
        _OPCODES["DICT"]: load_dict,
        _OPCODES["BYTEARRAY8"]: load_bytearray8,
        _OPCODES["INST"]: load_inst,
    }


def _encode(text: Any, encoding: Any) -> bytes:
    """Stand for ``codecs.encode``, which bytes are pickled with before protocol 3."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes can't be read")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """Stand for ``bytes``, called without arguments before protocol 3."""
    return b""


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    """Stand for ``OrderedDict``, which Python 2 pickles with its items."""
    if not isinstance(items, (list, tuple)):
        raise ValueError("a dict's items can't be read")
    pairs = [tuple(item) for item in items]
    if any(len(pair) != 2 or not isinstance(pair[0], _KEYS) for pair in pairs):
        raise ValueError("a dict's items can't be read")
    return OrderedDict(pairs)


def _storage(data: Any) -> Any:
    """Stand for the function that a tensor's data is pickled with; torch's own runs what is in it."""
    import torch

    try:
        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # torch raises whatever a damaged file leads to
        raise ValueError("a tensor's data can't be read") from error
    if not isinstance(storage, (torch.storage.TypedStorage, torch.storage.UntypedStorage)):
        raise ValueError("a tensor's data can't be read")
    return storage


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    """Stand for ``torch._utils._rebuild_tensor_v2``: hooks and gradients are left behind."""
    import torch

    if not isinstance(storage, torch.storage.TypedStorage):
        raise ValueError("a tensor's data can't be read")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a tensor's shape can't be read")
    # TypedStorage's own methods warn that it will go.
    tensor, data = torch.empty(0, dtype=storage.dtype), storage._untyped_storage
    count = data.nbytes() // tensor.element_size()
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if all(size) and last >= count:
        raise ValueError(f"a tensor of shape {tuple(size)} has {count} values")
    return tensor.set_(data, offset, tuple(size), tuple(stride))


def _parameter(value: Any, *_: Any) -> Any:
    """Stand for ``torch._utils._rebuild_parameter``."""
    import torch

    if type(value) is not torch.Tensor:
        raise ValueError("a parameter can't be read")
    return value


def _empty_array() -> np.ndarray:
    return np.empty(0, np.dtype("i1"))


_GLOBALS: dict[str, Any] = {
    **numpy_globals(_empty_array),
    "_codecs.encode": _encode,
    "__builtin__.bytes": _empty_bytes,
    "builtins.bytes": _empty_bytes,
    "collections.OrderedDict": _ordered_dict,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}
_FUNCTIONS = [value for value in _GLOBALS.values() if value is not PickledArray]
