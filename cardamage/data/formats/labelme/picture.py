"""Which picture a Labelme JSON is about."""

from __future__ import annotations

import binascii
import os
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ....errors import DataError
from ...images.decoding import EncodedImage
from ...images.hashes import encoded_hash, same_photo
from ...images.reading import image_size, read_bytes
from ..shared.values import as_number
from .content import LabelmeJson
from .folder import Listings

__all__ = ["PictureFinder", "picture_size"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_ENDS = tuple(spelled for suffix in _SUFFIXES for spelled in (suffix, suffix.upper()))


class PictureFinder:
    """Finds the pictures of a dataset's Labelme files.

    Args:
        root: the dataset's folder. A picture may lie in it or beside it (``../images``), not farther away.
        image_root: another folder that holds pictures, with those below it; it is looked at first.
        listings: what is known of folders already.
    """

    def __init__(self, root: str, image_root: str | None = None, listings: Listings | None = None) -> None:
        self._allowed = os.path.dirname(os.path.abspath(root))
        self._image_root = image_root
        self._listings = listings or Listings()
        self._places: dict[tuple[str, str], list[tuple[str, frozenset[str]]]] = {}
        self._stems: dict[str, list[tuple[str, frozenset[str]]]] = {}

    def find(self, json_path: str, file: LabelmeJson, beside: str | None) -> tuple[str, bool]:
        """Choose between the picture beside a Labelme file and the one embedded in it.

        Args:
            json_path: the file.
            file: what it holds.
            beside: as :meth:`beside` gives it.

        Returns:
            The picture's path, and whether it must be read from the JSON; the path is the JSON's own then.
            A picture that is nowhere is returned as the path where it should be.
        """
        if not file.embedded:
            return beside or self._expected(json_path, file.content.get("imagePath")), False
        if beside is not None and _same_photo(beside, json_path, file):
            return beside, False
        return json_path, True

    def beside(self, json_path: str, image_path: Any) -> str | None:
        """Return the picture file that `image_path` names, or one with the JSON's name, or None."""
        folder, _, json_name = json_path.rpartition(os.sep)
        stem = json_name[:-5]
        below, name = _named(image_path or stem)
        places = self._places.get((folder, below))
        if places is None:
            places = self._places[folder, below] = self._named_places(folder, below)
        for place, names in places:
            if name in names:
                return place + name
        return self._of_same_stem(folder, stem)

    def _of_same_stem(self, folder: str, stem: str) -> str | None:
        places = self._stems.get(folder)
        if places is None:
            own = [] if self._image_root is None else [(self._image_root, self._image_root)]
            places = self._stems[folder] = self._listed([*own, (folder, self._allowed)])
        for place, names in places:
            for end in _ENDS:
                if stem + end in names:
                    return place + stem + end
        return None

    def _named_places(self, folder: str, below: str) -> list[tuple[str, frozenset[str]]]:
        spelled = os.path.join(folder, below) if below else folder
        places = [(spelled, self._allowed), (folder, self._allowed)]
        root = self._image_root
        if root is not None:
            inner = os.path.join(root, below) if below else root
            places = [(inner, root), (root, root), (spelled, root), *places]
        return self._listed(places)

    def _listed(self, places: list[tuple[str, str]]) -> list[tuple[str, frozenset[str]]]:
        """Places that end with a separator, and their files; only those within the folder beside them."""
        within = dict.fromkeys(place for place, allowed in places if _is_within(place, allowed))
        return [(os.path.join(place, "") if place else "", self._listings.names(place)) for place in within]

    def _expected(self, json_path: str, image_path: Any) -> str:
        folder, json_name = os.path.split(json_path)
        return os.path.join(folder, _named(image_path or json_name[:-5])[1] or json_name[:-5])


def picture_size(json_path: str, content: dict[str, Any], picture: str) -> tuple[int, int]:
    """Return height and width as the JSON says, or as the picture has where it doesn't say.

    Raises:
        DataError: where neither tells.
    """
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if type(height) is not int or type(width) is not int:
        height, width = as_number(height), as_number(width)
    if height is not None and width is not None and height >= 1 and width >= 1:
        return int(height), int(width)
    if not os.path.isfile(picture):
        raise DataError(
            f"{json_path} doesn't say the size of its picture, and the image {picture} does not exist."
        )
    return image_size(picture)


def _named(image_path: Any) -> tuple[str, str]:
    """Folder and name of ``imagePath`` with either kind of separator; a drive or a root is taken off."""
    text = image_path if isinstance(image_path, str) else str(image_path)
    if "/" not in text and "\\" not in text and ":" not in text and text not in ("", ".", ".."):
        return "", text
    windows = PureWindowsPath(text)
    path = PurePosixPath(*windows.parts[1:]) if windows.anchor else PurePosixPath(windows.as_posix())
    return ("" if str(path.parent) == "." else str(path.parent)), path.name


def _is_within(path: str, folder: str) -> bool:
    place, around = os.path.abspath(path), os.path.abspath(folder)
    return place == around or place.startswith(os.path.join(around, ""))


def _same_photo(picture: str, json_path: str, file: LabelmeJson) -> bool:
    try:
        stored = read_bytes(picture)
        # Most are the same file. Encoding takes a third of the time of decoding.
        text = file.picture or b""
        if len(text) == -(-len(stored) // 3) * 4 and binascii.b2a_base64(stored, newline=False) == text:
            return True
        embedded = file.decoded(json_path)
        return stored == embedded or _alike(EncodedImage(stored, "L"), EncodedImage(embedded, "L"))
    except DataError:
        # A damaged file beside: what is embedded counts. Damaged itself, it is told when it is read.
        return False


def _alike(one: EncodedImage, other: EncodedImage) -> bool:
    if one.size is not None and other.size is not None and one.size != other.size:
        return False
    return same_photo(encoded_hash(one), encoded_hash(other)) is True
