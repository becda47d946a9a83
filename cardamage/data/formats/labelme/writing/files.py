"""Annotations in memory written as Labelme files, one for each picture, that Labelme 4 to 7 open.

Version 7 is strict: flags are yes or no, groups whole numbers, points finite, rectangles of two corners, and
the size must be the picture's. Masks need version 5.4, oriented rectangles 6.2.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from .....errors import DataError, TrainingError
from .....utils.files import describe_write_error
from ....annotations.report import AnnotationReport
from ....images.reading import raw_image_size, read_bytes
from ...dataset import AnnotatedDataset, AnnotatedImage
from ...losses import tell_fields
from ...pictures.placing import FreeNames, PicturePlacer, real_name
from ...registry import WriteOptions, Written
from .fields import as_flags, top_fields
from .shapes import shapes_of

__all__ = ["labelme_content", "labelme_text", "write_labelme"]

_VERSION = "5.5.0"
LABELS = "labels.txt"


def write_labelme(
    dataset: AnnotatedDataset, folder: Path, options: WriteOptions, losses: AnnotationReport
) -> Written:
    """Write a Labelme file for each picture, beside the picture where that is copied or linked.

    Images with a split go to a folder of its name. The classes' names in their order are in ``labels.txt``,
    for ``labelme --labels``.

    Args:
        dataset: what to write.
        folder: the target.
        options: `pictures` and `embed` count. Pictures that are kept are named from where the file is.
        losses: is told what Labelme has no place for.

    Raises:
        DataError: for a damaged mask, a picture that can't be copied, or a file that is there already.
        TrainingError: where the folder can't be written.
    """
    tell_fields(dataset.extra, "Labelme", dataset.source, losses)
    writer = _Writer(folder, options, losses)
    parts: dict[str, Path] = {}
    try:
        for image in dataset.images:
            parts.setdefault(image.split, folder / writer.part(image.split))
            writer.write(image)
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{name}\n" for name in dataset.classes)
        (folder / LABELS).write_text(lines, encoding="utf-8", errors="replace")
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, "the output folder")) from error
    parts = parts or {"": folder}
    named = {split or "all": f"labelme:{part}" for split, part in parts.items()}
    return Written(list(dict.fromkeys(parts.values())), named)


def labelme_content(
    image: AnnotatedImage,
    picture: str,
    size: tuple[int | None, int | None],
    data: bytes | None,
    losses: AnnotationReport,
) -> dict[str, Any]:
    """Return what a Labelme file holds.

    Args:
        image: the objects, and further fields of the file.
        picture: its path from the file's folder, with forward slashes.
        size: height and width, upright.
        data: the picture's bytes, to embed; None leaves it beside.
        losses: is told what Labelme has no place for.
    """
    return {
        "version": _VERSION,
        "flags": as_flags(image.extra.get("flags"), image.name, losses),
        "shapes": shapes_of(image, losses),
        "imagePath": picture,
        "imageData": None if data is None else base64.b64encode(data).decode("ascii"),
        "imageHeight": size[0],
        "imageWidth": size[1],
        **top_fields(image, losses),
    }


def labelme_text(content: Mapping[str, Any]) -> str:
    """Return JSON with a line for each field and shape; ASCII, as some read with the system's encoding."""
    lines = []
    for key, value in content.items():
        if key == "shapes" and value:
            text = "[\n    " + ",\n    ".join(json.dumps(shape) for shape in value) + "\n  ]"
        else:
            text = json.dumps(value)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


class _Writer:
    def __init__(self, folder: Path, options: WriteOptions, losses: AnnotationReport) -> None:
        self._folder = folder
        self._options = options
        self._losses = losses
        self._placer = PicturePlacer(folder, options.pictures, stems=True)
        self._names = FreeNames(stems=True)

    @staticmethod
    def part(split: str) -> str:
        """Return the folder of a split."""
        return "/".join(real_name(split, b"").parts) if split else ""

    def write(self, image: AnnotatedImage) -> None:
        """Write the file of an image, and its picture where asked for."""
        part = self.part(image.split)
        below = "" if not part or image.name.startswith(f"{part}/") else part
        size = self._size(image)
        data = self._embedded(image)
        if data is None:
            image = self._placer.place(image, below)
        else:
            name = self._names.take(PurePosixPath(below) / real_name(image.name, data[:64]))
            image = replace(image, name=name, source=str(self._folder / name))
        path = (self._folder / image.name).with_suffix(".json")
        if path.exists():
            raise DataError(f"{path} is there already, and may be someone's work; name a new folder.")
        content = labelme_content(image, _relative(image.source, path.parent), size, data, self._losses)
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, labelme_text(content))

    def _size(self, image: AnnotatedImage) -> tuple[int | None, int | None]:
        """The size to write: Labelme doesn't open a file that gives its picture another one."""
        try:
            height, width, turn = raw_image_size(image.source)
        except DataError:
            return image.height, image.width
        if turn >= 5:
            height, width = width, height
        if (height, width) == (image.height, image.width):
            return height, width
        said = f"its picture is {width}x{height} and not {image.width}x{image.height} as the annotations say"
        reason = "its size is left out, as its picture has another"
        self._losses.add("changed", reason, image.name, f"its size is left out, as {said}")
        return None, None

    def _embedded(self, image: AnnotatedImage) -> bytes | None:
        """The picture to write into the file; None where it goes beside it."""
        if not self._options.embed:
            return None
        if raw_image_size(image.source)[2] != 1:
            reason = "its picture is beside the file: Labelme doesn't turn embedded ones as EXIF says"
            self._losses.add("changed", reason, image.name)
            return None
        return read_bytes(image.source)


def _relative(picture: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(picture, folder)).as_posix()
    except ValueError:
        # On another drive.
        return Path(picture).as_posix()


def _put(path: Path, text: str) -> None:
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_text(text, encoding="ascii")
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
