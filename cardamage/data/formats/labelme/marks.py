"""Which Labelme files are ours to write again: those that nobody has changed since we wrote them.

A file of ours has a key ``cardamage`` beside Labelme's own, which Labelme carries along when it saves. It
holds a hash of everything else in the file: shapes, flags, version, embedded picture. So a box ticked in
Labelme makes a file a person's, as does any other change. Whatever can't be proved to be ours is not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..shared.text_files import read_json
from .content import read_file

__all__ = ["MARK", "State", "content_hash", "marked", "reviewed_files", "state_of"]

MARK = "cardamage"
"""The key of our mark in a Labelme file."""

_KEY = f'"{MARK}"'.encode()


class State(Enum):
    """Whose a Labelme file is."""

    ABSENT = "absent"
    """There is none."""
    OURS = "ours"
    """We wrote it, and it is as we wrote it."""
    TOUCHED = "touched"
    """A person or another program wrote or changed it, or it can't be read."""


def marked(content: Mapping[str, Any], **about: Any) -> dict[str, Any]:
    """Return a Labelme file's content with our mark.

    Args:
        content: what the file will hold; a mark in it is replaced.
        about: what else to note, such as the model; plain JSON values.
    """
    return {**content, MARK: {**about, "sha256": content_hash(content)}}


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a Labelme file's content without the mark, whatever its layout and key order."""
    rest = {key: value for key, value in content.items() if key != MARK}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def state_of(path: str | os.PathLike[str]) -> State:
    """Tell whose a Labelme file is.

    Args:
        path: of the JSON; a folder or a broken link of that name counts as touched.
    """
    if not os.path.lexists(path):
        return State.ABSENT
    try:
        content = read_json(Path(path), "Labelme file")
        mark = content.get(MARK) if isinstance(content, dict) else None
        ours = isinstance(mark, dict) and mark.get("sha256") == content_hash(content)
    except (DataError, RecursionError):
        return State.TOUCHED
    return State.OURS if ours else State.TOUCHED


def reviewed_files(paths: Iterable[str], report: AnnotationReport) -> list[str]:
    """Leave out the Labelme files that are as a model's run wrote them.

    Args:
        paths: JSON files; those that can't be read stay, for a reader to refuse.
        report: is told of each that is left out.
    """
    kept = []
    for path in paths:
        if _is_marked(path) and state_of(path) is State.OURS:
            report.add("dropped", "a pre-label that nobody has reviewed", path)
        else:
            kept.append(path)
    return kept


def _is_marked(path: str) -> bool:
    """Whether there may be a mark: most files have none, and taking them apart takes longer than reading."""
    try:
        return _KEY in read_file(path)
    except DataError:
        return False
