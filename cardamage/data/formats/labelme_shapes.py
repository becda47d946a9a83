"""Labelme's shape types as outlines."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from .. import outlines
from ..checks import RawAnnotation

__all__ = ["Outline", "merged", "shape_outline"]


@dataclass
class Outline:
    """A shape's outline, or why it has none.

    Attributes:
        place: file and shape, for messages.
        polygons: point arrays, for all types but masks.
        rle: for masks.
        refused: why the shape can't be an object; None where it can.
    """

    place: str
    polygons: list[Any] | None = None
    rle: dict[str, Any] | None = None
    refused: str | None = None

    def raw(self) -> RawAnnotation:
        """Return the outline as an annotation to be checked."""
        return RawAnnotation(self.place, polygons=self.polygons, rle=self.rle)


def shape_outline(shape: dict[str, Any], size: tuple[int, int], line_width: float, place: str) -> Outline:
    """Turn a Labelme shape into an outline.

    Args:
        shape: as stored.
        size: height and width of the image.
        line_width: of lines and line strips, in pixels.
        place: file and shape, for messages.

    Returns:
        The outline; `refused` is set for types without area and for shapes that can't be read.
    """
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape)
    if points is None:
        return Outline(place, refused="its points are not x, y numbers")
    if kind == "mask":
        return _mask(shape, points, size, place)
    if kind == "circle":
        if len(points) != 2:
            return Outline(place, refused="its circle needs a center and a point on the rim")
        radius = float(np.hypot(*(points[1] - points[0])))
        if radius > max(1e4, 10 * max(size)):
            return Outline(place, refused="its circle is far larger than the image")
        return Outline(place, [outlines.circle(points[0], radius)])
    if kind in ("linestrip", "line"):
        return Outline(place, list(outlines.stroke(points, line_width)))
    if kind == "rectangle" and len(points) == 2:
        return Outline(place, [outlines.rectangle(*points)])
    if kind in ("polygon", "rectangle", "oriented_rectangle"):
        return Outline(place, [points])
    return Outline(place, refused=f"its type {kind!r} has no area")


def merged(annotations: Sequence[dict[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """Make one annotation of the parts of an object: polygons stay polygons unless a part is a mask."""
    if len(annotations) == 1:
        return annotations[0]
    segments = [annotation["segmentation"] for annotation in annotations]
    whole: Any
    if all(isinstance(segment, list) for segment in segments):
        whole = [polygon for segment in segments for polygon in segment]
    else:
        rles = [
            mask_util.merge(mask_util.frPyObjects(s, *size)) if isinstance(s, list) else s for s in segments
        ]
        whole = _text_counts(mask_util.merge(rles))
    boxes = np.array([annotation["bbox"] for annotation in annotations])
    box = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    return {**annotations[0], "bbox": box, "segmentation": whole}


def _points(shape: dict[str, Any]) -> np.ndarray | None:
    try:
        points = np.asarray(shape.get("points", []), dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError):
        return None
    return points if np.isfinite(points).all() else None


def _mask(shape: dict[str, Any], points: np.ndarray, size: tuple[int, int], place: str) -> Outline:
    """A mask is a small PNG whose first pixel lies at the first point; what is past the edge is cut off."""
    patch = _decoded(shape.get("mask"))
    if patch is None or len(points) == 0:
        return Outline(place, refused="its mask can't be decoded")
    full = np.zeros(size, dtype=np.uint8, order="F")
    x, y = (int(v) for v in np.floor(points.min(axis=0)))
    top, left = max(y, 0), max(x, 0)
    part = patch[top - y :, left - x :][: max(0, size[0] - top), : max(0, size[1] - left)]
    full[top : top + part.shape[0], left : left + part.shape[1]] = part
    return Outline(place, rle=_text_counts(mask_util.encode(full)))


def _decoded(text: Any) -> np.ndarray | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        data = np.frombuffer(base64.b64decode(text), np.uint8)
        patch = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except (binascii.Error, ValueError, cv2.error):
        return None
    if patch is None:
        return None
    return (patch if patch.ndim == 2 else patch[:, :, :3].max(axis=2)) > 0


def _text_counts(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    return {
        "size": [int(v) for v in rle["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }
