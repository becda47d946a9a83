"""Pictures placed in a folder for each split, for formats whose other files are named by the picture's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedImage
from ..losses import tell_fields
from .placing import PicturePlacer

__all__ = ["SplitPictures"]

_SPLITS = {"valid": "val", "validation": "val"}
# Folders that the targets have themselves; YOLO looks for labels beside the last one called images.
_OWN_FOLDERS = frozenset({"images", "..", "/"})


class SplitPictures:
    """Puts pictures into ``images``, or a split's folder in it.

    Args:
        folder: the target, which holds ``images``.
        how: as :class:`~.placing.PicturePlacer` has it; those that are to be kept where they are get linked,
            as they are found by their place.
        format: what the target is called.
        suffixes: of the pictures that its readers look for.
        rest: the split of pictures that have none; they lie in ``images`` itself where it is empty.
    """

    def __init__(self, folder: Path, how: str, format: str, suffixes: frozenset[str], rest: str = "") -> None:
        self._placer = PicturePlacer(folder / "images", "link" if how == "keep" else how, stems=True)
        self._format = format
        self._suffixes = suffixes
        self._rest = rest

    def place(self, image: AnnotatedImage, losses: AnnotationReport) -> tuple[str, PurePosixPath]:
        """Put a picture where it belongs.

        Args:
            image: whose picture it is.
            losses: is told of another name, a name by which readers won't know it as a picture, and of the
                image's further fields.

        Returns:
            Its split, and its path below ``images``.

        Raises:
            DataError: for a picture that can't be copied.
            TrainingError: where the target can't be written.
        """
        split = _split_folder(image.split) or self._rest
        name = _name_within(image.name, split)
        placed = PurePosixPath(self._placer.place(replace(image, name=name), split).name)
        if placed != PurePosixPath(split, name):
            losses.add("changed", "its picture has another name", image.name, f"it is now {placed}")
        suffix = placed.suffix.lower()
        if suffix not in self._suffixes:
            called = f"end in {suffix}" if suffix else "have no such end as .jpg"
            reason = f"readers don't see pictures whose names {called}; save it as JPEG or PNG"
            losses.add("lost", reason, image.name)
        tell_fields(image.extra, self._format, image.name, losses)
        return split, placed


def _split_folder(split: str) -> str:
    """What the folder of a split is called; empty for what has none."""
    name = re.sub(r'[/\\\x00-\x1f:*?"<>|]', "_", _SPLITS.get(split, split))
    return name if name.strip(".") else ""


def _name_within(name: str, split: str) -> str:
    """A picture's name without the folders that the target has itself: ``images`` and the split's."""
    *above, last = PurePosixPath(name).parts or ("picture",)
    kept = [part for part in above if part not in _OWN_FOLDERS]
    if kept and split and _split_folder(kept[0]) == split:
        kept = kept[1:]
    return "/".join([*kept, last])
