"""COCO files with their mistakes: what readers refuse is noted, and the rest is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...formats.pictures.finding import ImageFolder
from ...formats.shared.text_files import read_json
from ...formats.shared.values import as_flag, as_id, as_number, unpacked
from ..model import Part, Picture, Shape
from .values import box_of, off_by_one, off_by_one_text, read_or_note, ring_of, size_of

__all__ = ["category_name", "read_coco"]

_NO_TEXTS = ("area", "iscrowd", "bbox", "segmentation")


def read_coco(path: Path, image_root: Path | None = None) -> Part:
    """Read a COCO instances file.

    Args:
        path: the file.
        image_root: folder of its images; by default one of the usual places around it.
    """
    part = Part(str(path), "coco")
    content = read_or_note(part, path, read_json, "COCO file")
    if content is None:
        return part
    if not isinstance(content, dict):
        part.note("D001", path, text="is no COCO file: it is no object with lists in it")
        return part
    if any("segments_info" in entry for entry in _first_entries(content.get("annotations"))):
        part.note("D001", path, text="is COCO's panoptic form; export instances")
        return part
    lists = {key: _objects(content.get(key), key, part) for key in ("images", "annotations", "categories")}
    names = _categories(lists["categories"], part) or _numbers_as_names(lists["annotations"], part)
    names = _shifted(names, lists["annotations"], part)
    pictures = _pictures(lists["images"], image_root, part)
    _placeholders(lists, part)
    seen: dict[Any, int] = {}
    annotations = lists["annotations"]
    content.clear()
    lists.clear()
    annotations.reverse()
    while annotations:
        # As text in the file, numbers in lists, and an array at last, an outline would be there three times.
        index, annotation = annotations.pop()
        _note_id(annotation, index, seen, part)
        _add_shape(annotation, index, names, pictures, part)
    return part


def _first_entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value[:5] if isinstance(entry, dict)] if isinstance(value, list) else []


def _objects(value: Any, key: str, part: Part) -> list[tuple[int, dict[str, Any]]]:
    if not isinstance(value, list):
        if key != "annotations" or value is not None:
            part.note("D002", part.source, text=f"it has no list of {key!r}")
        return []
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            part.note("D002", part.source, index, f"an entry of {key!r} is no object")
    return [(index, entry) for index, entry in enumerate(value) if isinstance(entry, dict)]


def _categories(entries: list[tuple[int, dict[str, Any]]], part: Part) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, entry in entries:
        number, name = as_id(entry.get("id")), category_name(entry)
        if entry.get("name") is None:
            above = entry.get("supercategory")
            only = f", only the supercategory {above!r}" if isinstance(above, str) else ""
            part.note("D413", part.source, index, f"the category {entry.get('id')!r} has no name{only}")
        if number is None:
            part.note("D308", part.source, index, f"the category {name!r} has the id {entry.get('id')!r}")
        elif number in names:
            part.note("D307", part.source, index, f"{number} is {names[number]!r} and {name!r}")
        else:
            if name in names.values():
                first = next(other for other, known in names.items() if known == name)
                part.note("D415", part.source, index, f"{first} and {number} are both {name!r}")
            names[number] = name
            if number == 0:
                part.note("D309", part.source, index, f"{name!r} has the id 0")
    part.classes = list(dict.fromkeys(names[number] for number in sorted(names)))
    return names


def _numbers_as_names(annotations: list[tuple[int, dict[str, Any]]], part: Part) -> dict[int, str]:
    """Names of classes that have none: their numbers."""
    used = {number for _, a in annotations if (number := as_id(a.get("category_id"))) is not None}
    if used:
        part.states_classes = False
        part.note("D409", part.source, text="no list says what the class numbers mean")
    part.classes = [str(number) for number in sorted(used)]
    return {number: str(number) for number in sorted(used)}


def _shifted(
    names: dict[int, str], annotations: list[tuple[int, dict[str, Any]]], part: Part
) -> dict[int, str]:
    """The names by the numbers that annotations have, where these are one off for certain (D320)."""
    used = {number for _, a in annotations if (number := as_id(a.get("category_id"))) is not None}
    step = off_by_one(used, names)
    if not step:
        return names
    part.off_by_one = True
    part.note("D320", part.source, text=off_by_one_text(used, names))
    return {number - step: name for number, name in names.items()}


def category_name(entry: dict[str, Any]) -> str:
    """The name of a category; its id where it has none."""
    name = entry.get("name")
    return str(entry.get("id") if name is None else name)


def _placeholders(lists: dict[str, list[tuple[int, dict[str, Any]]]], part: Part) -> None:
    """Names that are there for the export's sake: a background, or Roboflow's head of all others."""
    used = {as_id(annotation.get("category_id")) for _, annotation in lists["annotations"]}
    for _, entry in lists["categories"]:
        name, number = str(entry.get("name", "")), as_id(entry.get("id"))
        others = [other for _, other in lists["categories"] if other is not entry]
        heads = number == 0 and others and all(other.get("supercategory") == name for other in others)
        if number not in used and (heads or name.strip("_ ").lower() == "background"):
            part.placeholders.append(name)


def _pictures(
    entries: list[tuple[int, dict[str, Any]]], image_root: Path | None, part: Part
) -> dict[str, Picture]:
    """Pictures by id as text; of repeated ids the first."""
    root = image_root if image_root is not None and image_root.is_dir() else None
    folder = ImageFolder.around(Path(part.source), root, [entry for _, entry in entries])
    by_id: dict[str, Picture] = {}
    for index, entry in entries:
        name = str(entry.get("file_name") or entry.get(folder.key) or "")
        size = size_of(entry.get("height"), entry.get("width"))
        if size is None:
            part.note("D114", part.source, index, f"{name} has no height and width")
        picture = Picture(part.source, index, name, _path(entry, index, folder, part), size)
        part.pictures.append(picture)
        key = _key(entry.get("id"))
        if as_id(entry.get("id")) is None:
            said = f"the id {entry['id']!r}" if key else "no id"
            part.note("D308", part.source, index, f"the image {name} has {said}")
        if key is None:
            continue
        if key in by_id:
            part.note("D303", part.source, index, f"{by_id[key].name} and {name} are both {key}")
        else:
            by_id[key] = picture
            if key == "0":
                part.note("D304", part.source, index, f"the image {name} has the id 0")
    if folder.key != "file_name" and any(entry.get("file_name") for _, entry in entries):
        text = f"the pictures of {len(entries)} images are where {folder.key!r} says, not 'file_name'"
        part.note("D116", part.source, text=text)
    return by_id


def _path(entry: dict[str, Any], index: int, folder: ImageFolder, part: Part) -> str:
    try:
        return folder.path_of(entry)
    except DataError as error:
        part.note("D115", part.source, index, str(error))
        return ""


def _key(value: Any) -> str | None:
    number = as_id(value)
    return str(value) if number is None and value is not None else None if number is None else str(number)


def _note_id(annotation: dict[str, Any], index: int, seen: dict[Any, int], part: Part) -> None:
    number = _key(annotation.get("id"))
    if as_id(annotation.get("id")) is None:
        said = annotation.get("id")
        part.note(
            "D308", part.source, index, f"the annotation's id {said!r}" if said else "an annotation has no id"
        )
    if number is None:
        return
    if number in seen:
        part.note("D301", part.source, index, f"{number} is also the id of annotation {seen[number]}")
    else:
        seen[number] = index
        if number == "0":
            part.note("D302", part.source, index, "its id is 0")


def _add_shape(
    annotation: dict[str, Any], index: int, names: dict[int, str], pictures: dict[str, Picture], part: Part
) -> None:
    picture = pictures.get(_key(annotation.get("image_id")) or "")
    number = as_id(annotation.get("category_id"))
    label = names.get(number) if number is not None else None
    if picture is None:
        part.note("D305", part.source, index, f"its image {annotation.get('image_id')!r} is not in the file")
    if label is None:
        text = f"its category {annotation.get('category_id')!r} is not in the file"
        part.note("D306", part.source, index, text)
    if picture is not None:
        picture.shapes.append(_shape(annotation, index, label, picture, part))


def _shape(annotation: dict[str, Any], index: int, label: str | None, picture: Picture, part: Part) -> Shape:
    shape = Shape(part.source, index, label, size=picture.size or (0, 0))
    shape.crowd = bool(as_flag(annotation.get("iscrowd", 0)))
    shape.stated_area = as_number(annotation.get("area"))
    _note_form(annotation, shape, part)
    box = unpacked(annotation.get("bbox"))
    if isinstance(box, (list, tuple)) and len(box) == 4:
        numbers = [as_number(value) for value in box]
        if None in numbers:
            _note_box(box, annotation, shape, part)
        else:
            x, y, w, h = (number or 0.0 for number in numbers)
            if w < 0 or h < 0:
                shape.rewrite = True
                part.note("D221", part.source, index, f"a bbox of negative {'width' if w < 0 else 'height'}")
            shape.box = box_of(min(x, x + w), min(y, y + h), max(x, x + w), max(y, y + h))
    elif box is not None:
        _note_box(box, annotation, shape, part)
    segmentation = unpacked(annotation.get("segmentation"))
    if isinstance(segmentation, dict) and segmentation:
        shape.kind, shape.rle = "mask", segmentation
        shape.pack()
        return shape
    shape.rings = list(_rings(segmentation, index, part))
    if not shape.rings:
        shape.kind = "box"
        if "segmentation" in annotation and _is_empty(segmentation):
            part.note("D209", part.source, index, label or "")
    return shape


def _is_empty(segmentation: Any) -> bool:
    if isinstance(segmentation, list):
        return all(ring in (None, []) for ring in segmentation)
    return segmentation in (None, "", {})


def _note_box(box: Any, annotation: dict[str, Any], shape: Shape, part: Part) -> None:
    """A box that can't be read is no harm where there is an outline."""
    if _is_empty(unpacked(annotation.get("segmentation"))):
        part.note("D002", part.source, shape.index, f"its bbox {str(box)[:60]} is not 4 numbers")
    elif not shape.rewrite:
        part.note("D221", part.source, shape.index, f"a bbox that is not 4 numbers: {str(box)[:60]}")
    shape.rewrite = True


