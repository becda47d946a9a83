"""The repaired copy of a dataset, and the list of what was repaired."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ....errors import DataError, TrainingError
from ..model import Part, Subject
from .coco import write_coco
from .labelme import write_labelme
from .pictures import copy_pictures, name_pictures
from .places import Places, make_places
from .plan import Plan, Repair, make_plan
from .via import write_via
from .yolo import write_yolo, write_yolo_lists, write_yolo_names

__all__ = ["repairs_text", "write_repaired"]

LIST = "repairs.txt"


def write_repaired(subject: Subject, target: str | os.PathLike[str]) -> list[Repair]:
    """Copy a dataset, repairing what is safe; the sources stay as they are.

    Each repair is a line of ``repairs.txt`` in the copy.

    Args:
        subject: what was read.
        target: folder of the copy; must not exist, or be empty.

    Returns:
        What was repaired.

    Raises:
        DataError: where the target isn't empty or lies in a source, or a format can't be repaired.
        TrainingError: where the copy can't be written.
    """
    for format, name in (("masks", "Folders of masks"), ("vehide", "VehiDE's files")):
        if any(part.format == format for part in subject.parts):
            raise DataError(f"{name} can't be repaired; convert them with tools/convert.py first.")
    places = make_places(subject.sources, Path(target))
    plan = make_plan(subject)
    try:
        Path(target).mkdir(parents=True, exist_ok=True)
        name_pictures(subject, plan, places)
        copy_pictures(subject, plan, places)
        for part in subject.parts:
            _write(part, subject, plan, places)
        _copy_others(subject, plan, places)
        lines = [_line(repair) for repair in plan.repairs]
        text = "".join(f"{line}\n" for line in lines)
        (Path(target) / LIST).write_bytes(text.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise TrainingError(f"The copy {target} can't be written: {error}.") from None
    return plan.repairs


def _line(repair: Repair) -> str:
    place = repair.file if repair.index is None else f"{repair.file} #{repair.index}"
    return f"{repair.code} {place}: {repair.text}"


def _write(part: Part, subject: Subject, plan: Plan, places: Places) -> None:
    for hit in part.notes.get("D001", ()):
        plan.tell("D001", hit.file, None, f"left out: {hit.text}")
    broken = {hit.file for hit in part.notes.get("D001", ())}
    if part.format == "coco" and part.pictures and part.source not in broken:
        write_coco(part, subject, plan, places)
    elif part.format == "via" and part.pictures and part.source not in broken:
        write_via(part, plan, places)
    elif part.format == "labelme":
        write_labelme(part, subject, plan, places)
    elif part.format == "yolo":
        write_yolo(part, plan, places)


def _copy_others(subject: Subject, plan: Plan, places: Places) -> None:
    """Copy what is neither annotation nor picture, such as a licence; not where links lead out."""
    known = {os.path.abspath(path) for path in subject.looks if path}
    known |= {os.path.abspath(part.source) for part in subject.parts}
    known |= {os.path.abspath(picture.file) for picture in subject.pictures}
    for part in subject.parts:
        known |= {os.path.abspath(hit.file) for hit in part.notes.get("D001", ())}
        known |= write_yolo_lists(part, plan, places)
    names = next((part.classes for part in subject.parts if part.format == "yolo" and part.pictures), [])
    for source in (source for source in subject.sources if os.path.isdir(source)):
        for folder, _, files in os.walk(source):
            for file in files:
                path = Path(folder) / file
                if os.path.abspath(path) in known or not _inside(path, source):
                    continue
                target = places.target(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix.lower() in (".yaml", ".yml") and write_yolo_names(path, target, names, plan):
                    continue
                shutil.copyfile(path, target)
    for path in (Path(source) for source in subject.sources if os.path.isfile(source)):
        if path.suffix.lower() in (".yaml", ".yml"):
            target = places.target(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not write_yolo_names(path, target, names, plan):
                shutil.copyfile(path, target)


def _inside(path: Path, source: str) -> bool:
    root = os.path.realpath(source)
    return path.is_file() and os.path.commonpath([root, os.path.realpath(path)]) == root


def repairs_text(repairs: Sequence[Repair], target: str | os.PathLike[str]) -> str:
    """Say in a few lines what was repaired."""
    if not repairs:
        return f"Nothing had to be repaired; the copy is in {target}."
    counts = Counter(repair.code for repair in repairs)
    told = ", ".join(f"{code} {count:,}" for code, count in sorted(counts.items()))
    return f"{len(repairs):,} repairs ({told}) in the copy {target}; each is a line of {LIST} there."
