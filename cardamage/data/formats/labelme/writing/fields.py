"""What is known of objects and images besides their outlines, in the fields that Labelme has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....annotations.report import AnnotationReport
from ...dataset import AnnotatedImage
from ...shared.values import as_id
from ..objects import CROWD, TAKEN, score_text

__all__ = ["GroupIds", "as_flags", "shape_fields", "top_fields"]

_RENAMED = "labelme_"
_TOP = frozenset({"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"})
_SHAPE = frozenset(
    {"label", "points", "group_id", "flags", "description", "shape_type", "mask", "parts", "polygons"}
)


def top_fields(image: AnnotatedImage, losses: AnnotationReport) -> dict[str, Any]:
    """Return an image's further fields, which Labelme keeps without knowing them."""
    return _further(image.extra, _TOP, image.name, losses)


def shape_fields(
    extra: Mapping[str, Any], crowd: int, place: str, losses: AnnotationReport
) -> dict[str, Any]:
    """Return description, flags and further fields of a shape.

    Args:
        extra: of the object or one of its parts.
        crowd: whether it is a region of uncounted objects.
        place: whose fields these are, for messages.
        losses: is told of what is changed.
    """
    flags = as_flags(extra.get("flags"), place, losses)
    if crowd:
        flags[CROWD] = True
    description = extra.get("description") or score_text(extra.get("score")) or ""
    if not isinstance(description, str):
        description = json.dumps(plain(description))
        losses.add("changed", "its description is no text", place)
    return {
        "description": description,
        "flags": flags,
        **_further(extra, _SHAPE, place, losses),
    }


def as_flags(flags: Any, place: str, losses: AnnotationReport) -> dict[str, bool]:
    """Return flags as Labelme holds them: names with yes or no."""
    if not flags:
        return {}
    named = flags if isinstance(flags, dict) else dict.fromkeys(_names(flags), True)
    good = {str(name): bool(value) for name, value in named.items()}
    if good != flags or not all(isinstance(value, bool) for value in flags.values()):
        losses.add("changed", "its flags are no names with yes or no", place)
    return good


def _names(flags: Any) -> Sequence[str]:
    return [str(flag) for flag in flags] if isinstance(flags, (list, tuple)) else [str(flags)]


def _further(
    extra: Mapping[str, Any], own: frozenset[str], place: str, losses: AnnotationReport
) -> dict[str, Any]:
    fields = {}
    for key, value in extra.items():
        if key in own or key in TAKEN:
            continue
        name = key.removeprefix(_RENAMED)
        fields[name if name in TAKEN else key] = plain(value)
    try:
        json.dumps(fields)
    except (TypeError, ValueError, RecursionError):
        for key in list(fields):
            try:
                json.dumps(fields[key])
            except (TypeError, ValueError, RecursionError):
                del fields[key]
                losses.add("lost", f"its field {key!r} is nothing that JSON can hold", place)
    return fields


def plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


class GroupIds:
    """The groups of one file: a number and a label name one object.

    Args:
        wanted: ``group_id`` of the file's objects, where they have one.
    """

    def __init__(self, wanted: Sequence[Any]) -> None:
        numbers = [number for number in map(as_id, wanted) if number is not None]
        self._next = max([0, *numbers]) + 1
        self._used: set[tuple[str, int]] = set()

    def take(self, label: str, wanted: Any, parts: int, place: str, losses: AnnotationReport) -> int | None:
        """Return an object's group; None where it needs none.

        Args:
            label: of the object.
            wanted: the group that it had, or None.
            parts: how many shapes it gets.
            place: whose group this is, for messages.
            losses: is told where it gets another group.
        """
        number = as_id(wanted)
        if number is not None and (label, number) not in self._used:
            self._used.add((label, number))
            return number
        if wanted is None and parts < 2:
            return None
        if wanted is not None:
            losses.add("changed", "its group gets another number", place)
        number, self._next = self._next, self._next + 1
        self._used.add((label, number))
        return number
