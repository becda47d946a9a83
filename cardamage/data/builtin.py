"""Datasets with names of their own, below ``$DETECTRON2_DATASETS``, or ``datasets`` where it is not set.

- ``carparts_train``, ``carparts_test``: ``carparts/{trainingset,testset}/annotations.json``, photos below it;
- ``cardd_train``, ``cardd_val``, ``cardd_test``: ``CarDD_COCO/annotations/instances_*2017.json`` and
  ``CarDD_COCO/*2017/``;
- ``coco_2014_*``, ``coco_2017_*``, ``keypoints_coco_*``, ``lvis_*`` and ``cityscapes_fine_instance_seg_*`` as
  Detectron2 names and places them.

Registering reads nothing: a file is opened when its dataset is first loaded, and its class names then count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..catalog import DatasetCatalog, MetadataCatalog
from ..errors import DataError
from .builtin_classes import (
    CARDD_CLASSES,
    CARDD_COLORS,
    CARPARTS_CLASSES,
    CARPARTS_COLORS,
    CITYSCAPES_THINGS,
    COCO_CLASSES,
    COCO_IDS,
    COCO_PERSON_KEYPOINT_FLIP_MAP,
    COCO_PERSON_KEYPOINT_NAMES,
)

__all__ = [
    "dataset_root",
    "register_all_cityscapes",
    "register_all_coco",
    "register_all_lvis",
    "register_builtin",
]

Records = list[dict[str, Any]]
# What is read from a root folder: the dicts, and metadata that the files tell.
Read = Callable[[str], tuple[Records, dict[str, Any]]]

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


def dataset_root() -> str:
    """Return the folder of the built-in datasets, as the environment says now."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def register_builtin() -> None:
    """Register the built-in names that are not registered yet."""
    for name, folder in (("carparts_train", "trainingset"), ("carparts_test", "testset")):
        place = f"carparts/{folder}"
        parts: dict[str, Any] = {"thing_classes": CARPARTS_CLASSES, "thing_colors": CARPARTS_COLORS}
        # Areas in this set are those of the masks already, and its categories need sorting out: no json_file.
        _register_coco(name, f"{place}/annotations.json", place, parts, scored_file=False)
    for split in ("train", "val", "test"):
        json_file = f"CarDD_COCO/annotations/instances_{split}2017.json"
        damage: dict[str, Any] = {"thing_classes": CARDD_CLASSES, "thing_colors": CARDD_COLORS}
        _register_coco(f"cardd_{split}", json_file, f"CarDD_COCO/{split}2017", damage)
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
            _register_coco(name, f"coco/annotations/{kind}_{stem}.json", f"coco/{folder}", known, root)
    for split, stem in _COCO_TESTS.items():
        _register_coco(f"coco_{split}", f"coco/annotations/{stem}.json", "coco/test2017", things, root)


def register_all_lvis(root: str | None = None) -> None:
    """Register LVIS's splits. Class names come from the file, when it is loaded.

    Args:
        root: folder that holds ``lvis/`` and ``coco/``; see :func:`register_all_coco`.
    """
    for name, stem in _LVIS.items():
        json_file = f"lvis/{stem}.json"

        def read(at: str, json_file: str = json_file) -> tuple[Records, dict[str, Any]]:
            from .formats.lvis import read_lvis

            return read_lvis(os.path.join(at, json_file), os.path.join(at, "coco"))

        paths = {"json_file": json_file, "image_root": "coco"}
        _register(name, json_file, read, {"evaluator_type": "lvis"}, paths, root)


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
            from .formats.cityscapes import load_cityscapes_instances

            image_dir, gt_dir = (os.path.join(at, paths[key]) for key in ("image_dir", "gt_dir"))
            return load_cityscapes_instances(image_dir, gt_dir, from_json=False, to_polygons=False), {}

        known = {"thing_classes": list(CITYSCAPES_THINGS), "evaluator_type": "cityscapes_instance"}
        _register(f"cityscapes_fine_instance_seg_{split}", paths["image_dir"], read, known, paths, root)


def _numbered(ids: Sequence[int]) -> dict[int, int]:
    return {number: index for index, number in enumerate(ids)}


def _register_coco(
    name: str,
    json_file: str,
    image_root: str,
    known: Mapping[str, Any],
    root: str | None = None,
    scored_file: bool = True,
) -> None:
    def read(at: str) -> tuple[Records, dict[str, Any]]:
        """Prefer the file's classes to the known ones, and drop colors that are not as many."""
        from .formats.coco import read_coco

        found = read_coco(os.path.join(at, json_file), os.path.join(at, image_root))
        told: dict[str, Any] = {
            "thing_classes": found.classes,
            "thing_dataset_id_to_contiguous_id": found.contiguous_ids,
        }
        if len(known.get("thing_colors", found.classes)) != len(found.classes):
            told["thing_colors"] = None
        return found.dicts, told

    paths = {"image_root": image_root, **({"json_file": json_file} if scored_file else {})}
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}
    if "thing_colors" in lists:
        lists["thing_colors"] = [list(color) for color in lists["thing_colors"]]
    _register(name, json_file, read, {**lists, "evaluator_type": "coco"}, paths, root)


def _register(
    name: str,
    needed: str,
    read: Read,
    known: Mapping[str, Any],
    paths: Mapping[str, str],
    root: str | None,
) -> None:
    """Register one set unless it is there already; `needed` and `paths` are below the root."""
    if name in DatasetCatalog:
        return

    def placed(at: str) -> dict[str, str]:
        return {key: os.path.join(at, place) for key, place in paths.items()}

    def load() -> Records:
        """Look for the root anew, as the environment may have been set after the registration."""
        at = root or dataset_root()
        if not os.path.exists(os.path.join(at, needed)):
            raise DataError(
                f"Dataset {name!r} is not there: {os.path.join(at, needed)} does not exist. Set "
                f"DETECTRON2_DATASETS to the folder that holds {needed.split('/')[0]}; datasets/README.md "
                "says how to get it."
            )
        dicts, told = read(at)
        MetadataCatalog.get(name).replace(**{**placed(at), **told})
        return dicts

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(**known, **placed(root or dataset_root()))
