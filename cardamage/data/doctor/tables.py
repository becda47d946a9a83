"""Counts of a dataset: objects by class and split, sizes of objects and pictures."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import Any

from .model import Picture, Shape, Subject

__all__ = ["class_counts", "object_sizes", "overview", "split_order"]

# COCO's bounds of small and medium, in pixels of area.
_SMALL, _MEDIUM = 32**2, 96**2
_ORDER = {"train": 0, "val": 1, "test": 2}


def class_counts(subject: Subject) -> dict[str, Counter[str]]:
    """Objects of each class by split, in the order of the classes; placeholders are left out."""
    parts = subject.counted_parts
    placeholders = {name for part in parts for name in part.placeholders}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for name in part.classes:
            if name not in placeholders:
                counts[name].update(())
        for picture in part.pictures:
            for shapes in _objects(picture):
                if shapes[0].label is not None:
                    counts[shapes[0].label][picture.split] += 1
    return counts


def _objects(picture: Picture) -> list[list[Shape]]:
    """The shapes of each object: those of one class and one Labelme group are its parts; crowds are none."""
    groups: dict[tuple[str | None, int], list[Shape]] = {}
    found = []
    for shape in picture.shapes:
        if shape.crowd:
            continue
        if shape.group is None:
            found.append([shape])
        elif (shape.label, shape.group) in groups:
            groups[shape.label, shape.group].append(shape)
        else:
            found.append(groups.setdefault((shape.label, shape.group), [shape]))
    return found


def object_sizes(subject: Subject) -> dict[str, list[float]]:
    """Areas of the objects of each class, in pixels."""
    sizes: dict[str, list[float]] = defaultdict(list)
    for part in subject.counted_parts:
        for shapes in (objects for picture in part.pictures for objects in _objects(picture)):
            area = sum(shape.area or 0.0 for shape in shapes)
            if shapes[0].label is not None and area:
                sizes[shapes[0].label].append(area)
    return sizes


def split_order(subject: Subject) -> list[str]:
    """Names of the splits that pictures are in: train, val, test, then others."""
    names = {picture.split for picture in subject.pictures}
    return sorted(names, key=lambda name: (_ORDER.get(name, 3), name))


def overview(subject: Subject) -> dict[str, Any]:
    """All tables as JSON takes them; see ``docs/check-dataset.md``."""
    counts, sizes = class_counts(subject), object_sizes(subject)
    pictures: dict[str, set[str]] = defaultdict(set)
    shapes: Counter[tuple[int, int]] = Counter()
    for picture in subject.pictures:
        place = os.path.realpath(picture.source or picture.file)
        if picture.source and place not in pictures[picture.split]:
            pictures[picture.split].add(place)
            size = picture.size or subject.look(picture.source).upright
            shapes.update([size] if size else [])
    return {
        "formats": sorted({part.format for part in subject.parts if part.pictures}),
        "images": {split: len(pictures[split]) for split in split_order(subject)},
        "objects": sum(c.total() for c in counts.values()),
        "crowds": sum(shape.crowd for shape in subject.shapes),
        "classes": {
            name: {
                "objects": dict(by_split),
                "sizes": _sizes(sizes.get(name, [])),
            }
            for name, by_split in counts.items()
        },
        "sizes": _sizes([area for areas in sizes.values() for area in areas]),
        "image_sizes": [
            {"width": width, "height": height, "images": count}
            for (height, width), count in shapes.most_common(20)
        ],
    }


def _sizes(areas: list[float]) -> dict[str, int]:
    small = sum(area < _SMALL for area in areas)
    large = sum(area >= _MEDIUM for area in areas)
    return {"small": small, "medium": len(areas) - small - large, "large": large}
