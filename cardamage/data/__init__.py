"""Datasets from annotation files to batches: catalogs, formats, checks, augmentation, loaders.

Importing this package registers the built-in datasets and the ad-hoc name schemes; nothing is read from disk.
The heavier modules are loaded when one of their names is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..catalog import DatasetCatalog, Metadata, MetadataCatalog, register_scheme
from .registered.adhoc import register_schemes
from .registered.builtin import register_builtin

_HOMES: dict[str, str] = {
    "DatasetFromList": ".common",
    "DatasetMapper": ".dataset_mapper",
    "MapDataset": ".common",
    "ToIterableDataset": ".common",
    "build_batch_data_loader": ".build",
    "build_detection_test_loader": ".build",
    "build_detection_train_loader": ".build",
    "check_images": ".images.checks",
    "get_detection_dataset_dicts": ".build",
    "image_size": ".images.reading",
    "load_coco_json": ".datasets",
    "load_proposals_into_dataset": ".preparation.proposals",
    "prepare_datasets": ".preparation.class_alignment",
    "print_instances_class_histogram": ".build",
    "read_image": ".images.reading",
    "read_record_image": ".images.reading",
    "resolve_num_classes": ".preparation.class_alignment",
}
_MODULES = ("build", "catalog", "datasets", "detection_utils", "formats", "samplers", "transforms")

__all__ = [
    "DatasetCatalog",
    "Metadata",
    "MetadataCatalog",
    "register_scheme",
    *_HOMES,
]


register_schemes()
register_builtin()


def __getattr__(name: str) -> Any:
    """Load the module of a public name the first time the name is used.

    Raises:
        AttributeError: for a name that is not public here.
    """
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
