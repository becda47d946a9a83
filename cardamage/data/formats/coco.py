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
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...catalog import DatasetCatalog, MetadataCatalog
from ...errors import DataError
from ..annotation_report import AnnotationReport
from ..checks import RawAnnotation, check_annotation
from .coco_values import as_flag, as_id, as_number, unpacked
from .image_files import ImageFolder
from .reading import read_json

__all__ = ["CocoDataset", "load_coco_json", "read_coco", "register_coco_instances"]

_STANDARD = frozenset(
    {"id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "area", "keypoints", "bbox_mode"}
)


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
    name = os.fspath(json_file)
    content = _content(name)
    if adapt is not None:
        adapt(content)
    classes, contiguous = _categories(content, name)
    images = _images(content, name)
    folder = ImageFolder.around(Path(name), image_root, list(images.values()))
    findings = report or AnnotationReport(name)
    by_image = _by_image(content, images, name)
    dicts = []
    for image_id in sorted(images):
        image = images[image_id]
        height, width = _size(image, name)
        annotations = []
        for index, annotation in by_image[image_id]:
            place = f"{name}, annotation {annotation.get('id', f'number {index}')}"
            category = _category(annotation, contiguous, content, place)
            raw = _raw(annotation, place, extra_annotation_keys or ())
            checked = check_annotation(raw, height, width, findings)
            if checked is not None:
                annotations.append({**checked, "category_id": category})
        dicts.append(
            {
                "file_name": folder.path_of(image),
                "height": height,
                "width": width,
                "image_id": image_id,
                "annotations": annotations,
            }
        )
    if report is None:
        findings.log()
    return CocoDataset(dicts, classes, contiguous)


def _content(name: str) -> dict[str, Any]:
    content = read_json(name, "COCO file")
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{name} is no COCO file: it has no list of 'images'.")
    if not isinstance(content.get("categories"), list) or not content["categories"]:
        raise DataError(
            f"The COCO file {name} has no 'categories', so its classes have no names; export it with them."
        )
    content["annotations"] = content.get("annotations") or []
    for key in ("images", "categories", "annotations"):
        if not isinstance(content[key], list) or not all(isinstance(entry, dict) for entry in content[key]):
            raise DataError(f"The COCO file {name} is damaged: its {key!r} are not a list of objects.")
    return content


def _categories(content: dict[str, Any], name: str) -> tuple[list[str], dict[int, int]]:
    """Class names by contiguous id, in the order of the category ids."""
    by_id: dict[int, dict[str, Any]] = {}
    for category in content["categories"]:
        number = as_id(category.get("id"))
        if number is None:
            raise DataError(
                f"The category {category.get('name')!r} in {name} has the id {category.get('id')!r}; "
                "ids must be whole numbers."
            )
        if number in by_id:
            raise DataError(f"{name} has two categories of id {number}; give each its own.")
        by_id[number] = category
    used = {as_id(annotation.get("category_id")) for annotation in content["annotations"]}
    kept = [i for i in sorted(by_id) if i in used or not _is_placeholder(i, by_id)]
    return [str(by_id[i].get("name", i)) for i in kept], {original: i for i, original in enumerate(kept)}


def _is_placeholder(number: int, by_id: dict[int, dict[str, Any]]) -> bool:
    name = str(by_id[number].get("name", ""))
    others = [category for i, category in by_id.items() if i != number]
    if not others:
        return False
    if name.strip("_ ").lower() == "background":
        return True
    return number == 0 and all(category.get("supercategory") == name for category in others)


def _images(content: dict[str, Any], name: str) -> dict[int, dict[str, Any]]:
    """Image records by integer id. Ids that are no numbers are replaced, in the annotations too."""
    raw_ids = [image.get("id") for image in content["images"]]
    numbers: Sequence[int | None] = [as_id(raw) for raw in raw_ids]
    if any(number is None for number in numbers):
        numbers = range(1, len(raw_ids) + 1)
        renamed = {str(raw): number for raw, number in zip(raw_ids, numbers, strict=True)}
        for annotation in content["annotations"]:
            annotation["image_id"] = renamed.get(str(annotation.get("image_id")))
    images: dict[int, dict[str, Any]] = {}
    for number, image in zip(numbers, content["images"], strict=True):
        assert number is not None
        if number in images:
            raise DataError(
                f"{name} has two images of id {number}: {images[number].get('file_name')} and "
                f"{image.get('file_name')}; give each its own."
            )
        images[number] = image
    return images


def _by_image(
    content: dict[str, Any], images: dict[int, dict[str, Any]], name: str
) -> dict[int, list[tuple[int, dict[str, Any]]]]:
    by_image: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for index, annotation in enumerate(content["annotations"]):
        number = as_id(annotation.get("image_id"))
        if number is None or number not in images:
            raise DataError(
                f"{name}, annotation {annotation.get('id', index)}: its image {annotation.get('image_id')!r} "
                "is not among the file's images; export it again."
            )
        by_image[number].append((index, annotation))
    return by_image


def _size(image: dict[str, Any], name: str) -> tuple[int, int]:
    height, width = as_number(image.get("height")), as_number(image.get("width"))
    if not height or not width or height < 0 or width < 0:
        raise DataError(f"The image {image.get('file_name')} in {name} has no height and width; add them.")
    return int(height), int(width)


def _category(
    annotation: dict[str, Any], contiguous: dict[int, int], content: dict[str, Any], place: str
) -> int:
    number = as_id(annotation.get("category_id"))
    if number is not None and number in contiguous:
        return contiguous[number]
    known = ", ".join(f"{category.get('id')} {category.get('name')}" for category in content["categories"])
    raise DataError(
        f"{place}: its category {annotation.get('category_id')!r} is not among the file's ({known})."
    )


def _raw(annotation: dict[str, Any], place: str, extra_keys: Sequence[str]) -> RawAnnotation:
    raw = RawAnnotation(place, iscrowd=as_flag(annotation.get("iscrowd", 0)))
    raw.extra = {key: annotation[key] for key in extra_keys if key in annotation and key not in _STANDARD}
    if "keypoints" in annotation:
        raw.extra["keypoints"] = annotation["keypoints"]
    box = unpacked(annotation.get("bbox"))
    if isinstance(box, (list, tuple)) and len(box) == 4:
        x, y, w, h = (as_number(v) or 0.0 for v in box)
        raw.bbox = (x, y, x + w, y + h)
    segmentation = unpacked(annotation.get("segmentation"))
    if isinstance(segmentation, dict):
        raw.rle = segmentation
    elif isinstance(segmentation, list) and segmentation:
        nested = isinstance(segmentation[0], (list, tuple))
        raw.polygons = segmentation if nested else [segmentation]
    return raw
