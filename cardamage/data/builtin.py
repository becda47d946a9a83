"""Datasets with names of their own, below ``$DETECTRON2_DATASETS``, or ``datasets`` where it is not set.

- ``carparts_train``, ``carparts_test``: ``carparts/{trainingset,testset}/annotations.json``, photos below it;
- ``cardd_train``, ``cardd_val``, ``cardd_test``: ``CarDD_COCO/annotations/instances_*2017.json`` and
  ``CarDD_COCO/*2017/``;
- ``coco_2014_*`` and ``coco_2017_*`` as Detectron2 names and places them.

Registering reads nothing: a file is opened when its dataset is first loaded, and its class names then count.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..catalog import DatasetCatalog, MetadataCatalog
from ..errors import DataError
from .builtin_classes import (
    CARDD_CLASSES,
    CARDD_COLORS,
    CARPARTS_CLASSES,
    CARPARTS_COLORS,
    COCO_CLASSES,
)

__all__ = ["dataset_root", "register_builtin"]

_COCO: dict[str, tuple[str, str]] = {
    "coco_2014_train": ("train2014", "instances_train2014"),
    "coco_2014_val": ("val2014", "instances_val2014"),
    "coco_2014_minival": ("val2014", "instances_minival2014"),
    "coco_2014_valminusminival": ("val2014", "instances_valminusminival2014"),
    "coco_2017_train": ("train2017", "instances_train2017"),
    "coco_2017_val": ("val2017", "instances_val2017"),
    "coco_2017_test": ("test2017", "image_info_test2017"),
    "coco_2017_test-dev": ("test2017", "image_info_test-dev2017"),
    "coco_2017_val_100": ("val2017", "instances_val2017_100"),
}


def dataset_root() -> str:
    """Return the folder of the built-in datasets, as the environment says now."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def register_builtin() -> None:
    """Register the built-in names that are not registered yet."""
    for name, folder in (("carparts_train", "trainingset"), ("carparts_test", "testset")):
        place = f"carparts/{folder}"
        # Areas in this set are those of the masks already, and its categories need sorting out: no json_file.
        _register(
            name, f"{place}/annotations.json", place, CARPARTS_CLASSES, CARPARTS_COLORS, scored_file=False
        )
    for split in ("train", "val", "test"):
        json_file = f"CarDD_COCO/annotations/instances_{split}2017.json"
        _register(f"cardd_{split}", json_file, f"CarDD_COCO/{split}2017", CARDD_CLASSES, CARDD_COLORS)
    for name, (folder, stem) in _COCO.items():
        _register(name, f"coco/annotations/{stem}.json", f"coco/{folder}", COCO_CLASSES)


def _register(
    name: str,
    json_file: str,
    image_root: str,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]] | None = None,
    scored_file: bool = True,
) -> None:
    if name in DatasetCatalog:
        return

    def load() -> list[dict[str, Any]]:
        from .formats.coco import read_coco

        root = dataset_root()
        if not os.path.isfile(os.path.join(root, json_file)):
            raise DataError(
                f"Dataset {name!r} is not there: {os.path.join(root, json_file)} does not exist. Set "
                f"DETECTRON2_DATASETS to the folder that holds {json_file.split('/')[0]}; datasets/README.md "
                "says how to get it."
            )
        found = read_coco(os.path.join(root, json_file), os.path.join(root, image_root))
        metadata = MetadataCatalog.get(name).replace(
            thing_classes=found.classes, thing_dataset_id_to_contiguous_id=found.contiguous_ids, **paths()
        )
        if len(metadata.get("thing_colors", found.classes)) != len(found.classes):
            metadata.replace(thing_colors=None)
        return found.dicts

    def paths() -> dict[str, str]:
        found = {"image_root": os.path.join(dataset_root(), image_root)}
        return {**found, "json_file": os.path.join(dataset_root(), json_file)} if scored_file else found

    DatasetCatalog.register(name, load)
    metadata = MetadataCatalog.get(name).set(thing_classes=list(classes), evaluator_type="coco", **paths())
    if colors is not None:
        metadata.set(thing_colors=[list(color) for color in colors])
