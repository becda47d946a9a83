"""The car sets with names of their own, where their downloads put them.

- ``carparts_train``, ``carparts_test``: parts of cars, from Car-Parts-Segmentation;
- ``cardd_train``, ``cardd_val``, ``cardd_test``: damage, from CarDD;
- ``car_damage_train``, ``car_damage_val``: damage, from coco-car-damage-detection-dataset, and
  ``car_damage_parts_train``, ``car_damage_parts_val``: the damaged parts in the same photos;
- ``vehide_train``, ``vehide_val``: damage, from VehiDE.
"""

from __future__ import annotations

import os
from typing import Any

from .classes import (
    CAR_DAMAGE_CLASSES,
    CAR_DAMAGE_COLORS,
    CAR_DAMAGE_PARTS_CLASSES,
    CAR_DAMAGE_PARTS_COLORS,
    CARDD_CLASSES,
    CARDD_COLORS,
    CARPARTS_CLASSES,
    CARPARTS_COLORS,
    VEHIDE_CLASSES,
    VEHIDE_COLORS,
)
from .registering import Records, register_coco_set, register_set

__all__ = ["register_car_sets"]

# The first is where datasets/README.md puts it; then what cloning and unpacking make.
_CARPARTS = ("carparts", "Car-Parts-Segmentation", "Car-Parts-Segmentation-master")
_CARDD = ("CarDD_COCO", "CarDD_release/CarDD_COCO", "CarDD_release/CarDD_release/CarDD_COCO")
_CAR_DAMAGE = ("coco-car-damage-detection-dataset", "car_damage_dataset")
_VEHIDE = ("vehide-dataset-automatic-vehicle-damage-detection", "vehide", "VehiDE", "VehiDE_Dataset")


def register_car_sets() -> None:
    """Register the names of the car sets that are not registered yet."""
    parts = {"thing_classes": CARPARTS_CLASSES, "thing_colors": CARPARTS_COLORS}
    for name, folder in (("carparts_train", "trainingset"), ("carparts_test", "testset")):
        # Areas in this set are those of the masks already, and its categories need sorting out: no json_file.
        file = f"{folder}/annotations.json"
        register_coco_set(name, _CARPARTS, file, (folder,), parts, scored_file=False)
    damage = {"thing_classes": CARDD_CLASSES, "thing_colors": CARDD_COLORS}
    for split in ("train", "val", "test"):
        file = f"annotations/instances_{split}2017.json"
        register_coco_set(f"cardd_{split}", _CARDD, file, (f"{split}2017",), damage)
    for split in ("train", "val"):
        _register_car_damage(split)
        _register_vehide(split)


def _register_car_damage(split: str) -> None:
    """Two files for the same photos, which lie beside them and, together, in ``img``."""
    for name, stem, classes, colors in (
        ("car_damage", "COCO", CAR_DAMAGE_CLASSES, CAR_DAMAGE_COLORS),
        ("car_damage_parts", "COCO_mul", CAR_DAMAGE_PARTS_CLASSES, CAR_DAMAGE_PARTS_COLORS),
    ):
        known = {"thing_classes": classes, "thing_colors": colors}
        file = f"{split}/{stem}_{split}_annos.json"
        register_coco_set(f"{name}_{split}", _CAR_DAMAGE, file, (split, "img"), known, scored_file=False)


def _register_vehide(split: str) -> None:
    file, folder = {
        "train": ("0Train_via_annos.json", "image/image"),
        "val": ("0Val_via_annos.json", "validation/validation"),
    }[split]

    def read(at: str) -> tuple[Records, dict[str, Any]]:
        from ..formats.via.vehide import load_vehide

        dicts, classes = load_vehide(os.path.join(at, file), os.path.join(at, folder))
        told: dict[str, Any] = {"thing_classes": classes}
        if len(classes) != len(VEHIDE_COLORS):
            told["thing_colors"] = None
        return dicts, told

    known = {
        "thing_classes": tuple(VEHIDE_CLASSES.values()),
        "thing_colors": VEHIDE_COLORS,
        "evaluator_type": "coco",
    }
    register_set(f"vehide_{split}", _VEHIDE, file, read, known, {"image_root": folder})
