"""Reading weights files without running anything that is in them.

What a file is follows from its first bytes, not from its name: ``.pkl`` files are found that torch saved, and
``.pth`` files that are pickles.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from cardamage.checkpoint.reading_layouts import with_model
from cardamage.checkpoint.reading_screen import screen_archive, screen_old
from cardamage.errors import CheckpointError
from cardamage.utils import safe_pickle
from cardamage.utils.safe_numpy import PickledArray, numpy_globals

__all__ = ["check_file", "read_checkpoint", "split_query"]

_LFS_POINTER = b"version https://git-lfs"
_ZIP = b"PK\x03\x04"
# The number that torch's older format begins with, as a pickle.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_SAFETENSORS = re.compile(rb"^.{8}\{", re.DOTALL)
_NAMED = re.compile(r"GLOBAL (\S+)")
# torch packs weights as they are; what unpacks to far more is made to fill the memory.
_MOST_UNPACKED = 100


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a weights file: of cardamage, Detectron2 and its model zoo, Caffe2, torchvision, timm or pycls.

    Only tensors, arrays and plain Python values are read, from torch's formats (``weights_only``), pickles
    (:mod:`cardamage.utils.safe_pickle`) and safetensors.

    Args:
        path: the file.

    Returns:
        The file's entries. ``model`` holds tensors or arrays of numbers by parameter name, all on the CPU;
        ``matching_heuristics`` is true where the names are not Detectron2's, and ``__author__`` then tells
        whose they are (``Caffe2``, ``pycls``).

    Raises:
        CheckpointError: if the file is missing, damaged, no checkpoint, or names what could run code.
    """
    path = Path(path)
    head = check_file(path)
    try:
        if head.startswith(_ZIP):
            _check_archive(path)
            screen_archive(path)
        if head.startswith(_OLD_TORCH):
            screen_old(path)
        if head.startswith((_ZIP, _OLD_TORCH)):
            return with_model(_read_torch(path), path)
        if _SAFETENSORS.match(head) and path.suffix == ".safetensors":
            return with_model(_read_safetensors(path), path)
        with path.open("rb") as file:
            return with_model(safe_pickle.load(file), path, pickled=True)
    except pickle.UnpicklingError as error:
        named = _forbidden(error)
        if named:
            raise CheckpointError(
                f"The weights file '{path}' names '{named}', and loading that could run code: nothing of it "
                "was run. Use a file of weights alone, such as a saved state_dict()."
            ) from error
        raise CheckpointError(_damaged(path)) from error
    except CheckpointError:
        raise
    except Exception as error:  # torch raises whatever a damaged file leads to
        raise CheckpointError(_damaged(path)) from error


def split_query(path: str) -> tuple[str, bool]:
    """Part ``?matching_heuristics=True`` from a path or address, as Detectron2 writes it.

    Returns:
        The path without it, and whether parameters are to be matched by heuristics.
    """
    if "matching_heuristics=" not in path or Path(path).exists():
        return path, False
    address, mark, fragment = path.partition("#")
    base, _, query = address.partition("?")
    parts = query.split("&")
    kept = "&".join(part for part in parts if not part.startswith("matching_heuristics="))
    return base + (f"?{kept}" if kept else "") + mark + fragment, "matching_heuristics=True" in parts


def check_file(path: Path) -> bytes:
    """Return a weights file's first bytes.

    Raises:
        CheckpointError: if there is no file, or it is a Git LFS pointer.
    """
    if path.is_dir():
        raise CheckpointError(f"The weights file '{path}' is a folder: name a .pth file in it.")
    if not path.is_file():
        raise CheckpointError(f"The weights file '{path}' doesn't exist: check the path.")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CheckpointError(
            f"The weights file '{path}' can't be opened ({error.strerror}): check its permissions."
        ) from error
    if head.startswith(_LFS_POINTER):
        raise CheckpointError(f"The weights file '{path}' is a Git LFS pointer: run 'git lfs pull'.")
    return head


def _check_archive(path: Path) -> None:
    """Refuse an archive that isn't a checkpoint, or unpacks to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise CheckpointError(_damaged(path)) from error
    if "constants.pkl" in names:
        raise CheckpointError(
            f"The weights file '{path}' is a TorchScript program, not a checkpoint: save the model's "
            "state_dict() and use that."
        )
    if unpacked > _MOST_UNPACKED * path.stat().st_size:
        raise CheckpointError(
            f"The weights file '{path}' would unpack to {unpacked / 2**30:.1f} GiB, {_MOST_UNPACKED} times "
            "its size or more, which weights never do: use another file."
        )


def _read_torch(path: Path) -> Any:
    # Numpy's own functions, which Detectron2's files name, would believe whatever a file tells them.
    stand_ins: list[Any] = [(value, name) for name, value in numpy_globals(PickledArray).items()]
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"The weights file '{path}' is in the safetensors format: pip install safetensors, or convert it "
            "to .pth."
        ) from error
    try:
        return load_file(path, device="cpu")
    except Exception as error:  # the library has an exception of its own
        raise CheckpointError(_damaged(path)) from error


def _forbidden(error: pickle.UnpicklingError) -> str:
    """Return what a file names that could run code, empty if it is damaged merely."""
    if isinstance(error, safe_pickle.ForbiddenPickleError):
        return error.name
    found = _NAMED.search(str(error))
    return found[1] if found else ""


def _damaged(path: Path) -> str:
    return (
        f"The weights file '{path}' can't be read: it is damaged, cut short or no PyTorch checkpoint. "
        "Use another file, or download it again."
    )
