"""The photos written anew, all of one size: what a phone gives, and equal shapes for every side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from cardamage.benchmark.photos import Photos
from cardamage.data.formats.coco.dataset_dicts import write_coco
from cardamage.data.images.reading import read_record_image
from cardamage.structures import BoxMode

__all__ = ["PhotoFiles", "write_photos"]

_QUALITY = 92

Record = dict[str, Any]


@dataclass(frozen=True)
class PhotoFiles:
    """JPEG files with annotations.

    Attributes:
        records: dataset dicts of the files.
        classes: class names.
        size: (height, width) of every file.
        coco: the COCO file.
        folder: where the files lie.
        source: what they were made of.
    """

    records: list[Record]
    classes: list[str]
    size: tuple[int, int]
    coco: Path
    folder: Path
    source: str

    @property
    def dataset(self) -> str:
        """The name to train with."""
        return f"coco:{self.coco}@{self.folder}"

    @property
    def objects(self) -> float:
        """Objects of a photo on average."""
        return sum(len(record["annotations"]) for record in self.records) / len(self.records)


def write_photos(photos: Photos, size: tuple[int, int], folder: Path) -> PhotoFiles:
    """Write JPEG files of one size with their polygons, and a COCO file.

    Args:
        photos: where from.
        size: (height, width); photos are stretched to it.
        folder: where to; made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = [_written(record, number, size, folder) for number, record in enumerate(photos.records, 1)]
    coco = folder / "annotations.json"
    write_coco(coco, records, photos.classes, folder)
    return PhotoFiles(records, photos.classes, size, coco, folder, photos.source)


def _written(record: Record, number: int, size: tuple[int, int], folder: Path) -> Record:
    image = read_record_image(record, "BGR")
    height, width = size
    method = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    path = folder / f"photo_{number:04d}.jpg"
    cv2.imwrite(
        str(path),
        cv2.resize(image, (width, height), interpolation=method),
        [cv2.IMWRITE_JPEG_QUALITY, _QUALITY],
    )
    scale = (width / image.shape[1], height / image.shape[0])
    objects = [a for a in record["annotations"] if not a.get("iscrowd", 0)]
    return {
        "file_name": str(path),
        "image_id": number,
        "height": height,
        "width": width,
        "annotations": [_scaled(a, image.shape[:2], scale) for a in objects],
    }


def _scaled(annotation: Record, size: tuple[int, int], scale: tuple[float, float]) -> Record:
    polygons = _polygons(annotation["segmentation"], size)
    scaled = [[value * scale[place % 2] for place, value in enumerate(polygon)] for polygon in polygons]
    xs = [x for polygon in scaled for x in polygon[0::2]]
    ys = [y for polygon in scaled for y in polygon[1::2]]
    return {
        "bbox": [min(xs), min(ys), max(xs), max(ys)],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": annotation["category_id"],
        "segmentation": scaled,
        "iscrowd": 0,
    }


def _polygons(segmentation: Any, size: tuple[int, int]) -> list[list[float]]:
    """Return outlines; a run-length mask's are those of its pieces."""
    if isinstance(segmentation, list):
        return [list(map(float, polygon)) for polygon in segmentation]
    import pycocotools.mask as mask_util

    rle = (
        mask_util.frPyObjects(segmentation, *size)
        if isinstance(segmentation["counts"], list)
        else segmentation
    )
    mask = mask_util.decode(rle)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [outline.reshape(-1).astype(float).tolist() for outline in outlines if len(outline) >= 3]
