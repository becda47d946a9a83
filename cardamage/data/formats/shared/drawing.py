"""What writers of drawn formats need: outlines within the image, and places for pictures among splits."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np

from ...annotations import outlines
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedImage

__all__ = ["name_within_split", "parts_inside", "split_folder", "tell_picture"]

_SPLITS = {"valid": "val", "validation": "val"}
# Folders that the targets have themselves; YOLO looks for labels beside the last one called images.
_OWN_FOLDERS = frozenset({"images", "..", "/"})


def parts_inside(raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> list[np.ndarray]:
    """Return the parts of an outline, cut at the image's edges, each (points, 2) of 3 points or more.

    Args:
        raw: an annotation with polygons.
        height: of the image.
        width: of the image.
        losses: is told of parts that are cut or can't be used.
    """
    parts = []
    for polygon in raw.polygons or []:
        try:
            points = outlines.as_points(polygon)
        except (TypeError, ValueError):
            losses.add("lost", "a part of its outline is not a list of x, y numbers", raw.place)
            continue
        inside = points
        if len(points) > 2 and (points.min() < 0 or (points > (width, height)).any()):
            inside = outlines.clip(points, width, height)
            losses.add("changed", "it reaches past the edge of the image and is cut there", raw.place)
        if len(inside) < 3:
            losses.add("lost", "a part of its outline has fewer than 3 points in the image", raw.place)
        else:
            parts.append(inside)
    if not raw.polygons:
        losses.add("lost", "its outline has no points", raw.place)
    return parts


def tell_picture(
    name: str, wanted: str, read: frozenset[str], image: AnnotatedImage, losses: AnnotationReport
) -> None:
    """List a picture that has another name now, or one by which readers won't know it as a picture.

    Args:
        name: where it was placed.
        wanted: where it should have been.
        read: suffixes that readers of the format look for.
        image: whose picture it is.
        losses: is told.
    """
    if name != wanted:
        losses.add("changed", "its picture has another name", image.name, f"it is now {name}")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in read:
        called = f"end in {suffix}" if suffix else "have no such end as .jpg"
        reason = f"readers don't see pictures whose names {called}; save it as JPEG or PNG"
        losses.add("lost", reason, image.name)


def split_folder(split: str) -> str:
    """Return what the folder of a split is called; empty for what has none."""
    name = re.sub(r'[/\\\x00-\x1f:*?"<>|]', "_", _SPLITS.get(split, split))
    return name if name.strip(".") else ""


def name_within_split(name: str, split: str) -> str:
    """Return a picture's name without the folders that the target has itself: ``images`` and the split's."""
    *above, last = PurePosixPath(name).parts or ("picture",)
    kept = [part for part in above if part not in _OWN_FOLDERS]
    if kept and split and split_folder(kept[0]) == split:
        kept = kept[1:]
    return "/".join([*kept, last])
