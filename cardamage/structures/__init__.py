"""Boxes, masks, instances and image batches: what moves between data, model and evaluation."""

from __future__ import annotations

from cardamage.absent import absent_names

from .bit_masks import BitMasks
from .box_mode import BoxMode
from .box_overlap import (
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)
from .boxes import Boxes
from .image_list import ImageList
from .instances import Instances
from .polygon_masks import PolygonMasks
from .polygons import polygon_area, polygons_to_bitmask, rasterize_polygons_within_box
from .rle_masks import RLEMasks

__all__ = [
    "BitMasks",
    "BoxMode",
    "Boxes",
    "ImageList",
    "Instances",
    "PolygonMasks",
    "RLEMasks",
    "matched_pairwise_iou",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_point_box_distance",
    "polygon_area",
    "polygons_to_bitmask",
    "rasterize_polygons_within_box",
]

__getattr__ = absent_names(__name__)
