"""Where the images and labels of a YOLO dataset may be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ....errors import DataError
from ...images.signs import PICTURE_SUFFIXES
from ..shared.listing import files_in, folders_in
from ..shared.natural_order import natural_key
from ..shared.text_files import read_text
from .names import NAME_FILES

__all__ = [
    "LONGEST_PLACE",
    "SPLITS",
    "images_below",
    "label_file",
    "labelled_folders",
    "listed_images",
    "possible_places",
]

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What parts are called, and what that means."""

LONGEST_PLACE = 4096
"""Characters that a path may have."""

_LONGEST_LIST = 1 << 28


def label_file(image: Path) -> Path:
    """Return where an image's labels are, whether there are some or not."""
    parts = list(image.parent.parts)
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            if os.path.isdir(Path(*parts[: i + 1])):
                return Path(*parts) / f"{image.stem}.txt"
            break
    return image.with_suffix(".txt")


def possible_places(
    value: str, folder: Path, base: str = "", image_root: Path | None = None
) -> Iterator[Path]:
    """Tell where a description may mean: as it says, then ever shorter ends of it below its folder.

    Args:
        value: a path as the description gives it, of any system.
        folder: the description's.
        base: its own word for the folder.
        image_root: a folder to look in first.
    """
    above, posix = (PurePosixPath(PureWindowsPath(t).as_posix() if "\\" in t else t) for t in (base, value))
    parts = (above / posix).parts
    ends = [part for part in parts if part not in ("..", ".", "/") and not part.endswith(":")]
    roots = [folder] if image_root is None else [image_root, folder]
    if base:
        yield folder / base / posix
    for root in roots:
        yield root / posix
    for i in range(len(ends)):
        for root in roots:
            yield root.joinpath(*ends[i:])


def images_below(folder: Path) -> list[Path]:
    """List the pictures in a folder and those below it, in natural order."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES
        ]
    regular = [path for path in found if path.is_file()]
    return sorted(regular, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def listed_images(file: Path, folder: Path, base: str = "", image_root: Path | None = None) -> list[Path]:
    """Return the images that a text file lists, one a line, from its own folder or the description's.

    Args:
        file: the list.
        folder: the description's.
        base: see :func:`possible_places`.
        image_root: see :func:`possible_places`.

    Raises:
        DataError: for a list that can't be read, a line that is no image, or an image that isn't there.
    """
    found = []
    lines = read_text(file, "list of images", _LONGEST_LIST).splitlines()
    for number, line in enumerate(lines, start=1):
        value = line.strip()
        if not value:
            continue
        if len(value) > LONGEST_PLACE or os.path.splitext(value)[1].lower() not in PICTURE_SUFFIXES:
            raise DataError(f"{file}, line {number}: {value[:60]!r} is not the path of an image.")
        beside = possible_places(value, file.parent, image_root=image_root)
        options = [*beside, *possible_places(value, folder, base, image_root)]
        path = next((p for p in options if os.path.isfile(p)), None)
        if path is None:
            raise DataError(f"{file}, line {number}: the image {value[:200]} is not there.")
        found.append(Path(os.path.normpath(path)))
    return found


def labelled_folders(folder: Path) -> dict[str, list[str]]:
    """Find the folders of images in one that nothing describes, by split or all; none without labels."""
    splits = {name: [f"{key}/images"] for key, name in SPLITS.items() if (folder / key / "images").is_dir()}
    if not splits and (folder / "images").is_dir():
        below = {
            name: [f"images/{key}"] for key, name in SPLITS.items() if (folder / "images" / key).is_dir()
        }
        splits = below or {"": ["images"]}
    splits = splits or {"": ["."]}
    places = [(folder / v[0], label_file(folder / v[0] / "x").parent) for v in splits.values()]
    return splits if any(_has_labels(*place) for place in places) else {}


def _has_labels(images: Path, labels: Path) -> bool:
    if not labels.is_dir() or not images.is_dir():
        return False
    names = files_in(labels, (".txt",))
    stems = {name[:-4] for name in names if name.endswith(".txt") and name not in NAME_FILES}
    if images != labels:
        return bool(stems) or bool(folders_in(labels))
    if not stems:
        return False
    return any(os.path.splitext(name)[0] in stems for name in files_in(images, PICTURE_SUFFIXES))
