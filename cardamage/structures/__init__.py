"""Boxes, masks, instances and image batches: what moves between data, model and evaluation.

What needs torch is loaded when one of its names is first used: annotations are read and converted without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cardamage.absent import absent_names

from .box_mode import BoxMode

if TYPE_CHECKING:
    from .boxes import (
        Boxes,
        matched_pairwise_iou,
        pairwise_intersection,
        pairwise_ioa,
        pairwise_iou,
        pairwise_point_box_distance,
    )
    from .image_list import ImageList
    from .instances import Instances
    from .masks import (
        BitMasks,
        PolygonMasks,
        RLEMasks,
        ROIMasks,
        polygon_area,
        polygons_to_bitmask,
        rasterize_polygons_within_box,
    )

__all__ = [
    "BitMasks",
    "BoxMode",
    "Boxes",
    "ImageList",
    "Instances",
    "PolygonMasks",
    "RLEMasks",
    "ROIMasks",
    "matched_pairwise_iou",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_point_box_distance",
    "polygon_area",
    "polygons_to_bitmask",
    "rasterize_polygons_within_box",
]

_MODULES = ("boxes", "image_list", "instances", "masks")
_HOMES = {
    "ImageList": "image_list",
    "Instances": "instances",
    **dict.fromkeys(("BitMasks", "PolygonMasks", "RLEMasks", "ROIMasks"), "masks"),
    **dict.fromkeys(("polygon_area", "polygons_to_bitmask", "rasterize_polygons_within_box"), "masks"),
}

_absent = absent_names(__name__)


def __getattr__(name: str) -> Any:
    """Load the module of a public name the first time the name is used.

    Raises:
        AttributeError: for a name that is not public here.
    """
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in __all__:
        return _absent(name)
    value = getattr(importlib.import_module(f".{_HOMES.get(name, 'boxes')}", __name__), name)
    globals()[name] = value
    return value
