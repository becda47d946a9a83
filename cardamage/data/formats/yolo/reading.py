"""YOLO's text files as annotations in memory; rules: :mod:`cardamage.data.formats.yolo`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ....errors import DataError
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage
from ..pictures.sizes import picture_sizes
from ..shared.spooling import spooled
from ..shared.text_files import read_text
from ..tracing.bridges import parted
from .layout import YoloLayout
from .places import label_file

__all__ = ["read_yolo", "read_yolo_split"]

# A row of 100 points has some 2 kB.
_LONGEST_LABELS = 1 << 26
_SPLIT_LABELS = frozenset({"classes.txt", "names.txt", "labels.txt", "train.txt", "val.txt", "test.txt"})


def read_yolo(layout: YoloLayout, report: AnnotationReport) -> AnnotatedDataset:
    """Read all splits of a YOLO dataset.

    Args:
        layout: where it is.
        report: is told of splits that are not there, images that are in several splits, and labels without
            image.

    Returns:
        The images, split by split; they are kept in a temporary file.

    Raises:
        DataError: for files that can't be used, unreadable images, a class number without name, or where no
            split has images.
    """
    split_of: dict[Path, str] = {}
    missing: list[tuple[str, DataError]] = []
    for split in layout.splits:
        try:
            paths = layout.images(split)
        except DataError as error:
            missing.append((split, error))
            continue
        for path in paths:
            first = split_of.setdefault(path, split)
            if first != split:
                detail = f"it is in the splits {first} and {split} and is read once, as {first}"
                report.add("kept", "it is in several splits and is read once", str(path), detail)
    if not split_of:
        if missing:
            raise missing[0][1]
        raise DataError(f"{layout.source} names no images (train, val, test).")
    for split, refused in missing:
        reason = str(refused).removesuffix(".")
        report.add("dropped", "a split has no images", f"{layout.source}, split {split!r}", reason)
    return read_yolo_split(layout, split_of, report)


def read_yolo_split(
    layout: YoloLayout, split_of: dict[Path, str], report: AnnotationReport
) -> AnnotatedDataset:
    """Read some images' labels; see :func:`read_yolo`.

    Args:
        layout: the class names.
        split_of: the images, and the split of each.
        report: is told of labels without image, and where there are no labels at all.
    """
    paths = list(split_of)
    sizes = picture_sizes(paths)
    _tell_orphans(paths, report)
    if not any(label_file(path).is_file() for path in paths):
        first = paths[0]
        wanted = f"there is no {first.stem}.txt beside {first}"
        detail = f"{wanted}, nor in a folder 'labels' in the place of 'images'"
        report.add("kept", "no image has a label file", str(layout.source), detail)
    if layout.counted:
        detail = f"it says nc: {layout.counted} and names {len(layout.names)} classes, which count"
        report.add("kept", "its number of classes is not that of its names", str(layout.source), detail)
    root = _root(layout, paths)
    images = (
        AnnotatedImage(
            Path(os.path.relpath(path, root)).as_posix(),
            str(path),
            *size,
            list(_annotations(label_file(path), size, layout.names)),
            split=split_of[path],
        )
        for path, size in zip(paths, sizes, strict=True)
    )
    return AnnotatedDataset(str(layout.source), "yolo", layout.names, spooled(images), layout.extra)


def _root(layout: YoloLayout, paths: Sequence[Path]) -> Path:
    root = Path(os.path.abspath(layout.folder))
    absolute = [os.path.abspath(path) for path in paths]
    if all(Path(path).is_relative_to(root) for path in absolute):
        return root
    return Path(os.path.commonpath([os.path.dirname(path) for path in absolute]))


def _tell_orphans(images: Sequence[Path], report: AnnotationReport) -> None:
    """List label files that have no image beside the others', whatever split that is in."""
    folders = {label_file(image).parent: image.parent for image in images}
    for labels, folder in folders.items():
        if not labels.is_dir():
            continue
        stems = {os.path.splitext(name)[0] for name in os.listdir(folder) if not name.endswith(".txt")}
        for name in sorted(os.listdir(labels)):
            if not name.lower().endswith(".txt") or name.lower() in _SPLIT_LABELS:
                continue
            if not name.endswith(".txt"):
                detail = f"labels end in .txt, not in {name[-4:]}; rename it"
                report.add("dropped", "a label file is not read", str(labels / name), detail)
            elif name[:-4] not in stems:
                report.add("dropped", "a label file has no image", str(labels / name), "it has no image")


def _annotations(path: Path, size: tuple[int, int], names: Sequence[str]) -> Iterator[RawAnnotation]:
    if not path.is_file():
        return
    scale = np.array([size[1], size[0]], dtype=np.float64)
    for line, text in enumerate(read_text(path, "label file", _LONGEST_LABELS).splitlines(), start=1):
        if text.strip():
            yield _annotation(text, f"{path}, line {line}", scale, names)


def _annotation(text: str, place: str, scale: np.ndarray, names: Sequence[str]) -> RawAnnotation:
    category, values = _row(text, place, names)
    raw = RawAnnotation(place, label=names[category])
    # What is beyond all numbers is told by the checks of annotations.
    with np.errstate(over="ignore", invalid="ignore"):
        if len(values) <= 5:
            middle, half = values[:2] * scale, values[2:4] * scale / 2
            raw.bbox = (*(middle - half).tolist(), *(middle + half).tolist())
            if len(values) == 5:
                raw.extra["score"] = float(values[4])
        else:
            raw.polygons = parted(values.reshape(-1, 2) * scale, int(scale[1]), int(scale[0]))
    return raw


def _row(text: str, place: str, names: Sequence[str]) -> tuple[int, np.ndarray]:
    try:
        number, *rest = map(float, text.split())
        values = np.array(rest)
    except ValueError:
        raise DataError(f"{place}: {text[:40]!r} is not a row of numbers.") from None
    if len(values) < 4 or (len(values) % 2 and len(values) != 5):
        raise DataError(
            f"{place}: a row has a class and 4 numbers (a box) or 3 or more points, "
            f"but this one has {len(values)} numbers."
        )
    if not number.is_integer() or not 0 <= number < len(names):
        known = f"the names are 0 to {len(names) - 1}"
        raise DataError(f"{place}: class {text.split()[0][:20]} has no name; {known}.")
    return int(number), values
