"""Names of pictures without the folders that only their format has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from ..dataset import AnnotatedDataset
from .reshaping import ChangedImages
from .survey import Survey

__all__ = ["without_layout"]

_SPLITS = {"valid": "val", "validation": "val"}


def without_layout(dataset: AnnotatedDataset, found: Survey) -> AnnotatedDataset:
    """Leave out what folders of a format are laid out by: ``images``, and the folder of the split.

    Targets have folders of their own, and ``train/images/train/a.jpg`` is no name for a picture. As much is
    left out as keeps all names apart, also without their suffixes.

    Args:
        dataset: is not changed.
        found: gets the names.
    """
    pairs = list(zip(found.names, found.splits, strict=True))
    for names in ([_short(name, split) for name, split in pairs], [_short(name, "") for name, _ in pairs]):
        if len({PurePosixPath(name).with_suffix("").as_posix().casefold() for name in names}) == len(names):
            found.names = names
            images = ChangedImages(dataset.images, lambda i, image: replace(image, name=found.names[i]))
            return replace(dataset, images=images)
    return dataset


def _short(name: str, split: str) -> str:
    *above, last = name.split("/")
    if "images" in above:
        del above[len(above) - 1 - above[::-1].index("images")]
    if split and above and _SPLITS.get(above[0], above[0]) == _SPLITS.get(split, split):
        del above[0]
    return "/".join([*above, last])
