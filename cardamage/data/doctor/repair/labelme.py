"""Labelme files repaired."""

from __future__ import annotations

import os
from typing import Any

from ...formats.shared.text_files import read_json
from ..model import Part, Picture, Subject
from ..names import trimmed
from .pictures import relative
from .places import Places
from .plan import Plan
from .writing import write_json

__all__ = ["write_labelme"]


def write_labelme(part: Part, subject: Subject, plan: Plan, places: Places) -> None:
    """Write the repaired copies of Labelme files; those whose picture is lost are left out.

    Args:
        part: the files as they were read.
        subject: all that was read.
        plan: what is repaired; is told what is repaired here.
        places: of the copy.
    """
    for picture in part.pictures:
        beside = _instead(picture, subject)
        lost = picture.source in plan.lost or (
            picture.embedded is not None and bool(_trouble(picture, subject))
        )
        if lost and not beside:
            plan.tell("D101", picture.file, None, "left out with its picture")
            continue
        content = read_json(picture.file, "Labelme file")
        if beside:
            content["imageData"] = None
            content["imagePath"] = relative(places.target(beside), places.target(picture.file).parent)
            plan.tell("D105", picture.file, None, f"the embedded picture taken out: {beside} is there")
        shapes = content.get("shapes") if isinstance(content.get("shapes"), list) else []
        content["shapes"] = [
            _repaired(entry, picture.file, index, plan)
            for index, entry in enumerate(shapes)
            if (picture.file, index) not in plan.dropped
        ]
        _place(content, picture, subject, plan, places)
        write_json(places.target(picture.file), content, indent=2)


def _trouble(picture: Picture, subject: Subject) -> str | None:
    return subject.look(picture.embedded or picture.source).trouble


def _instead(picture: Picture, subject: Subject) -> str:
    """A good picture of the right size beside a file whose embedded one can't be read."""
    if picture.embedded is None or not _trouble(picture, subject):
        return ""
    good = (path for path in picture.beside if picture.size in (None, subject.look(path).upright))
    return next((path for path in good if not subject.look(path).trouble), "")


def _repaired(entry: Any, file: str, index: int, plan: Plan) -> Any:
    if not isinstance(entry, dict):
        return entry
    change = plan.changed.get((file, index))
    stated = str(entry.get("label") or "")
    label = plan.labels.get(stated.strip(), stated.strip())
    if label and label != stated:
        entry["label"] = label
        if label == trimmed(stated):
            plan.tell("D414", file, index, f"label {stated!r} is {label!r} now")
    if change is not None and change.rings is not None and len(change.rings) == 1:
        entry["points"] = change.rings[0].tolist()
        entry["shape_type"] = "polygon"
    return entry


def _place(content: dict[str, Any], picture: Picture, subject: Subject, plan: Plan, places: Places) -> None:
    upright = subject.look(picture.source).upright
    if upright is not None and (picture.size is None or picture.swapped):
        content["imageHeight"], content["imageWidth"] = upright
        plan.tell("D112" if picture.swapped else "D114", picture.file, None, "size set")
    if picture.embedded is None and os.path.isfile(picture.source):
        new = relative(places.target(picture.source), places.target(picture.file).parent)
        old = str(content.get("imagePath") or "")
        if new != old:
            content["imagePath"] = new
            plan.tell("D117", picture.file, None, f"imagePath {old!r} is {new!r} now")
