"""cardamage's datasets in Detectron2's catalogs, and their ground truth as its evaluator reads it."""

from __future__ import annotations

import json
import logging
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util
from detectron2.data import DatasetCatalog as UpstreamDatasets
from detectron2.data import MetadataCatalog as UpstreamMetadata
from detectron2.structures import BoxMode as UpstreamBoxMode

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.annotations.sides import flip_indices, mark_sides
from cardamage.data.images.reading import record_source
from cardamage.errors import DataError
from cardamage.evaluation.coco_ground_truth import GroundTruth, load_ground_truth
from cardamage.utils import comm
from cardamage.utils.files import atomic_write

from .pictures import unpack_embedded

__all__ = ["adopt_upstream", "has_run_lengths", "register_for_testing", "register_for_training"]

logger = logging.getLogger(__name__)

Record = dict[str, Any]

# By kind of evaluator, the metadata that says where its ground truth is.
_OWN_TRUTH = {"lvis": "json_file", "cityscapes_instance": "gt_dir"}


def adopt_upstream(names: Sequence[str]) -> None:
    """Make datasets known that only Detectron2's catalogs have, such as those of a plug-in.

    Args:
        names: dataset names; those that cardamage knows, and those that nobody does, are let be.
    """
    for name in names:
        loader = UpstreamDatasets.data.get(name)
        if loader is None or isinstance(loader, _Loader) or name in DatasetCatalog:
            continue
        records = loader()
        DatasetCatalog.register(name, loader)
        MetadataCatalog.get(name).set(**UpstreamMetadata.get(name).as_dict())
        logger.info("Dataset %r is Detectron2's own: %d images.", name, len(records))


def register_for_training(
    name: str, folder: str, flip_class_pairs: str | Sequence[Sequence[str]] = "none"
) -> None:
    """Put a dataset into Detectron2's catalogs as training sees it here: checked, its classes mapped.

    Args:
        name: a dataset that ``prepare_datasets`` has been through.
        folder: where the main process writes pictures that lie within Labelme files; all processes call this.
        flip_class_pairs: as INPUT.FLIP_CLASS_PAIRS; annotations learn which class they become in a mirrored
            picture.
    """
    metadata = MetadataCatalog.get(name).as_dict()
    metadata.pop("json_file", None)
    indices = tuple(flip_indices(name, flip_class_pairs))
    _register(name, _Loader(name, _pictures(name, folder), indices=indices), metadata)


def register_for_testing(name: str, folder: str) -> tuple[str, ...] | None:
    """Put a dataset into Detectron2's catalogs together with a file of the ground truth that is scored here.

    LVIS and Cityscapes are scored by rules and files of their own, which stay.

    Args:
        name: a dataset that ``prepare_datasets`` has been through.
        folder: where the main process writes the file, and pictures that lie within Labelme files; all
            processes call this.

    Returns:
        The tasks that Detectron2's evaluator can score; None leaves it to what is predicted.

    Raises:
        DataError: if the metadata's ``thing_classes`` are not those of the ground truth.
    """
    metadata = MetadataCatalog.get(name).as_dict()
    if metadata.get(_OWN_TRUTH.get(metadata.get("evaluator_type", ""), "")):
        _register(name, _Loader(name, {}), metadata)
        return None
    truth = load_ground_truth(name)
    coco = _coco(truth, metadata)
    # Different names may become the same file name, such as those of folders that differ in signs.
    file = Path(folder) / f"{_file_name(name)}_coco_format.json"
    if comm.is_main_process():
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as stream:
            json.dump(coco, stream)
    metadata.update(json_file=str(file), evaluator_type="coco")
    _register(name, _Loader(name, _pictures(name, folder), truth), metadata)
    return _tasks(truth)


def has_run_lengths(names: Sequence[str]) -> bool:
    """Tell whether some object of these datasets is a mask rather than polygons."""
    return any(
        isinstance(annotation.get("segmentation"), dict)
        for name in names
        for record in DatasetCatalog.get(name)
        for annotation in record.get("annotations", ())
    )


@dataclass(frozen=True)
class _Loader:
    """Gives Detectron2 a dataset of cardamage's catalog, with the types that it asks for.

    Attributes:
        name: the dataset.
        pictures: the files to read instead of Labelme files with a picture in them.
        truth: the ground truth whose image ids the records get; None keeps their own.
        indices: what each class becomes in a mirrored picture; empty where none changes.
    """

    name: str
    pictures: dict[str, str]
    truth: GroundTruth | None = None
    indices: tuple[int, ...] = ()

    def __call__(self) -> list[Record]:
        records: list[Record] = DatasetCatalog.get(self.name)
        for index, record in enumerate(records):
            source = record_source(record)
            record["file_name"] = self.pictures.get(source, source)
            if self.truth is not None:
                record["image_id"] = self.truth.image_id(record.get("image_id", index))
            if self.indices:
                mark_sides(record.get("annotations", ()), self.indices)
            for annotation in record.get("annotations", ()):
                annotation["bbox_mode"] = UpstreamBoxMode(int(annotation["bbox_mode"]))
                segmentation = annotation.get("segmentation")
                if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
                    annotation["segmentation"] = mask_util.frPyObjects(segmentation, *segmentation["size"])
        return records


def _pictures(name: str, folder: str) -> dict[str, str]:
    """Return the copies of embedded pictures; all files are there on all processes when this returns."""
    place = str(Path(folder) / "pictures")
    copies = unpack_embedded(DatasetCatalog.get(name), place, write=comm.is_main_process())
    comm.synchronize()
    return copies


def _register(name: str, loader: _Loader, metadata: Record) -> None:
    """Register, over what is there: the names of COCO's sets are Detectron2's too."""
    UpstreamDatasets[name] = loader
    UpstreamMetadata.pop(name, None)
    UpstreamMetadata.get(name).set(**{key: value for key, value in metadata.items() if key != "name"})


def _coco(truth: GroundTruth, metadata: Record) -> dict[str, Any]:
    """Return the ground truth with the metadata's classes alone, as Detectron2's evaluator asks for."""
    coco = truth.for_task("bbox")
    classes = metadata.get("thing_classes")
    mapping = metadata.get("thing_dataset_id_to_contiguous_id")
    if mapping is not None:
        coco["categories"] = [category for category in coco["categories"] if category["id"] in mapping]
    if classes is not None and len(coco["categories"]) != len(classes):
        raise DataError(
            f"Dataset {truth.name!r} has {len(classes)} classes, but its ground truth has "
            f"{len(coco['categories'])}; Detectron2 evaluates only where they agree."
        )
    if not truth.annotated:
        del coco["annotations"]
    return coco


def _tasks(truth: GroundTruth) -> tuple[str, ...] | None:
    boxes = sum("segmentation" not in annotation for annotation in truth.annotations)
    if boxes == 0:
        return None
    logger.warning(
        "%d of %d objects of %r have a box but no outline: Detectron2 then scores no masks, but boxes only.",
        boxes,
        len(truth.annotations),
        truth.name,
    )
    return ("bbox",)


def _file_name(name: str) -> str:
    """Return a file name for a dataset name, which may be a path."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_")
    return plain if plain == name else f"{plain[-60:]}_{zlib.crc32(name.encode()):08x}"
