"""Annotations in memory written as VIA 2 projects and exports: to the disk as they come."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ....errors import TrainingError
from ....utils.files import atomic_write, describe_write_error
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage, class_id
from ..losses import tell_fields
from ..pictures.placing import PicturePlacer
from ..registry import WriteOptions, Written
from ..shared.shared_root import name_below, shared_root
from .classes import IMAGE_FLAGS
from .file import CSV_COLUMNS
from .regions import as_attributes, regions_of

__all__ = ["write"]

_VERSION = "2.0.10"
_CLASS = "class"


def write(
    dataset: AnnotatedDataset, folder: Path, options: WriteOptions, losses: AnnotationReport
) -> Written:
    """Write ``via_project.json``, ``via_region_data.json`` and ``.csv``, for each split in a folder.

    The project opens in VIA 2 (Project, Load), with the class as a list to choose from. The other two are
    what VIA exports. Masks become outlines, and parts of one object share the attribute ``group_id``.

    Args:
        dataset: what to write.
        folder: the target; pictures that are copied or linked go to ``images`` beside the project.
        options: `pictures` and `tolerance` count.
        losses: is told what VIA can't hold.

    Raises:
        DataError: for a label that is not among the classes, a damaged mask, or a picture that can't
            be copied.
        TrainingError: where the folder can't be written.
    """
    tell_fields(dataset.extra, "VIA", dataset.source, losses, carried=["via"])
    tell_fields({"categories' fields": dataset.extra.get("categories")}, "VIA", dataset.source, losses)
    root = None
    if options.pictures == "keep":
        root = dataset.picture_root or shared_root(dataset.images)
    how = "copy" if options.pictures == "keep" and root is None else options.pictures
    parts: dict[str, _Part] = {}
    try:
        with ExitStack() as stack:
            for image in dataset.images:
                if image.split not in parts:
                    parts[image.split] = _Part(dataset, folder, image.split, root, how, stack)
                parts[image.split].add(image, options.tolerance, losses)
            if not parts:
                parts[""] = _Part(dataset, folder, "", root, how, stack)
            for part in parts.values():
                part.finish()
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, "the output folder")) from error
    named = {split or "all": f"via:{part.project}@{part.root}" for split, part in parts.items()}
    return Written([part.project for part in parts.values()], named)


class _Part:
    """The files of one split."""

    def __init__(
        self,
        dataset: AnnotatedDataset,
        folder: Path,
        split: str,
        root: Path | None,
        how: str,
        stack: ExitStack,
    ) -> None:
        place = folder / re.sub(r"[/\\\0]|^\.+$", "_", split) if split else folder
        self.project = place / "via_project.json"
        self.root = place / "images" if root is None else root
        self._kept = root is not None
        self._placer = PicturePlacer(place / "images", how)
        via = {
            **dataset.extra.get("via", {}),
            **dataset.extra.get("splits", {}).get(split, {}).get("via", {}),
        }
        self._class = str(via.get("class_attribute") or _CLASS)
        self._ids = {name: number for number, name in enumerate(dataset.classes)}
        self._attributes = _Attributes(self._class, dataset.classes, via.get("attributes"))
        place.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = stack.enter_context(atomic_write(self.project))
        self._export: IO[str] = stack.enter_context(atomic_write(place / "via_region_data.json"))
        self._table = csv.writer(
            stack.enter_context(atomic_write(place / "via_region_data.csv")), lineterminator="\n"
        )
        self._table.writerow(CSV_COLUMNS)
        self._order: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+", dir=place, encoding="utf-8"))
        settings = _settings(via.get("settings"), split or place.name, self._class)
        settings["core"]["default_filepath"] = Path(os.path.relpath(self.root, place)).as_posix() + "/"
        self._file.write(f'{{"_via_settings": {json.dumps(settings)},\n"_via_img_metadata": {{')
        self._export.write("{")
        self._between = "\n"

    def add(self, image: AnnotatedImage, tolerance: float, losses: AnnotationReport) -> None:
        """Write an image; an unknown class is refused before its picture is placed."""
        for raw in image.annotations:
            class_id(raw, self._ids)
        # Each split has a folder of its own already.
        short = replace(image, name=image.name.removeprefix(f"{image.split}/"))
        placed = image if self._kept else self._placer.place(short)
        name = name_below(image.source, self.root) if self._kept else placed.name
        size = os.path.getsize(placed.source) if os.path.isfile(placed.source) else -1
        entry = {
            "filename": name,
            "size": size,
            "regions": regions_of(image, self._class, tolerance, losses),
            "file_attributes": _file_attributes(image, losses),
        }
        self._attributes.note(entry)
        stored = f"{json.dumps(name + str(size))}: {json.dumps(entry)}"
        for file in (self._file, self._export):
            file.write(self._between + stored)
        self._order.write(self._between + json.dumps(name + str(size)))
        self._between = ",\n"
        self._table.writerows(_rows(entry))

    def finish(self) -> None:
        self._export.write("\n}\n")
        self._file.write(f'\n}},\n"_via_attributes": {json.dumps(self._attributes.declared)},\n')
        self._file.write(f'"_via_data_format_version": "{_VERSION}",\n"_via_image_id_list": [')
        self._order.seek(0)
        shutil.copyfileobj(self._order, self._file)
        self._file.write("\n]}\n")


class _Attributes:
    """What VIA asks for: the class among its names, all else as text or boxes."""

    def __init__(self, class_attribute: str, classes: Sequence[str], known: Any) -> None:
        self.declared: dict[str, dict[str, Any]] = {"region": {}, "file": {}}
        for kind in self.declared:
            if isinstance(known, dict) and isinstance(known.get(kind), dict):
                self.declared[kind].update(known[kind])
        before = self.declared["region"].get(class_attribute)
        options = before.get("options") if isinstance(before, dict) else None
        said = options if isinstance(options, dict) else {}
        self.declared["region"][class_attribute] = {
            "type": "dropdown",
            "description": "the class",
            "options": {name: said.get(name, name) for name in classes},
            "default_options": {},
        }
        self._class = class_attribute

    def note(self, entry: Mapping[str, Any]) -> None:
        self._declare("file", entry["file_attributes"])
        for region in entry["regions"]:
            self._declare("region", region["region_attributes"])

    def _declare(self, kind: str, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            if kind == "region" and key == self._class:
                continue
            if not isinstance(value, dict):
                text = {"type": "text", "description": "", "default_value": ""}
                self.declared[kind].setdefault(key, text)
                continue
            boxes = {"type": "checkbox", "description": "", "options": {}, "default_options": {}}
            declared = self.declared[kind].setdefault(key, boxes)
            if isinstance(declared, dict) and isinstance(declared.get("options"), dict):
                declared["options"].update({name: name for name in value if name not in declared["options"]})


def _settings(known: Any, name: str, class_attribute: str) -> dict[str, Any]:
    """VIA's own defaults, with what the source had in place of them."""
    grid = {
        "img_height": 80,
        "rshape_fill": "none",
        "rshape_fill_opacity": 0.3,
        "rshape_stroke": "yellow",
        "rshape_stroke_width": 2,
        "show_region_shape": True,
        "show_image_policy": "all",
    }
    settings: dict[str, Any] = {
        "ui": {
            "annotation_editor_height": 25,
            "annotation_editor_fontsize": 0.8,
            "leftsidebar_width": 18,
            "image_grid": grid,
            "image": {
                "region_label": class_attribute,
                "region_color": class_attribute,
                "region_label_font": "10px Sans",
                "on_image_annotation_editor_placement": "NEAR_REGION",
            },
        },
        "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
        "project": {"name": name},
    }
    for key, value in known.items() if isinstance(known, dict) else ():
        if key != "core" and (isinstance(value, dict) or key not in settings):
            settings[key] = value
    return settings


def _file_attributes(image: AnnotatedImage, losses: AnnotationReport) -> dict[str, Any]:
    own = {
        IMAGE_FLAGS if key == "flags" else key: value
        for key, value in image.extra.items()
        if key not in ("id", "file_attributes")
    }
    stored = image.extra.get("file_attributes")
    fields = {**(stored if isinstance(stored, dict) else {}), **own}
    return as_attributes(fields, image.name, losses)


def _rows(entry: Mapping[str, Any]) -> list[list[Any]]:
    # A file's name need not be Unicode on Linux; text must be.
    filename = entry["filename"].encode("utf-8", "backslashreplace").decode()
    head = [filename, entry["size"], _compact(entry["file_attributes"])]
    regions = entry["regions"]
    if not regions:
        return [[*head, 0, 0, "{}", "{}"]]
    return [
        [*head, len(regions), i, _compact(region["shape_attributes"]), _compact(region["region_attributes"])]
        for i, region in enumerate(regions)
    ]


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
