"""Labelme's shape types as outlines."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from ...annotations import outlines
from ...images.decoding import read_header

__all__ = ["Outline", "mask_counts", "shape_outline", "united"]

# Patches of more pixels than any camera takes are not decoded.
_MOST_PIXELS = 1 << 28


@dataclass(slots=True)
class Outline:
    """A shape's outline, or why it has none.

    Attributes:
        polygons: point arrays, for all types but masks.
        rle: for masks.
        refused: why the shape can't be an object; None where it can.
        cut: whether some of a mask lies past the edge of the image.
    """

    polygons: list[Any] | None = None
    rle: dict[str, Any] | None = None
    refused: str | None = None
    cut: bool = False


def shape_outline(shape: dict[str, Any], size: tuple[int, int], line_width: float) -> Outline:
    """Turn a Labelme shape into an outline.

    Args:
        shape: as stored.
        size: height and width of the image.
        line_width: of lines and line strips, in pixels.

    Returns:
        The outline; `refused` is set for types without area and for shapes that can't be read.
    """
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"))
    if points is None:
        return Outline(refused="its points are not x, y numbers")
    if kind in ("polygon", "oriented_rectangle") or (kind == "rectangle" and len(points) != 2):
        return Outline([points])
    if kind == "rectangle":
        return Outline([outlines.rectangle(*points)])
    if kind == "mask":
        return _mask(shape, points, size)
    if kind == "circle":
        if len(points) != 2:
            return Outline(refused="its circle needs a center and a point on the rim")
        radius = float(np.hypot(*(points[1] - points[0])))
        if radius > max(1e4, 10 * max(size)):
            return Outline(refused="its circle is far larger than the image")
        return Outline([outlines.circle(points[0], radius)])
    if kind in ("linestrip", "line"):
        return Outline(list(outlines.stroke(points, line_width)))
    return Outline(refused=f"its type {kind!r} has no area")


def united(parts: Sequence[list[Any] | dict[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """Draw several outlines as one mask.

    Args:
        parts: flat COCO polygons within the image, or compressed masks.
        size: height and width of the image.
    """
    rles = [
        mask_util.merge(mask_util.frPyObjects(part, *size)) if isinstance(part, list) else part
        for part in parts
    ]
    return _text_counts(mask_util.merge(rles))


def mask_counts(patch: np.ndarray, left: int, top: int, size: tuple[int, int]) -> dict[str, Any]:
    """Encode a patch within an image without drawing the whole image.

    Args:
        patch: bool of shape (rows, columns), all of it inside the image.
        left: column of the image at which it begins.
        top: row of the image at which it begins.
        size: height and width of the image.

    Returns:
        COCO's compressed run-length mask.
    """
    columns, rows = np.nonzero(patch.T)
    places = (columns.astype(np.int64) + left) * size[0] + rows + top
    breaks = np.flatnonzero(np.diff(places) != 1)
    starts = places[np.concatenate([[0], breaks + 1])] if len(places) else places
    ends = places[np.concatenate([breaks, [-1]])] + 1 if len(places) else places
    edges = np.stack([starts, ends], axis=1).reshape(-1)
    runs = np.diff(np.concatenate([[0], edges, [size[0] * size[1]]]))
    return _text_counts(mask_util.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size))


def _points(stored: Any) -> np.ndarray | None:
    try:
        points = np.array([] if stored is None else stored, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            points = points.reshape(-1, 2)
    except (ValueError, TypeError, OverflowError):
        return None
    return points if math.isfinite(float(points.sum())) or np.isfinite(points).all() else None


def _mask(shape: dict[str, Any], points: np.ndarray, size: tuple[int, int]) -> Outline:
    """A mask is a small PNG whose first pixel lies at the first point; what is past the edge is cut off."""
    patch = _decoded(shape.get("mask"))
    if patch is None or len(points) == 0 or size[0] * size[1] >= 1 << 32:
        return Outline(refused="its mask can't be decoded")
    x, y = (int(v) for v in np.floor(points.min(axis=0)))
    top, left = max(y, 0), max(x, 0)
    part = patch[top - y :, left - x :][: max(0, size[0] - top), : max(0, size[1] - left)]
    cut = part.size < patch.size and int(part.sum()) < int(patch.sum())
    if part.size == 0:
        top = left = 0
    return Outline(rle=mask_counts(part, left, top, size), cut=cut)


def _decoded(text: Any) -> np.ndarray | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        data = base64.b64decode(text)
        header = read_header(io.BytesIO(data)) if data else None
        if header is None or header.height * header.width > _MOST_PIXELS:
            return None
        patch = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
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
