"""Folders of Labelme files with their mistakes."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ....errors import DataError
from ...annotations import outlines
from ...formats.shared.text_files import read_json
from ...images.decoding import decode_image, read_header
from ..model import Part, Picture, Shape
from ..names import trimmed
from .values import IMAGE_SUFFIXES, below, image_files, read_or_note, ring_of, size_of

__all__ = ["is_labelme", "read_labelme"]

_LINE_WIDTH = 5.0
_LARGEST = 1e5
_MOST_PIXELS = 1 << 28
# Labelme's own converters leave shapes of this label out.
_IGNORED = "__ignore__"
_BOXES = ("rectangle",)


def is_labelme(content: Any) -> bool:
    """Whether a JSON is one of Labelme's, be its shapes damaged."""
    return (
        isinstance(content, dict)
        and "shapes" in content
        and "imagePath" in content
        or (isinstance(content, dict) and isinstance(content.get("shapes"), list))
    )


def read_labelme(path: Path, image_root: Path | None = None, files: Sequence[Path] | None = None) -> Part:
    """Read a folder of Labelme files, or one of them.

    Args:
        path: the folder or file.
        image_root: a further folder where the pictures may be.
        files: those of the folder; by default all its JSON files.
    """
    part = Part(str(path), "labelme", states_classes=False)
    if files is None:
        files = [path] if path.is_file() else list(below(path, [".json"]))
    by_stem = _pictures_by_stem(path if path.is_dir() else path.parent, image_root)
    for file in files:
        content = read_or_note(part, file, read_json, "Labelme file")
        if content is None:
            continue
        if not is_labelme(content):
            part.note("D003", file, text="has no 'shapes'")
            continue
        _add_picture(file, content, by_stem, part)
    part.classes = sorted({shape.label for shape in part.shapes if shape.label})
    return part


def _pictures_by_stem(folder: Path, image_root: Path | None) -> dict[str, list[str]]:
    """Pictures below a folder, and in the folders beside it and the one above, by their names."""
    places = {str(path) for path in image_files(folder)}
    absolute = Path(os.path.abspath(folder))
    for beside in [absolute.parent, *_folders(absolute.parent)]:
        if beside != absolute and not beside.name.startswith("."):
            places |= {os.path.relpath(p) if not folder.is_absolute() else str(p) for p in _direct(beside)}
    if image_root is not None and image_root.is_dir():
        places |= {str(path) for path in image_files(image_root)}
    stems: dict[str, list[str]] = defaultdict(list)
    for path in sorted(places):
        stems[Path(path).stem].append(path)
    return stems


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if os.path.isdir(path))
    except OSError:
        return []


def _direct(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError:
        return []


def _add_picture(file: Path, content: dict[str, Any], by_stem: dict[str, list[str]], part: Part) -> None:
    embedded = str(file) if content.pop("imageData", None) else None
    text = str(content.get("imagePath") or "")
    named = _named(file, text)
    stems = dict.fromkeys([named.stem, file.stem])
    beside = list(dict.fromkeys(path for stem in stems for path in by_stem.get(stem, ())))
    exact = file.parent / named
    if os.path.isfile(exact):
        beside = [str(exact), *(path for path in beside if not os.path.samefile(path, exact))]
        own = [path for path in beside if Path(path).stem == file.stem and Path(path).parent == exact.parent]
        if exact.stem != file.stem and own:
            part.note("D121", file, text=f"imagePath {text!r}, but {os.path.basename(own[0])} is there too")
    else:
        part.note("D117", file, text=f"imagePath {text!r} leads to no file")
    picture = Picture(str(file), None, text, embedded or (beside[0] if beside else str(exact)))
    picture.size = size_of(content.get("imageHeight"), content.get("imageWidth"))
    if picture.size is None:
        part.note("D114", file, text="it has no imageHeight and imageWidth")
    picture.embedded, picture.beside = embedded, beside
    shapes = content["shapes"]
    if not isinstance(shapes, list):
        part.note("D002", file, text="its 'shapes' are no list")
        shapes = []
    for index, entry in enumerate(shapes):
        shape = _shape(entry, file, index, picture.size or (0, 0), part)
        if shape is not None:
            picture.shapes.append(shape)
    part.pictures.append(picture)


def _named(file: Path, text: str) -> PurePosixPath:
    windows = PureWindowsPath(text or file.stem)
    return PurePosixPath(*windows.parts[1:]) if windows.anchor else PurePosixPath(windows.as_posix())


def _shape(entry: Any, file: Path, index: int, size: tuple[int, int], part: Part) -> Shape | None:
    if not isinstance(entry, dict):
        part.note("D002", file, index, "is no object")
        return None
    stated = str(entry.get("label") or "")
    label = stated.strip()
    if label == _IGNORED:
        part.note("D226", file, index)
        return None
    if trimmed(label) != stated:
        part.note("D414", file, index, repr(stated))
    kind = entry.get("shape_type") or "polygon"
    points = ring_of(entry.get("points", []))
    if points is None:
        part.note("D002", file, index, f"{label}: its points are not x, y numbers")
        return None
    shape = Shape(str(file), index, label or None, size=size, by_hand=kind in _BOXES)
    group = entry.get("group_id")
    shape.group = group if type(group) is int else None
    if not label:
        part.note("D408", file, index)
    if kind == "polygon":
        shape.rings = [points]
        return shape
    return _other_type(shape, entry, str(kind), points, part)


def _other_type(
    shape: Shape, entry: dict[str, Any], kind: str, points: np.ndarray, part: Part
) -> Shape | None:
    if kind == "mask":
        shape.kind, shape.rle = "mask", _mask(entry.get("mask"), points, shape.size)
        if shape.rle is None:
            part.note("D002", shape.file, shape.index, f"{shape.label or ''}: its mask can't be decoded")
        return shape if shape.rle is not None else None
    if kind == "circle" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        shape.rings = [outlines.circle(points[0].tolist(), radius)] if radius <= _LARGEST else []
    elif kind in ("linestrip", "line"):
        shape.line = True
        shape.rings = list(outlines.stroke(points, _LINE_WIDTH))
    elif kind == "rectangle" and len(points) == 2:
        shape.rings = [outlines.rectangle(points[0].tolist(), points[1].tolist())]
    elif kind in ("rectangle", "oriented_rectangle"):
        shape.rings = [points]
    elif kind == "circle":
        part.note(
            "D002", shape.file, shape.index, f"{shape.label or ''}: its circle has {len(points)} points"
        )
        return None
    else:
        part.note("D220", shape.file, shape.index, f"{shape.label or ''}: its type {kind!r} has no area")
        return None
    return shape


def _mask(text: Any, points: np.ndarray, size: tuple[int, int]) -> dict[str, Any] | None:
    """A mask of the picture's size from a small picture that begins at the first point."""
    if not isinstance(text, str) or not text or not len(points) or not 0 < size[0] * size[1] <= _MOST_PIXELS:
        return None
    try:
        data = base64.b64decode(text)
        header = read_header(io.BytesIO(data))
        if header is None or header.height * header.width > _MOST_PIXELS:
            return None
        patch = decode_image(data, "L")[:, :, 0] > 0
    except (binascii.Error, ValueError, DataError):
        return None
    x, y = (int(v) for v in np.floor(points.min(axis=0)))
    full = np.zeros(size, dtype=np.uint8, order="F")
    part = patch[max(-y, 0) :, max(-x, 0) :]
    target = full[max(y, 0) :, max(x, 0) :][: part.shape[0], : part.shape[1]]
    target[:] = part[: target.shape[0], : target.shape[1]]
    return dict(mask_util.encode(full))
