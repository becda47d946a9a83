"""COCO's JSON read into dataset dicts, as found in practice.

Rules beyond COCO's own:

- ids may start anywhere and may be strings of digits; other strings number the images from 1;
- ``iscrowd`` may be a boolean or a string, and lists and objects may be JSON within a string;
- an outline may be closed, may be one flat list, and may be an RLE, compressed or not;
- a category is left out if no annotation uses it and it is a placeholder: its name is ``background`` with or
  without underscores, or its id is 0 and every other category names it as supercategory (Roboflow's export);
- the file of an image is its ``file_name`` in the image folder, or its ``path`` where only that exists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ....catalog import DatasetCatalog, MetadataCatalog
from ...annotations.report import AnnotationReport
from ..dataset import to_dicts
from .folder import read, recognize
from .reading import read_coco_annotations
from .writing import write

__all__ = [
    "CocoDataset",
    "load_coco_json",
    "read",
    "read_coco",
    "recognize",
    "register_coco_instances",
    "write",
]


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
    """Read a COCO instances file.

    Args:
        json_file: the file.
        image_root: folder of its images; by default the one of the usual places around the file where the
            first images are.
        extra_annotation_keys: keys of annotations to carry over.
        report: is told what was found; by default it is logged.
        adapt: changes the file's content, for formats that differ from COCO's a little.

    Returns:
        Dataset dicts in the order of image ids, with contiguous category ids, and the class names.

    Raises:
        DataError: for a file that can't be read, an annotation of an unknown category or image, an image
            without size, or a repeated id.
    """
    dataset = read_coco_annotations(json_file, image_root, adapt)
    dicts, classes = to_dicts(
        dataset, report=report, extra_keys=("keypoints", *(extra_annotation_keys or ()))
    )
    original: list[int] = dataset.extra["category_ids"]
    return CocoDataset(dicts, classes, {number: index for index, number in enumerate(original)})