def _note_form(annotation: dict[str, Any], shape: Shape, part: Part) -> None:
    """Note what is written otherwise than COCO has it, and what is left out."""
    lacking = [key for key in ("area", "iscrowd", "bbox") if annotation.get(key) is None]
    if lacking:
        part.note("D224", shape.file, shape.index, f"no {', no '.join(lacking)}")
    texts = [key for key in _NO_TEXTS if _has_text(annotation.get(key)) and annotation[key] != ""]
    segmentation = unpacked(annotation.get("segmentation"))
    form = "" if isinstance(segmentation, dict) else _other_form(segmentation)
    odd = [*(f"{key} as text" for key in texts), *([form] if form else [])]
    if odd:
        shape.rewrite = True
        part.note("D221", shape.file, shape.index, ", ".join(odd))


def _has_text(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(v, str) and as_number(v) is not None for v in value)
    return isinstance(value, str)


def _other_form(segmentation: Any) -> str:
    first = segmentation[0] if isinstance(segmentation, list) and segmentation else None
    if isinstance(first, (list, tuple)):
        inner = first[0] if first else None
        if isinstance(inner, (list, tuple)) or len(first) == 2:
            return "points in pairs"
        number = as_number(inner) if isinstance(inner, str) else None
        return "numbers of the outline as text" if number is not None else ""
    if isinstance(first, dict):
        return "points as objects" if "x" in first else ""
    return "an outline that is in no list of parts" if first is not None else ""


def _parts_of(segmentation: list[Any]) -> list[Any]:
    """The outlines, however they are written; without those of no points."""
    first = next(iter(segmentation), None)
    if isinstance(first, dict) and "x" in first:
        pairs = [[p.get("x"), p.get("y")] for p in segmentation if isinstance(p, dict)]
        return [pairs] if len(pairs) == len(segmentation) else [segmentation]
    if not isinstance(first, (list, tuple)):
        return [segmentation] if segmentation else []
    if all(isinstance(p, (list, tuple)) and len(p) == 2 and not _is_nested(p) for p in segmentation):
        return [segmentation]
    return [ring for ring in segmentation if ring != []]


def _is_nested(pair: Any) -> bool:
    return any(isinstance(value, (list, tuple, dict)) for value in pair)


def _rings(segmentation: Any, index: int, part: Part) -> Iterator[Any]:
    if not isinstance(segmentation, list):
        return
    for ring in () if _is_empty(segmentation) else _parts_of(segmentation):
        points = ring_of(ring)
        if points is None:
            part.note("D002", part.source, index, "its outline is not a list of x, y numbers")
        else:
            yield points
