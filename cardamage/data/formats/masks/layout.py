"""Which masks belong to which images in a folder of mask PNGs, and what their classes are called."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ...images.signs import PICTURE_SUFFIXES
from ..shared.listing import files_in
from ..shared.natural_order import natural_key

__all__ = ["MaskLayout", "MaskedImage", "class_tokens", "find_masks", "has_masks"]

_IMAGES = ("images", "image", "imgs", "img", "JPEGImages", "photos")
_MASKS = ("masks", "mask", "SegmentationClass", "segmentations", "annotations", "labels")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# Ends that masks beside their images have.
_ENDS = ("_mask", "-mask")
_INSTANCE = re.compile(r"([0-9]+)[_-](.+)", re.DOTALL)
_FLAT = re.compile(r"(.+)_[0-9]+", re.DOTALL)
_UNSAFE = re.compile('[\x00-\x1f\x7f%/\\\\:*?"<>|\ud800-\udfff]')
_LONGEST_TOKEN = 150
# Masks looked at to recognize a folder.
_PROBES = 50

_Found = dict[str, list["MaskedImage"]]


@dataclass
class MaskedImage:
    """A picture and its masks.

    Attributes:
        path: of the picture.
        name: its path below the dataset's folder.
        split: part of the dataset.
        index: masks whose pixels are numbers of classes.
        instances: masks of one object each, and how the file calls its class.
    """

    path: Path
    name: str
    split: str
    index: list[Path] = field(default_factory=list)
    instances: list[tuple[Path, str]] = field(default_factory=list)


@dataclass
class MaskLayout:
    """Pictures with their masks.

    Attributes:
        root: the dataset's folder.
        images: in natural order.
        places: folders where names of classes may be.
        kind: ``"index"`` or ``"instance"``.
    """

    root: Path
    images: list[MaskedImage]
    places: list[Path]
    kind: str


def has_masks(root: Path) -> bool:
    """Tell whether a folder is laid out as images and masks, without going through all of it.

    PNGs with a JSON of their name beside them are photos that were labelled, whatever their folder is called.
    """
    some = (islice(_pngs(masks), _PROBES) for _, masks in _folders(root, None))
    return any(not mask.with_suffix(".json").is_file() for masks in some for mask in masks)


def find_masks(root: Path, image_root: Path | None, report: AnnotationReport) -> MaskLayout:
    """Find the images of a folder and the masks of each.

    Args:
        root: holds ``images`` and ``masks`` (or what other tools call them), or ``train``, ``val`` and
            ``test`` with these in them, or pictures with ``..._mask.png`` beside them.
        image_root: the pictures' folder, where it is another one.
        report: is told of masks that belong to no image.

    Raises:
        DataError: where there are no such folders, or masks of both kinds.
    """
    if not root.is_dir():
        raise DataError(
            f"The folder of masks {root} is not a folder; name the one with 'images' and 'masks'."
        )
    folders = list(_folders(root, image_root))
    images: list[MaskedImage] = []
    for pictures, masks in folders:
        found = _pictures(root, pictures, masks)
        for mask in _pngs(masks):
            if not _assign(mask, PurePosixPath(mask.relative_to(masks).as_posix()), found):
                if pictures != masks or mask.stem.endswith(_ENDS):
                    report.add("dropped", "a mask has no image", str(mask), "there is no image of its name")
        images += (image for same in found.values() for image in same)
    kinds = {kind for image in images for kind in _kinds(image)}
    if not kinds:
        raise DataError(
            f"The folder {root} holds no masks: PNG files in 'masks' that are named as the pictures in "
            "'images', or that lie in a folder named as the picture."
        )
    if len(kinds) > 1:
        one = next(image for image in images if image.index)
        raise DataError(
            f"The folder {root} mixes masks of whole images (as {one.index[0].name}) and of single objects; "
            "keep the two kinds apart."
        )
    for image in images:
        image.instances.sort(key=lambda pair: natural_key(str(pair[0])))
    places = list(dict.fromkeys([root, *(place for pair in folders for place in (pair[1], pair[0]))]))
    return MaskLayout(root, images, places, kinds.pop())


def class_tokens(classes: Sequence[str]) -> list[str]:
    """Return how names of mask files call classes: what no file may be called is written as ``%XX``."""
    written = [_UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name) for name in classes]
    return [
        f"%{i}" if not text or len(text.encode()) > _LONGEST_TOKEN else text for i, text in enumerate(written)
    ]


def _kinds(image: MaskedImage) -> Iterator[str]:
    if image.index:
        yield "index"
    if image.instances:
        yield "instance"


def _folders(root: Path, image_root: Path | None) -> Iterator[tuple[Path, Path]]:
    """Folders of pictures, and of their masks; the same where masks are beside."""
    for base in (root, *(root / split for split in SPLITS)):
        pictures = image_root if image_root is not None and base == root else _first(base, _IMAGES)
        masks = _first(base, _MASKS)
        if pictures is not None and masks is not None:
            yield pictures, masks
        elif base.is_dir() and any(name[:-4].endswith(_ENDS) for name in files_in(base, (".png",))):
            yield base, base


def _first(base: Path, names: Sequence[str]) -> Path | None:
    return next((base / name for name in names if (base / name).is_dir()), None)


def _pngs(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(".png") and not name.startswith("."):
                yield Path(place, name)


def _pictures(root: Path, folder: Path, masks: Path) -> _Found:
    """The pictures of a folder by their path in it without suffix."""
    paths = []
    for place, folders, files in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".") and Path(place, n) != masks]
        paths += [Path(place, n) for n in files if os.path.splitext(n)[1].lower() in PICTURE_SUFFIXES]
    if folder == masks:
        paths = [path for path in paths if not path.stem.endswith(_ENDS)]
    found: _Found = {}
    outside = not folder.is_relative_to(root)
    for path in sorted((p for p in paths if p.is_file()), key=lambda p: natural_key(p.as_posix())):
        name = path.relative_to(folder if outside else root).as_posix()
        split = next((SPLITS[part] for part in name.split("/")[:-1] if part in SPLITS), "")
        key = path.relative_to(folder).with_suffix("").as_posix()
        found.setdefault(key, []).append(MaskedImage(path, name, split))
    return found


def _assign(mask: Path, name: PurePosixPath, found: _Found) -> bool:
    """Give a mask to its image; False where there is none."""
    above, stem = name.parent, name.stem
    for end in ("", *_ENDS):
        if stem.endswith(end):
            same = found.get((above / stem.removesuffix(end)).as_posix(), [])
            for image in same:
                image.index.append(mask)
            if same:
                return True
    inside = _INSTANCE.fullmatch(stem)
    if inside and above.as_posix() in found:
        for image in found[above.as_posix()]:
            image.instances.append((mask, inside[2]))
        return True
    numbered = _FLAT.fullmatch(stem)
    text = numbered[1] if numbered else ""
    # The longest name of a picture counts: those of classes may have underscores as well.
    for end_of_name in [i for i, char in enumerate(text) if char == "_"][::-1]:
        same = found.get((above / text[:end_of_name]).as_posix(), [])
        if end_of_name and same and text[end_of_name + 1 :]:
            for image in same:
                image.instances.append((mask, text[end_of_name + 1 :]))
            return True
    return False
