"""COCO files repaired: everything that isn't, stays as it was."""

from __future__ import annotations

import os
from typing import Any

from ...annotations import outlines
from ...formats.shared.text_files import read_json
from ...formats.shared.values import as_id
from ..checks.boxes import area_matches
from ..model import Part, Picture, Shape, Subject
from ..reading.coco import category_name
from .pictures import relative
from .places import Places
from .plan import Change, Plan
from .writing import write_json

__all__ = ["write_coco"]


def write_coco(part: Part, subject: Subject, plan: Plan, places: Places) -> None:
    """Write a COCO file's repaired copy.

    Args:
        part: the file as it was read.
        subject: all that was read.
        plan: what is repaired; is told what is repaired here.
        places: of the copy.
    """
    content = read_json(part.source, "COCO file")
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content.get(key), list) else []
        content[key] = [entry if isinstance(entry, dict) else None for entry in entries]
    pictures = {p.index: p for p in part.pictures}
    lost = {index for index, p in pictures.items() if not p.source or p.source in plan.lost}
    for index in sorted(i for i in lost if i is not None):
        text = f"{pictures[index].name} left out with its {len(pictures[index].shapes)} objects"
        plan.tell("D101", part.source, index, text)
    by_key = _images(content, part, pictures, lost, subject, plan, places)
    shapes = {shape.index: (shape, picture) for picture in part.pictures for shape in picture.shapes}
    kept = []
    for index, annotation in enumerate(content["annotations"]):
        known = shapes.get(index)
        if annotation is None or known is None:
            plan.tell("D305", part.source, index, "annotation dropped: it belongs to no image")
        elif known[1].index not in lost and (part.source, index) not in plan.dropped:
            annotation["image_id"] = by_key[known[1].index]
            _repair(annotation, known[0], plan)
            kept.append((known[0], annotation))
    content["annotations"] = [annotation for _, annotation in kept]
    _categories(content, kept, part, plan)
    _number(content["annotations"], part, plan)
    write_json(places.target(part.source), content)


def _images(
    content: dict[str, Any],
    part: Part,
    pictures: dict[int | None, Picture],
    lost: set[int | None],
    subject: Subject,
    plan: Plan,
    places: Places,
) -> dict[int | None, Any]:
    """Repair the images; return the new id of each by its index."""
    entries = [(i, e) for i, e in enumerate(content["images"]) if e is not None and i not in lost]
    ids = [as_id(entry.get("id")) for _, entry in entries]
    anew = None in ids or len(set(ids)) < len(ids) or min((i or 0 for i in ids), default=1) < 1
    if anew:
        code = "D304" if len(set(ids)) == len(ids) else "D303"
        plan.tell(code, part.source, None, "images numbered from 1")
    found: dict[int | None, Any] = {}
    for number, (index, entry) in enumerate(entries, start=1):
        entry["id"] = number if anew else entry["id"]
        found[index] = entry["id"]
        picture = pictures[index]
        _rename(entry, picture, part, plan, places)
        upright = subject.look(picture.source).upright
        if upright is not None and (picture.size is None or picture.swapped):
            entry["height"], entry["width"] = upright
            plan.tell(
                "D112" if picture.swapped else "D114", part.source, index, f"size of {picture.name} set"
            )
    content["images"] = [entry for _, entry in entries]
    return found


def _rename(entry: dict[str, Any], picture: Picture, part: Part, plan: Plan, places: Places) -> None:
    source = picture.source
    target, folder = places.target(source), places.target(part.source).parent
    old = os.path.basename(source)
    for key in ("file_name", "path"):
        value = entry.get(key)
        if isinstance(value, str) and value.endswith(old) and target.name != old:
            entry[key] = value[: len(value) - len(old)] + target.name
    if picture.moved or places.is_outside(source):
        entry["file_name"] = relative(target, folder)
        if entry["file_name"].startswith("../"):
            # Readers look in the folder above as well, but not outside of the one that they look in.
            entry["file_name"] = relative(target, folder.parent)
    if picture.moved:
        # Else the old place would be looked at first.
        entry.pop("path", None)
        plan.tell("D120", part.source, picture.index, f"{picture.name!r} is {entry['file_name']!r} now")


