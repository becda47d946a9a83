"""Reading weights files without running anything that is in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cardamage.errors import CheckpointError

__all__ = ["read_checkpoint"]

_LFS_POINTER = b"version https://git-lfs"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a ``.pth`` file of cardamage or Detectron2, or a plain state dict.

    Only tensors, arrays and plain Python values are read (``weights_only``).

    Args:
        path: the file.

    Returns:
        The file's entries, among them ``model``: tensors or arrays by parameter name, all on the CPU.

    Raises:
        CheckpointError: if the file is missing, damaged, no checkpoint, or holds code.
    """
    path = Path(path)
    _check_file(path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(
                f"The weights file '{path}' holds Python objects besides weights, and loading them could run "
                "code: save its state_dict() alone and use that."
            ) from error
        raise CheckpointError(_damaged(path)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(_damaged(path)) from error
    return _with_model(content, path)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"The weights file '{path}' is a folder: name a .pth file in it.")
    if not path.is_file():
        raise CheckpointError(f"The weights file '{path}' doesn't exist: check the path.")
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise CheckpointError(f"The weights file '{path}' is a Git LFS pointer: run 'git lfs pull'.")
    if path.suffix == ".pkl":
        raise CheckpointError(f"The weights file '{path}' is a .pkl, which isn't read: convert it to .pth.")


def _damaged(path: Path) -> str:
    return (
        f"The weights file '{path}' can't be read: it is damaged, cut short or no PyTorch checkpoint. "
        "Use another file, or download it again."
    )


def _with_model(content: Any, path: Path) -> dict[str, Any]:
    """Return the entries of a checkpoint; a plain state dict becomes its ``model``."""
    if isinstance(content, Mapping):
        if _is_state_dict(content.get("model")):
            return dict(content)
        if _is_state_dict(content):
            return {"model": content}
    raise CheckpointError(
        f"The weights file '{path}' holds no model weights: expected an entry 'model' with tensors by name."
    )


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(item, (torch.Tensor, np.ndarray)) for item in value.values())


def _numpy_globals() -> list[Any]:
    """Return what numpy's arrays and numbers, which Detectron2's files may hold, are pickled with."""
    # Asked of numpy itself: the module they live in was renamed by numpy 2.
    rebuild: dict[str, Any] = {
        "_reconstruct": np.zeros(1).__reduce__()[0],
        "scalar": np.float64(0).__reduce__()[0],
    }
    allowed: list[Any] = [
        *rebuild.values(),
        np.ndarray,
        np.dtype,
        *(
            type(np.dtype(name))
            for name in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")
        ),
    ]
    # Files written with the other numpy name the same functions by its path.
    for name, function in rebuild.items():
        allowed += [(function, f"{home}.multiarray.{name}") for home in ("numpy.core", "numpy._core")]
    return allowed
