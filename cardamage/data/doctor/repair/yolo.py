"""YOLO's label files repaired."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from ....errors import DataError
from ...formats.shared.text_files import read_text
from ...formats.tracing.bridges import joined
from ..model import Part, Picture, Shape
from ..reading.yolo import row_words
from .places import Places
from .plan import Plan

__all__ = ["write_yolo", "write_yolo_lists", "write_yolo_names"]


def write_yolo(part: Part, plan: Plan, places: Places) -> None:
    """Write the repaired copies of label files; those without a good picture are left out.

    Args:
        part: the folder as it was read.
        plan: what is repaired; is told what is repaired here.
        places: of the copy.
    """
    for picture in part.pictures:
        file = Path(picture.file)
        if not picture.labelled or not os.path.isfile(file):
            continue
        if not picture.source or picture.source in plan.lost:
            plan.tell("D310", picture.file, None, "left out: there is no good picture for it")
            continue
        target = places.target(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows = _rows(picture, part, plan)
        except DataError:
            continue  # it is listed as left out
        target.write_text(rows, encoding="utf-8")


def _rows(picture: Picture, part: Part, plan: Plan) -> str:
    shapes = {shape.index: shape for shape in picture.shapes}
    rows = []
    for line, row in enumerate(read_text(picture.file, "label file").splitlines(), start=1):
        shape = shapes.get(line)
        if shape is None or (picture.file, line) in plan.dropped:
            continue
        rows.append(_row(row, shape, [] if part.off_by_one else part.classes, plan))
    return "".join(f"{row}\n" for row in rows)


def _row(row: str, shape: Shape, names: list[str], plan: Plan) -> str:
    (number, *values), odd = row_words(row)
    if odd:
        plan.tell("D221", shape.file, shape.index, f"{odd}, written with blanks between")
    label = plan.labels.get(shape.label or "", shape.label or "")
    if plan.labels and label in (final := final_names(names, plan)):
        number = str(final.index(label))
    change = plan.changed.get((shape.file, shape.index))
    height, width = shape.size
    if change is not None and change.rings is not None:
        whole = change.rings[0] if len(change.rings) == 1 else joined(change.rings)
        points = whole / (width, height)
        values = [f"{value:.8g}" for value in points.reshape(-1).tolist()]
    elif change is not None and change.box is not None:
        x0, y0, x1, y1 = change.box
        centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        values = [*(f"{value:.8g}" for value in centre), *values[4:]]
    return " ".join([number, *values])


def final_names(names: list[str], plan: Plan) -> list[str]:
    """Return the class names once those that mean the same are one."""
    return list(dict.fromkeys(plan.labels.get(name, name) for name in names))


def write_yolo_names(file: Path, target: Path, names: list[str], plan: Plan) -> bool:
    """Write a YAML with the names that are left; whether that was needed.

    Args:
        file: the YAML.
        target: its copy.
        names: those that the labels were read with; other YAML files stay as they are.
        plan: what is repaired.
    """
    try:
        content = yaml.safe_load(read_text(file, "YOLO file")) if plan.labels else None
    except (yaml.YAMLError, DataError, RecursionError, ValueError):
        return False
    if not isinstance(content, dict):
        return False
    stated = content.get("names")
    listed = list(stated.values()) if isinstance(stated, dict) else stated
    if not isinstance(listed, list) or [str(name) for name in listed] != names:
        return False
    content["names"] = final_names(names, plan)
    if "nc" in content:
        content["nc"] = len(content["names"])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return True


def write_yolo_lists(part: Part, plan: Plan, places: Places) -> set[str]:
    """Write the lists of pictures without those that are left out or missing; renamed ones by their new name.

    Args:
        part: whose lists they are.
        plan: what is repaired; is told what is repaired here.
        places: of the copy.

    Returns:
        The lists, as absolute paths.
    """
    missing = {(hit.file, hit.index) for hit in part.notes.get("D101", ())}
    lost = {os.path.realpath(source) for source in plan.lost}
    renamed = {os.path.realpath(old): new.name for old, new in places.renamed.items()}
    for file, pictures in part.lists.items():
        rows = []
        for line, row in enumerate(read_text(file, "list of pictures").splitlines(), start=1):
            path = pictures.get(line, "")
            if (file, line) in missing or path in lost:
                plan.tell("D101", file, line, f"{row.strip()} taken out of the list")
            elif path in renamed:
                rows.append(row.replace(os.path.basename(path), renamed[path]))
            else:
                rows.append(row)
        target = places.target(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return {os.path.abspath(file) for file in part.lists}
