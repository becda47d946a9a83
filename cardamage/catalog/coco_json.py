"""Dataset dicts written as COCO ground truth.

Numbering starts at 1 for annotations (0 means "unmatched" to COCO's own evaluation), and areas are those of
the masks, whatever the source said, since the small, medium and large scores are cut by them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ..errors import DataError
from ..structures import BoxMode
from ..utils.files import atomic_write
from .datasets import DatasetCatalog
from .metadata import MetadataCatalog

__all__ = ["convert_to_coco_dict", "convert_to_coco_json", "dicts_to_coco", "mask_area"]


def convert_to_coco_dict(dataset_name: str) -> dict[str, Any]:
    """Convert a registered or ad-hoc dataset into COCO ground truth.

    Category ids are the dataset's own where its metadata has ``thing_dataset_id_to_contiguous_id``, and the
    contiguous ones from 0 otherwise.

    Args:
        dataset_name: a name of the catalog with ``thing_classes`` in its metadata.

    Returns:
        A COCO dict with ``info``, ``images``, ``categories`` and ``annotations``, ready for JSON.

    Raises:
        DataError: for an unknown dataset, one without class names, or a category out of range.
    """
    dicts = DatasetCatalog.get(dataset_name)
    metadata = MetadataCatalog.get(dataset_name)
    classes = metadata.get("thing_classes")
    if classes is None:
        raise DataError(
            f"Dataset {dataset_name!r} has no class names; "
            f"set MetadataCatalog.get({dataset_name!r}).thing_classes."
        )
    to_contiguous = metadata.get("thing_dataset_id_to_contiguous_id")
    ids = {v: k for k, v in to_contiguous.items()} if to_contiguous else None
    return dicts_to_coco(dicts, classes, ids)


def convert_to_coco_json(
    dataset_name: str, output_file: str | os.PathLike[str], allow_cached: bool = True
) -> None:
    """Write a registered or ad-hoc dataset as a COCO file, whole or not at all.

    Args:
        dataset_name: a name of the catalog.
        output_file: the file; its folder is made. An older file is never trusted, always replaced.
        allow_cached: for calls written for Detectron2, which trusts an older file by default.

    Raises:
        DataError: as :func:`convert_to_coco_dict`.
    """
    del allow_cached
    Path(output_file).parent.mkdir(parents=True, exist_ok=True)
    coco = convert_to_coco_dict(dataset_name)
    with atomic_write(output_file) as file:
        json.dump(coco, file)


def dicts_to_coco(
    dataset_dicts: Sequence[Mapping[str, Any]],
    thing_classes: Sequence[str],
    category_ids: Mapping[int, int] | None = None,
) -> dict[str, Any]:
    """Convert dataset dicts into COCO ground truth.

    Args:
        dataset_dicts: in Detectron2's format; none is changed. An image without ``image_id`` is numbered by
            its place, from 0.
        thing_classes: class names, by contiguous category id.
        category_ids: COCO category id of each contiguous one; by default they are the same.

    Returns:
        A COCO dict; boxes are XYWH in pixels (rotated ones XYWHA), areas in pixels, RLE counts are strings.

    Raises:
        DataError: for a category out of range.
    """
    ids = dict(enumerate(range(len(thing_classes)))) if category_ids is None else category_ids
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, record in enumerate(dataset_dicts):
        image = _image(record, index)
        images.append(image)
        for annotation in record.get("annotations", []):
            contiguous = annotation["category_id"]
            if contiguous not in ids:
                raise DataError(
                    f"{record['file_name']} holds category {contiguous}, "
                    f"but there are only the {len(thing_classes)} classes {', '.join(thing_classes)}."
                )
            head = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": ids[contiguous]}
            annotations.append({**head, **_shape(annotation, image["height"], image["width"])})
    return {
        "info": {"description": "Written by cardamage from dataset dicts."},
        "images": images,
        "categories": [{"id": ids[i], "name": name} for i, name in enumerate(thing_classes) if i in ids],
        "annotations": annotations,
    }


def mask_area(segmentation: Any, height: int, width: int) -> float:
    """Count the pixels of a mask, as COCO rasterizes it.

    Args:
        segmentation: polygons (flat lists of x, y in pixels), or an RLE, compressed or not.
        height: of the image.
        width: of the image.

    Returns:
        Pixels; parts that overlap count once.
    """
    if isinstance(segmentation, list):
        parts = [p if type(p) is list else list(map(float, p)) for p in segmentation]
        rles = mask_util.frPyObjects(parts, height, width)
        rle = rles[0] if len(rles) == 1 else mask_util.merge(rles)
    elif isinstance(segmentation["counts"], list):
        rle = mask_util.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    return float(mask_util.area(rle))


def _image(record: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {
        "id": record.get("image_id", index),
        "file_name": str(record["file_name"]),
        "height": int(record["height"]),
        "width": int(record["width"]),
    }


def _shape(annotation: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    box = np.asarray(annotation["bbox"], dtype=np.float64).reshape(-1)
    mode = BoxMode(annotation["bbox_mode"])
    if mode != BoxMode.XYWHA_ABS:  # a rotated box stays what it is
        box = BoxMode.convert(box, mode, BoxMode.XYWH_ABS)
    numbers = [float(v) for v in box]
    shape: dict[str, Any] = {
        "bbox": numbers,
        "area": numbers[2] * numbers[3],
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    segmentation = _plain(annotation.get("segmentation") or [])
    if segmentation:
        shape["segmentation"] = segmentation
        shape["area"] = mask_area(segmentation, height, width)
    return shape


def _plain(segmentation: Any) -> Any:
    """The segmentation in types that JSON knows, without outlines of fewer than 3 points."""
    if not isinstance(segmentation, Mapping):
        return [[float(v) for v in polygon] for polygon in segmentation if len(polygon) >= 6]
    counts = segmentation["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    elif not isinstance(counts, str):
        counts = [int(c) for c in counts]
    return {"size": [int(v) for v in segmentation["size"]], "counts": counts}
