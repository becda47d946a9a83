"""Which datasets exist, what is known about them, and their contents as COCO ground truth."""

from __future__ import annotations

from .coco_json import convert_to_coco_dict, convert_to_coco_json, dicts_to_coco
from .datasets import DatasetCatalog
from .metadata import Metadata, MetadataCatalog
from .schemes import AdHocDataset, register_scheme, scheme_of

__all__ = [
    "AdHocDataset",
    "DatasetCatalog",
    "Metadata",
    "MetadataCatalog",
    "convert_to_coco_dict",
    "convert_to_coco_json",
    "dicts_to_coco",
    "register_scheme",
    "scheme_of",
]
