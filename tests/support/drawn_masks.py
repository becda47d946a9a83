"""Masks as pycocotools draws and writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from cardamage.data.annotations.checks import RawAnnotation, check_annotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset


def drawn(polygons: Iterable[Any], height: int, width: int) -> np.ndarray:
    """The pixels of polygons together, bool (height, width); points in pairs or one after the other."""
    flat = [np.asarray(polygon, dtype=float).reshape(-1).tolist() for polygon in polygons]
    if not flat:
        return np.zeros((height, width), dtype=bool)
    return mask_util.decode(mask_util.merge(mask_util.frPyObjects(flat, height, width))) != 0


def drawn_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """The pixels of COCO's polygons or of compressed run lengths, bool (height, width)."""
    if isinstance(segmentation, list):
        return drawn(segmentation, height, width)
    return mask_util.decode(segmentation) != 0


def checked_mask(raw: RawAnnotation, height: int, width: int) -> np.ndarray:
    """The pixels of an annotation as a training sees it, bool (height, width)."""
    checked = check_annotation(raw, height, width, AnnotationReport("x"))
    assert checked is not None
    return drawn_segmentation(checked["segmentation"], height, width)


def dataset_masks(dataset: AnnotatedDataset) -> list[tuple[str, str, str]]:
    """Name of the image, label and run lengths of each object as a training sees it."""
    return [
        (image.name, raw.label, text_rle(checked_mask(raw, image.height, image.width))["counts"])
        for image in dataset.images
        for raw in image.annotations
    ]


def text_rle(mask: np.ndarray) -> dict[str, Any]:
    """A mask's compressed run lengths, as COCO files have them."""
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}
