"""Masks as pycocotools draws and writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util


def drawn(polygons: Iterable[Any], height: int, width: int) -> np.ndarray:
    """The pixels of polygons together, bool (height, width); points in pairs or one after the other."""
    flat = [np.asarray(polygon, dtype=float).reshape(-1).tolist() for polygon in polygons]
    if not flat:
        return np.zeros((height, width), dtype=bool)
    return mask_util.decode(mask_util.merge(mask_util.frPyObjects(flat, height, width))) != 0


def text_rle(mask: np.ndarray) -> dict[str, Any]:
    """A mask's compressed run lengths, as COCO files have them."""
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}
