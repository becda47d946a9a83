"""Which split of a dataset a path belongs to, told by its words."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["split_of"]

_WORDS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "trainingset": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "valset": "val",
    "validset": "val",
    "validationset": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "testingset": "test",
}


def split_of(path: str) -> str:
    """Return ``"train"``, ``"val"`` or ``"test"`` by the last folder or file name that says so, else ``""``.

    Of a file's name only words at its start or end count: ``instances_val2017`` is one, ``test drive`` isn't.
    """
    for level, part in enumerate(reversed(PurePath(path).parts)):
        stem = PurePath(part).stem if level == 0 else part
        words = re.findall(r"[a-z]+", stem.lower())
        likely = words if len(words) <= 1 else [words[-1], words[0]] if level else [words[-1]]
        for word in likely:
            if word in _WORDS:
                return _WORDS[word]
    return ""
