"""Detections as a good model's would be: annotated objects, moved a little, and wrong ones among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from cardamage.benchmark.photo_files import PhotoFiles
from cardamage.catalog import dicts_to_coco

__all__ = ["make_results"]

_MOVE = 0.06
_WRONG = 0.4

Coco = dict[str, Any]


def make_results(files: PhotoFiles, images: int, per_image: int, seed: int = 0) -> tuple[Coco, list[Coco]]:
    """Return COCO ground truth and results with run-length masks.

    Args:
        files: photos, repeated until there are enough.
        images: how many.
        per_image: detections of each.
        seed: of the moves, scores and wrong classes.
    """
    rng = np.random.default_rng(seed)
    chosen = [files.records[index % len(files.records)] for index in range(images)]
    records = [{**record, "image_id": number} for number, record in enumerate(chosen, 1)]
    truth = dicts_to_coco(records, files.classes, {i: i + 1 for i in range(len(files.classes))})
    results = []
    for record in records:
        objects = record["annotations"]
        for number in range(per_image):
            moved = _moved(objects[number % len(objects)], record, rng)
            wrong = number >= len(objects) or rng.random() < _WRONG / 2
            category = int(rng.integers(len(files.classes))) if wrong else moved["category_id"]
            score = float(rng.random() * (0.5 if wrong else 1.0))
            head = {"image_id": record["image_id"], "category_id": category + 1, "score": score}
            results.append({**head, "segmentation": moved["rle"], "bbox": moved["bbox"]})
    return truth, results


def _moved(annotation: Coco, record: Coco, rng: np.random.Generator) -> Coco:
    """Stretch and shift an object's outlines by a few percent of its size."""
    x0, y0, x1, y1 = annotation["bbox"]
    scale = 1 + rng.normal(0, _MOVE, 2)
    shift = rng.normal(0, _MOVE, 2) * (x1 - x0, y1 - y0)
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    polygons = []
    for polygon in annotation["segmentation"]:
        points = (np.reshape(polygon, (-1, 2)) - centre) * scale + centre + shift
        polygons.append(points.clip(0, (record["width"], record["height"])).reshape(-1).tolist())
    rle = mask_util.merge(mask_util.frPyObjects(polygons, record["height"], record["width"]))
    box = [float(value) for value in mask_util.toBbox(rle)]
    rle["counts"] = rle["counts"].decode("ascii")
    return {"category_id": annotation["category_id"], "rle": rle, "bbox": box}