def _repair(annotation: dict[str, Any], shape: Shape, plan: Plan) -> None:
    change = plan.changed.get((shape.file, shape.index), Change())
    if change.rings is not None:
        annotation["segmentation"] = [outlines.flat(points) for points in change.rings]
    if change.box is not None or (shape.box is None and shape.extent is not None):
        x0, y0, x1, y1 = change.box or shape.extent or (0.0, 0.0, 0.0, 0.0)
        annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    if shape.rewrite or annotation.get("iscrowd") is None:
        annotation["iscrowd"] = int(shape.crowd)
    if shape.rewrite:
        if shape.kind == "box":
            annotation["segmentation"] = []
        plan.tell("D221", shape.file, shape.index, "written as COCO has it")
    if annotation.get("area") is None and shape.area is not None:
        annotation["area"] = shape.area
        plan.tell("D224", shape.file, shape.index, f"area set to {shape.area:.0f}")
    elif shape.rings and (change.rings is not None or not area_matches(shape) or shape.rewrite):
        new = Shape(shape.file, shape.index, shape.label, change.rings or shape.rings, size=shape.size)
        if new.area is not None:
            annotation["area"] = new.area
            plan.tell("D212", shape.file, shape.index, f"area set to {new.area:.0f}")


def _categories(
    content: dict[str, Any], kept: list[tuple[Shape, dict[str, Any]]], part: Part, plan: Plan
) -> None:
    """Drop placeholders, join names that are the same, and number from 1 where the ids need it."""
    entries = [entry for entry in content["categories"] if entry is not None]
    if not entries:
        numbers = sorted({int(shape.label) for shape, _ in kept if shape.label})
        content["categories"] = [{"id": number, "name": str(number)} for number in numbers]
        plan.tell("D002", part.source, None, "categories added, whose names are their numbers")
        return
    ids = [as_id(entry.get("id")) for entry in entries]
    if None in ids or len(set(ids)) < len(ids) or part.off_by_one:
        content["categories"] = entries
        return
    entries.sort(key=lambda entry: as_id(entry["id"]) or 0)
    dropped = [entry for entry in entries if str(entry.get("name")) in part.placeholders]
    stays = [entry for entry in entries if entry not in dropped]
    names = [category_name(entry) for entry in stays]
    joined = {name: plan.labels.get(name, name) for name in names}
    final: list[dict[str, Any]] = []
    for entry, name in zip(stays, names, strict=True):
        if joined[name] not in [str(other["name"]) for other in final]:
            final.append({**entry, "name": joined[name]})
        elif names.count(name) > 1:
            plan.tell("D415", part.source, None, f"the categories {name!r} are one now")
    anew = 0 in ids
    for number, entry in enumerate(final, start=1):
        entry["id"] = number if anew else entry["id"]
    for entry in dropped:
        plan.tell("D404", part.source, None, f"placeholder class {entry.get('name')!r} dropped")
    if anew:
        plan.tell("D309", part.source, None, "categories numbered from 1")
    by_name = {str(entry["name"]): entry["id"] for entry in final}
    for shape, annotation in kept:
        annotation["category_id"] = by_name[joined[shape.label or ""]]
    content["categories"] = final


def _number(annotations: list[dict[str, Any]], part: Part, plan: Plan) -> None:
    ids = [as_id(annotation.get("id")) for annotation in annotations]
    if None not in ids and len(set(ids)) == len(ids) and min((i or 0 for i in ids), default=1) >= 1:
        return
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    plan.tell("D302" if 0 in ids else "D301", part.source, None, "annotations numbered from 1")
