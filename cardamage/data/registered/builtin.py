"""Datasets with names of their own, below ``$DETECTRON2_DATASETS``, or ``datasets`` where it is not set.

- the car sets, see :mod:`.cars`;
- ``coco_2014_*``, ``coco_2017_*``, ``keypoints_coco_*``, ``lvis_*`` and ``cityscapes_fine_instance_seg_*`` as
  Detectron2 names and places them.

Registering reads nothing: a file is opened when its dataset is first loaded, and its class names then count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .cars import register_car_sets
from .classes import (
    CITYSCAPES_THINGS,
    COCO_CLASSES,
    COCO_IDS,
    COCO_PERSON_KEYPOINT_FLIP_MAP,
    COCO_PERSON_KEYPOINT_NAMES,
)
from .registering import Records, dataset_root, register_coco_set, register_set

__all__ = [
    "dataset_root",
    "register_all_cityscapes",
    "register_all_coco",
    "register_all_lvis",
    "register_builtin",
]

_COCO: dict[str, tuple[str, str]] = {
    "2014_train": ("train2014", "train2014"),
    "2014_val": ("val2014", "val2014"),
    "2014_minival": ("val2014", "minival2014"),
    "2014_valminusminival": ("val2014", "valminusminival2014"),
    "2017_train": ("train2017", "train2017"),
    "2017_val": ("val2017", "val2017"),
    "2017_val_100": ("val2017", "val2017_100"),
}
_COCO_TESTS = {"2017_test": "image_info_test2017", "2017_test-dev": "image_info_test-dev2017"}
_LVIS: dict[str, str] = {
    "lvis_v1_train": "lvis_v1_train",
    "lvis_v1_val": "lvis_v1_val",
    "lvis_v1_test_dev": "lvis_v1_image_info_test_dev",
    "lvis_v1_test_challenge": "lvis_v1_image_info_test_challenge",
    "lvis_v0.5_train": "lvis_v0.5_train",
    "lvis_v0.5_val": "lvis_v0.5_val",
    "lvis_v0.5_val_rand_100": "lvis_v0.5_val_rand_100",
    "lvis_v0.5_test": "lvis_v0.5_image_info_test",
    "lvis_v0.5_train_cocofied": "lvis_v0.5_train_cocofied",
    "lvis_v0.5_val_cocofied": "lvis_v0.5_val_cocofied",
}


def register_builtin() -> None:
    """Register the built-in names that are not registered yet."""
    register_car_sets()
    register_all_coco()
    register_all_lvis()
    register_all_cityscapes()


def register_all_coco(root: str | None = None) -> None:
    """Register COCO's splits, and those of its person keypoints, whose boxes and masks are read.

    Args:
        root: folder that holds ``coco/``; by default what :func:`dataset_root` says when a set is loaded.
    """
    things = {"thing_classes": COCO_CLASSES, "thing_dataset_id_to_contiguous_id": _numbered(COCO_IDS)}
    person = {
        "thing_classes": ("person",),
        "keypoint_names": COCO_PERSON_KEYPOINT_NAMES,
        "keypoint_flip_map": COCO_PERSON_KEYPOINT_FLIP_MAP,
    }
    for split, (folder, stem) in _COCO.items():
        for name, kind, known in (
            (f"coco_{split}", "instances", things),
            (f"keypoints_coco_{split}", "person_keypoints", person),
        ):
            file = f"annotations/{kind}_{stem}.json"
            register_coco_set(name, ("coco",), file, (folder,), known, root)
    for split, stem in _COCO_TESTS.items():
        file = f"annotations/{stem}.json"
        register_coco_set(f"coco_{split}", ("coco",), file, ("test2017",), things, root)


def register_all_lvis(root: str | None = None) -> None:
    """Register LVIS's splits. Class names come from the file, when it is loaded.

    Args:
        root: folder that holds ``lvis/`` and ``coco/``; see :func:`register_all_coco`.
    """
    for name, stem in _LVIS.items():
        json_file = f"lvis/{stem}.json"

        def read(at: str, json_file: str = json_file) -> tuple[Records, dict[str, Any]]:
            from ..formats.coco.lvis import read_lvis

            return read_lvis(os.path.join(at, json_file), os.path.join(at, "coco"))

        paths = {"json_file": json_file, "image_root": "coco"}
        register_set(name, ("",), json_file, read, {"evaluator_type": "lvis"}, paths, root)


def register_all_cityscapes(root: str | None = None) -> None:
    """Register the objects of Cityscapes' finely annotated pictures.

    Args:
        root: folder that holds ``cityscapes/``; see :func:`register_all_coco`.
    """
    for split in ("train", "val", "test"):
        paths = {
            "image_dir": f"cityscapes/leftImg8bit/{split}",
            "gt_dir": f"cityscapes/gtFine/{split}",
        }

        def read(at: str, paths: Mapping[str, str] = paths) -> tuple[Records, dict[str, Any]]:
            from ..formats.masks.cityscapes import load_cityscapes_instances

            image_dir, gt_dir = (os.path.join(at, paths[key]) for key in ("image_dir", "gt_dir"))
            return load_cityscapes_instances(image_dir, gt_dir, from_json=False, to_polygons=False), {}

        known = {"thing_classes": list(CITYSCAPES_THINGS), "evaluator_type": "cityscapes_instance"}
        name = f"cityscapes_fine_instance_seg_{split}"
        register_set(name, ("",), paths["image_dir"], read, known, paths, root)


def _numbered(ids: Sequence[int]) -> dict[int, int]:
    return {number: index for index, number in enumerate(ids)}
