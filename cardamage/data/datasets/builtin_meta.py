"""What is known about the built-in datasets without their files, under the path where Detectron2 has it."""

from __future__ import annotations

from typing import Any

from ...errors import DataError
from ..registered.classes import (
    CITYSCAPES_THINGS,
    COCO_CLASSES,
    COCO_IDS,
    COCO_PERSON_KEYPOINT_FLIP_MAP,
    COCO_PERSON_KEYPOINT_NAMES,
)

__all__ = ["COCO_CATEGORIES", "COCO_PERSON_KEYPOINT_FLIP_MAP", "COCO_PERSON_KEYPOINT_NAMES"]

COCO_CATEGORIES: list[dict[str, Any]] = [
    {"id": number, "name": name, "isthing": 1} for number, name in zip(COCO_IDS, COCO_CLASSES, strict=True)
]


def _get_coco_instances_meta() -> dict[str, Any]:
    return {
        "thing_dataset_id_to_contiguous_id": {number: i for i, number in enumerate(COCO_IDS)},
        "thing_classes": list(COCO_CLASSES),
    }


def _get_builtin_metadata(dataset_name: str) -> dict[str, Any]:
    if dataset_name == "coco":
        return _get_coco_instances_meta()
    if dataset_name == "coco_person":
        return {
            "thing_classes": ["person"],
            "keypoint_names": list(COCO_PERSON_KEYPOINT_NAMES),
            "keypoint_flip_map": list(COCO_PERSON_KEYPOINT_FLIP_MAP),
        }
    if dataset_name == "cityscapes":
        return {"thing_classes": list(CITYSCAPES_THINGS)}
    raise DataError(
        f"There is no built-in metadata for {dataset_name!r}, but for coco, coco_person and cityscapes."
    )
