"""Cityscapes' objects (Cordts et al. 2016), from the label images that its evaluation is made of.

The JSON beside each label image holds the same outlines, but one above the other; in the image each pixel has
gone to the one on top.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from ....errors import DataError
from ....structures import BoxMode
from ...images.reading import read_bytes
from ...registered.classes import CITYSCAPES_THINGS

__all__ = ["load_cityscapes_instances"]

_IMAGE, _LABELS = "leftImg8bit.png", "gtFine_instanceIds.png"
_CLASSES = {label: index for index, label in enumerate(CITYSCAPES_THINGS.values())}


def load_cityscapes_instances(
    image_dir: str | os.PathLike[str],
    gt_dir: str | os.PathLike[str],
    from_json: bool = True,
    to_polygons: bool = True,
) -> list[dict[str, Any]]:
    """Load the objects of one split, with Detectron2's signature.

    Args:
        image_dir: folder of the cities' folders of pictures, such as ``leftImg8bit/train``.
        gt_dir: folder of the cities' folders of annotations, such as ``gtFine/train``.
        from_json: for calls written for Detectron2; either way the objects come from the label images.
        to_polygons: trace outlines; otherwise masks are run lengths, which are exact.

    Returns:
        Dataset dicts in the order of the files' names; the image id is the picture's name. Classes count from
        0 in the order of Cityscapes' labels; groups that couldn't be told apart are crowds.

    Raises:
        DataError: where a folder or a label image is missing, or is none.
    """
    del from_json
    files = list(_files(Path(image_dir), Path(gt_dir)))
    if not files:
        raise DataError(f"There are no Cityscapes pictures (*/*_{_IMAGE}) in {os.fspath(image_dir)}.")
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda pair: _record(pair[0], pair[1], to_polygons), files))


def _files(image_dir: Path, gt_dir: Path) -> Iterator[tuple[Path, Path]]:
    for image in sorted(image_dir.glob(f"*/*_{_IMAGE}")):
        yield image, gt_dir / image.parent.name / (image.name[: -len(_IMAGE)] + _LABELS)


def _record(image: Path, labels: Path, to_polygons: bool) -> dict[str, Any]:
    ids = cv2.imdecode(np.frombuffer(read_bytes(labels), np.uint8), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2:
        raise DataError(f"{labels} is no Cityscapes label image: it must be a grey PNG of 16 bits.")
    annotations = []
    for instance, counts in _runs(ids):
        # A single object's id is its label's times 1000 and a number; a group has the label's own.
        label = instance // 1000 if instance >= 1000 else instance
        if label not in _CLASSES:
            continue
        rle = mask_util.frPyObjects({"size": list(ids.shape), "counts": counts}, *ids.shape)
        segmentation: Any = _outlines(rle) if to_polygons else rle
        if not segmentation:
            continue
        x, y, w, h = mask_util.toBbox(rle).tolist()
        annotations.append(
            {
                "bbox": [x, y, x + w, y + h],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": _CLASSES[label],
                "iscrowd": int(instance < 1000),
                "segmentation": segmentation,
            }
        )
    height, width = ids.shape
    return {
        "file_name": str(image),
        "image_id": image.name,
        "height": height,
        "width": width,
        "annotations": annotations,
    }


def _runs(ids: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Each id with its COCO run lengths (column by column, zeros first), from one pass over the image."""
    line = ids.T.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])
    ends = np.append(starts[1:], line.size)
    values = line[starts]
    for instance in np.unique(values[values >= min(_CLASSES)]).tolist():
        own = values == instance
        edges = np.stack([starts[own], ends[own]], axis=1).reshape(-1)
        yield instance, np.diff(np.concatenate([[0], edges, [line.size]])).tolist()


def _outlines(rle: dict[str, Any]) -> list[list[float]]:
    """Outer outlines through the pixels' centers, where they have three points or more."""
    found = cv2.findContours(mask_util.decode(rle), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[-2]
    return [(line.reshape(-1) + 0.5).tolist() for line in found if len(line) >= 3]
