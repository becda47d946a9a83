"""COCO's JSON as annotations in memory; see :mod:`cardamage.data.formats.coco` for what is understood."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.checks import RawAnnotation
from ..dataset import AnnotatedDataset, AnnotatedImage
from ..pictures.finding import ImageFolder
from ..shared.shared_root import NamesBelow
from ..shared.text_files import read_json
from ..shared.values import as_flag, as_id, as_name, as_number, unpacked

__all__ = ["read_coco_annotations", "read_coco_file"]

_STANDARD = frozenset(
    {"id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "area", "bbox_mode"}
)
_STANDARD_IMAGE = frozenset({"file_name", "height", "width"})
_LISTS = ("images", "categories", "annotations")
# No camera takes more; a file of a few bytes can claim more than memory holds masks of.
_MOST_PIXELS = 1 << 28


def read_coco_annotations(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    adapt: Callable[[dict[str, Any]], None] | None = None,
) -> AnnotatedDataset:
    """Read a COCO instances file.

    Args:
        json_file: the file.
        image_root: folder of its images; by default the one of the usual places around the file where the
            first images are.
        adapt: changes the file's content, for formats that differ from COCO's a little.

    Returns:
        The images in the order of their ids, which are in ``extra["id"]``. The dataset's ``extra`` holds the
        file's ``category_ids`` by contiguous id, further fields of its ``categories`` by name, and all else
        that the file has beside its three lists (``info``, ``licenses``, ...). Further keys of images and
        annotations are carried.

    Raises:
        DataError: for a file that can't be read, an annotation of an unknown category or image, an image
            without size, or a repeated id.
    """
    return read_coco_file(json_file, image_root, adapt)[0]


def read_coco_file(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    adapt: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[AnnotatedDataset, Path]:
    """Do as :func:`read_coco_annotations`, and return the images' folder as well."""
    name = os.fspath(json_file)
    content = _content(name)
    if adapt is not None:
        adapt(content)
    labels = _categories(content, name)
    images = _images(content, name)
    folder = ImageFolder.around(Path(name), image_root, list(images.values()))
    by_image = _by_image(content, images, name)
    names = NamesBelow(folder.root)
    found = []
    for image_id in sorted(images):
        image = images[image_id]
        height, width = _size(image, name)
        path = folder.path_of(image)
        extra = {key: value for key, value in image.items() if key not in _STANDARD_IMAGE}
        raws: list[RawAnnotation] = []
        entry = AnnotatedImage(names(path), path, height, width, raws, extra=extra)
        entry.extra["id"] = image_id
        for index, annotation in by_image[image_id]:
            place = f"{name}, annotation {annotation.get('id', f'number {index}')}"
            raw = _raw(annotation, place)
            raw.label = labels[_category(annotation, labels, content, place)]
            raws.append(raw)
        found.append(entry)
    extra = {key: value for key, value in content.items() if key not in _LISTS and value}
    extra["category_ids"] = list(labels)
    extra["categories"] = _category_fields(content, labels)
    return AnnotatedDataset(name, "coco", list(labels.values()), found, extra), folder.root


def _content(name: str) -> dict[str, Any]:
    content = read_json(name, "COCO file")
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{name} is no COCO file: it has no list of 'images'.")
    if not isinstance(content.get("categories"), list) or not content["categories"]:
        raise DataError(
            f"The COCO file {name} has no 'categories', so its classes have no names; export it with them."
        )
    content["annotations"] = content.get("annotations") or []
    for key in _LISTS:
        if not isinstance(content[key], list) or not all(isinstance(entry, dict) for entry in content[key]):
            raise DataError(f"The COCO file {name} is damaged: its {key!r} are not a list of objects.")
    return content


def _categories(content: dict[str, Any], name: str) -> dict[int, str]:
    """Class names by category id, in the order of the ids."""
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
    names = {i: as_name(by_id[i].get("name", i)) for i in kept}
    often = Counter(names.values())
    return {i: name if often[name] == 1 else f"{name} ({i})" for i, name in names.items()}


def _category_fields(content: dict[str, Any], labels: dict[int, str]) -> dict[str, dict[str, Any]]:
    """What categories have beside id and name, by class name."""
    fields = {}
    for category in content["categories"]:
        further = {key: value for key, value in category.items() if key not in ("id", "name")}
        label = labels.get(as_id(category.get("id")) or 0)
        if label is not None and further:
            fields[label] = further
    return fields


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
    if height is None or width is None or height < 1 or width < 1:
        raise DataError(f"The image {image.get('file_name')} in {name} has no height and width; add them.")
    if height * width > _MOST_PIXELS:
        raise DataError(
            f"The image {image.get('file_name')} in {name} is said to be {width:.6g}x{height:.6g}, which is "
            "larger than any picture; correct its height and width."
        )
    return int(height), int(width)


def _category(annotation: dict[str, Any], labels: dict[int, str], content: dict[str, Any], place: str) -> int:
    number = as_id(annotation.get("category_id"))
    if number is not None and number in labels:
        return number
    known = ", ".join(f"{category.get('id')} {category.get('name')}" for category in content["categories"])
    raise DataError(
        f"{place}: its category {annotation.get('category_id')!r} is not among the file's ({known})."
    )


def _raw(annotation: dict[str, Any], place: str) -> RawAnnotation:
    raw = RawAnnotation(place, iscrowd=as_flag(annotation.get("iscrowd", 0)))
    raw.extra = {key: value for key, value in annotation.items() if key not in _STANDARD}
    box = unpacked(annotation.get("bbox"))
    if isinstance(box, (list, tuple)) and len(box) == 4:
        x, y, w, h = (as_number(v) or 0.0 for v in box)
        raw.bbox = (x, y, x + w, y + h)
    segmentation = unpacked(annotation.get("segmentation"))
    if isinstance(segmentation, list) and len(segmentation) == 1 and isinstance(segmentation[0], dict):
        segmentation = segmentation[0]  # as some tools write run lengths
    if isinstance(segmentation, dict):
        raw.rle = segmentation
    elif isinstance(segmentation, list) and segmentation:
        nested = isinstance(segmentation[0], (list, tuple))
        raw.polygons = segmentation if nested else [segmentation]
    return raw
