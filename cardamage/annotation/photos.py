"""The pictures of a folder, each with the Labelme file that belongs to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from cardamage.data.images.reading import read_image
from cardamage.data.images.signs import PICTURE_SUFFIXES
from cardamage.engine.prediction_inputs import find_inputs
from cardamage.errors import DataError
from cardamage.utils.counting import counted

__all__ = ["find_photos", "labelme_file_of", "left_out", "read_photos"]


def find_photos(folder: str | os.PathLike[str]) -> list[Path]:
    """Find the pictures in a folder and the folders below it, in the order of their names.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"The folder of photos {root} does not exist; give the folder that they are in.")
    try:
        photos = [file for file in find_inputs(str(root)) if file.suffix.lower() in PICTURE_SUFFIXES]
    except DataError:
        photos = []
    if not photos:
        endings = ", ".join(sorted(PICTURE_SUFFIXES))
        raise DataError(f"The folder {root} holds no photo (a file ending in {endings}).")
    return photos


def labelme_file_of(photo: Path) -> Path:
    """Return where Labelme keeps a photo's annotation: beside it."""
    return photo.with_suffix(".json")


def read_photos(photos: Iterable[Path], failed: dict[str, str]) -> Iterator[tuple[Path, np.ndarray]]:
    """Read pictures one after the other, upright.

    Args:
        photos: the files.
        failed: gets the sentence for each that can't be read.

    Yields:
        The file and its pixels, uint8 (H, W, 3) BGR.
    """
    for photo in photos:
        try:
            image = read_image(photo, "BGR")
        except DataError as error:
            failed[str(photo)] = str(error)
        else:
            yield photo, image


def left_out(failed: Mapping[str, str]) -> list[str]:
    """Return the lines that tell of photos that were left out: how many, and the sentence for each."""
    if not failed:
        return []
    were = "was" if len(failed) == 1 else "were"
    return [f"{counted(len(failed), 'photo')} {were} left out:", *(f"  {why}" for why in failed.values())]
