"""Masks of every kind, under Detectron2's module path."""

from __future__ import annotations

from .bit_masks import BitMasks
from .polygon_masks import PolygonMasks
from .polygons import polygon_area, polygons_to_bitmask, rasterize_polygons_within_box
from .rle_masks import RLEMasks
from .roi_masks import ROIMasks

__all__ = [
    "BitMasks",
    "PolygonMasks",
    "RLEMasks",
    "ROIMasks",
    "polygon_area",
    "polygons_to_bitmask",
    "rasterize_polygons_within_box",
]
