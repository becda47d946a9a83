"""A look at torch's pickles before torch reads them.

``weights_only`` runs nothing, but it believes what a file says of sizes, and a tuple in a tuple in a tuple,
some hundred thousand deep, ends the process when it becomes the key of a dict.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import IO, Any

__all__ = ["screen_archive", "screen_old"]

_DEEPEST = 500
# torch's old format: a number, the format's version, the machine, the content, the storages' names.
_PICKLES = 5
# Instructions that put values into what lies below them, and leave that where it is.
_FILLING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_GETS, _PUTS = {"GET", "BINGET", "LONG_BINGET"}, {"PUT", "BINPUT", "LONG_BINPUT"}


def screen_archive(path: Path) -> None:
    """Look through the pickle of a checkpoint in torch's format.

    Raises:
        ValueError: if it is made to do harm, or no pickle.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.rpartition("/")[2] == "data.pkl":
                with archive.open(name) as file:
                    _screen(file)


def screen_old(path: Path) -> None:
    """Look through the pickles of a checkpoint in torch's older format; raises as :func:`screen_archive`."""
    with path.open("rb") as file:
        for _ in range(_PICKLES):
            _screen(file)


def _screen(file: IO[bytes]) -> None:
    """Follow how deep the values on the pickle machine's stack are nested, and nothing else of them."""
    depths: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name == "GLOBAL" and argument in ("__builtin__ bytearray", "builtins bytearray"):
            raise ValueError("a file may ask for a bytearray of any size")
        if name == "MARK":
            marks.append(len(depths))
        elif name in _GETS:
            depths.append(memo.get(argument, 0))
        elif name in _PUTS:
            memo[argument] = depths[-1]
        else:
            start = _start_of(opcode, len(depths), marks)
            inner = depths[start:]
            del depths[start:]
            depth = max(inner, default=-1) + 1
            if name in _FILLING:
                depth = max(inner[0], max(inner[1:], default=-1) + 1)
            if depth > _DEEPEST:
                raise ValueError("its values are nested too deeply")
            depths.extend([depth] * len(opcode.stack_after))


def _start_of(opcode: pickletools.OpcodeInfo, height: int, marks: list[int]) -> int:
    """Return where the values that an instruction takes from the stack begin."""
    before = opcode.stack_before
    if pickletools.markobject in before:
        return marks.pop() - before.index(pickletools.markobject)
    return height - len(before)
