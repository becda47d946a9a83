"""A folder of Labelme files turned into COCO files, divided into parts where asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...utils.files import atomic_write, ensure_writable_dir
from ..annotation_report import AnnotationReport
from ..image_checks import check_images
from ..image_io import read_bytes, record_source
from ..image_signs import kind_of
from .labelme import load_labelme
from .split import split_images
from .write_coco import write_coco

__all__ = ["Conversion", "convert_labelme", "part_names"]

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif"}


@dataclass
class Conversion:
    """What a conversion wrote.

    Attributes:
        files: the COCO file of each part.
        image_root: the folder that the files' image names are relative to.
        classes: names; the category ids in the files are their places from 1.
        images: images in each part.
        objects: objects of each contiguous class in each part.
        report: what was found about the annotations.
    """

    files: dict[str, Path]
    image_root: Path
    classes: list[str]
    images: dict[str, int]
    objects: dict[str, Counter[int]]
    report: AnnotationReport


def convert_labelme(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    split: Sequence[float] = (),
    seed: int = 0,
    classes: Sequence[str] | None = None,
    line_width: float = 5.0,
) -> Conversion:
    """Convert a folder of Labelme files into ``output/annotations/*.json``.

    Images are named relative to `source`. Where a picture is only embedded in its JSON, all pictures are
    put into ``output/images`` byte for byte, and named relative to `output`.

    Args:
        source: folder of the Labelme files; never written to.
        output: folder of the result.
        split: shares of train and val, or train, val and test; nothing for one file ``all.json``.
        seed: of the division.
        classes: their order; by default all labels, sorted by name.
        line_width: of lines and line strips, in pixels.

    Returns:
        What was written.

    Raises:
        DataError: for shares or files that can't be used.
        TrainingError: where the output folder can't be written to.
    """
    names = part_names(split)
    report = AnnotationReport(os.fspath(source))
    dicts, labels = load_labelme(source, classes, line_width, report)
    check_images(dicts)
    folder = ensure_writable_dir(output, "--output")
    root = Path(source)
    if any("image_bytes_from" in record for record in dicts):
        root = folder
        dicts = _with_copies(dicts, Path(source), folder / "images")
    held = [{a["category_id"] for a in record["annotations"]} for record in dicts]
    parts = split_images(held, split, seed) if split else [list(range(len(dicts)))]
    done = Conversion({}, root, labels, {}, {}, report)
    for name, indices in zip(names, parts, strict=True):
        chosen = [dicts[i] for i in indices]
        done.files[name] = folder / "annotations" / f"{name}.json"
        write_coco(done.files[name], chosen, labels, root)
        done.images[name] = len(chosen)
        done.objects[name] = Counter(a["category_id"] for record in chosen for a in record["annotations"])
    return done


def part_names(split: Sequence[float]) -> list[str]:
    """Return the names of the parts of a division.

    Raises:
        DataError: for one share, more than three, or one that is not above 0.
    """
    if not split:
        return ["all"]
    if len(split) not in (2, 3) or not all(share > 0 for share in split):
        said = " ".join(f"{share:g}" for share in split)
        raise DataError(f"A split needs two or three shares above 0, such as 0.8 0.2, but {said} was given.")
    return ["train", "val", "test"][: len(split)]


def _with_copies(dicts: Sequence[dict[str, Any]], source: Path, images: Path) -> list[dict[str, Any]]:
    """Put every picture below `images`, under its path below the source, with the suffix of its format."""
    copied = []
    taken: set[Path] = set()
    for record in dicts:
        data = read_bytes(record_source(record))
        path = Path(os.path.relpath(record["file_name"], source))
        inside = Path(*(part for part in path.parts if part != ".."))
        target = (images / inside).with_suffix(_SUFFIXES.get(kind_of(data[:16]) or "", path.suffix))
        while target in taken:
            target = target.with_name(f"{target.stem}_{target.suffix}")
        taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target, "wb") as file:
            file.write(data)
        copied.append({**record, "file_name": str(target)})
    return copied
