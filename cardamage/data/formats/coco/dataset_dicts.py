"""Dataset dicts of COCO files, and such files written from dataset dicts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....catalog import DatasetCatalog, MetadataCatalog, dicts_to_coco
from ....utils.files import atomic_write
from ...annotations.report import AnnotationReport
from ..dataset import to_dicts
from .reading import read_coco_annotations

__all__ = ["CocoDataset", "load_coco_json", "read_coco", "register_coco_instances", "write_coco"]


@dataclass
class CocoDataset:
    """A COCO file that was read.

    Attributes:
        dicts: dataset dicts.
        classes: names, by contiguous id.
        contiguous_ids: contiguous id of each category id in the file.
    """

    dicts: list[dict[str, Any]]
    classes: list[str]
    contiguous_ids: dict[int, int]


def load_coco_json(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str],
    dataset_name: str | None = None,
    extra_annotation_keys: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Load a COCO instances file, with Detectron2's signature.

    Args:
        json_file: the file.
        image_root: folder of its images.
        dataset_name: where given, its metadata gets ``thing_classes`` and
            ``thing_dataset_id_to_contiguous_id``; otherwise category ids stay as in the file.
        extra_annotation_keys: keys of annotations to carry over.

    Returns:
        Dataset dicts; see :func:`read_coco`.

    Raises:
        DataError: for a file that can't be used.
    """
    dataset = read_coco(json_file, image_root, extra_annotation_keys)
    if dataset_name is not None:
        MetadataCatalog.get(dataset_name).set(
            thing_classes=dataset.classes, thing_dataset_id_to_contiguous_id=dataset.contiguous_ids
        )
        return dataset.dicts
    back = {contiguous: original for original, contiguous in dataset.contiguous_ids.items()}
    for record in dataset.dicts:
        for annotation in record["annotations"]:
            annotation["category_id"] = back[annotation["category_id"]]
    return dataset.dicts


def register_coco_instances(
    name: str, metadata: dict[str, Any], json_file: str | os.PathLike[str], image_root: str | os.PathLike[str]
) -> None:
    """Register a COCO instances file under a name, as Detectron2 does; it is read when it is first used.

    Args:
        name: how configs call it.
        metadata: attributes for its metadata; may be empty.
        json_file: the file; it is also what the evaluation scores against.
        image_root: folder of its images.

    Raises:
        DataError: where the name is taken.
    """
    DatasetCatalog.register(name, lambda: load_coco_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=os.fspath(json_file), image_root=os.fspath(image_root), evaluator_type="coco", **metadata
    )


def read_coco(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    extra_annotation_keys: Sequence[str] | None = None,
    report: AnnotationReport | None = None,
    adapt: Callable[[dict[str, Any]], None] | None = None,
) -> CocoDataset:
    """Read a COCO instances file as :func:`~.reading.read_coco_annotations` does, and check it.

    Args:
        json_file: the file.
        image_root: folder of its images.
        extra_annotation_keys: keys of annotations to carry over.
        report: is told what was found; by default it is logged.
        adapt: changes the file's content.

    Returns:
        Dataset dicts in the order of image ids, with contiguous category ids, and the class names.

    Raises:
        DataError: for a file that can't be used.
    """
    dataset = read_coco_annotations(json_file, image_root, adapt)
    dicts, classes = to_dicts(
        dataset, report=report, extra_keys=("keypoints", *(extra_annotation_keys or ()))
    )
    original: list[int] = dataset.extra["category_ids"]
    return CocoDataset(dicts, classes, {number: index for index, number in enumerate(original)})


def write_coco(
    path: str | os.PathLike[str],
    dataset_dicts: Sequence[Mapping[str, Any]],
    thing_classes: Sequence[str],
    image_root: str | os.PathLike[str] | None = None,
) -> None:
    """Write a COCO instances file, whole or not at all.

    Category and annotation ids are from 1, areas are those of the masks.

    Args:
        path: the file; its folder is made.
        dataset_dicts: the images.
        thing_classes: class names, by contiguous id.
        image_root: where given, images are named relative to it, with forward slashes.
    """
    ids = {index: index + 1 for index in range(len(thing_classes))}
    coco = dicts_to_coco(dataset_dicts, thing_classes, ids)
    if image_root is not None:
        for image in coco["images"]:
            image["file_name"] = Path(os.path.relpath(image["file_name"], image_root)).as_posix()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        json.dump(coco, file)
