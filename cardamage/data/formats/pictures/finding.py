"""Where the images that an annotation file names are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

from ....errors import DataError

__all__ = ["ImageFolder"]

_KEYS = ("file_name", "path", "filename")
# So many images are looked for to decide between folders; one missing file must not decide.
_PROBES = 5


@dataclass(frozen=True)
class ImageFolder:
    """The folder of a dataset's images.

    Attributes:
        root: the folder; no image lies outside of it.
        key: which key of an image record is its path in that folder.
        source: the annotation file, for messages.
        real_paths: where folders are without links, as far as it is known; many images share few folders.
    """

    root: Path
    key: str
    source: Path
    real_paths: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def around(
        cls,
        source: Path,
        root: str | os.PathLike[str] | None,
        images: Sequence[Mapping[str, Any]],
    ) -> ImageFolder:
        """Find the folder and the key by looking for the first few images.

        Args:
            source: the annotation file.
            root: the folder, where it is given; otherwise the usual places around the file are tried.
            images: image records.

        Returns:
            The first folder and key that fit most; where none does, the given folder or the file's own.
        """
        if root is not None and not Path(root).is_dir():
            raise DataError(f"The image folder {os.fspath(root)} of {source} does not exist.")
        places = [Path(root)] if root is not None else _usual_places(source)
        probes = list(images[:_PROBES])
        best, most = cls(places[0], _KEYS[0], source), 0
        for place in places:
            for key in _KEYS:
                folder = cls(place, key, source)
                found = sum(key in image and os.path.isfile(folder._join(image)) for image in probes)
                if found > most:
                    best, most = folder, found
        return best

    def path_of(self, image: Mapping[str, Any]) -> str:
        """Return the path of an image, whether it exists or not.

        Raises:
            DataError: where the record names no file, or one outside the folder.
        """
        if not any(image.get(key) for key in _KEYS):
            raise DataError(f"Image {image.get('id')!r} in {self.source} has no file_name.")
        path = self._join(image)
        if not _within(os.path.abspath(path), self._absolute):
            raise DataError(
                f"The image {image.get(self.key)} in {self.source} lies outside of its folder {self.root}; "
                "name a folder that holds all images."
            )
        if self._leads_out(path):
            raise DataError(
                f"The image {image.get(self.key)} in {self.source} is a link that leads out of its folder "
                f"{self.root}; put the picture itself there, or name a folder that holds both."
            )
        return path

    def _leads_out(self, path: str) -> bool:
        """Whether a picture lies elsewhere, by a link, than below its folder or the annotation file's."""
        real = self._real(os.path.dirname(path))
        try:
            if os.path.islink(path):
                real = os.path.dirname(os.path.realpath(path))
        except ValueError:  # a name that can't be a file's
            return False
        return not any(_within(real, home) for home in self._homes)

    @cached_property
    def _absolute(self) -> str:
        return os.path.abspath(self.root)

    @cached_property
    def _homes(self) -> tuple[str, str]:
        return self._real(str(self.root)), self._real(str(self.source.parent))

    def _real(self, folder: str) -> str:
        if folder not in self.real_paths:
            try:
                self.real_paths[folder] = os.path.realpath(folder)
            except ValueError:
                self.real_paths[folder] = os.path.abspath(folder)
        return self.real_paths[folder]

    def _join(self, image: Mapping[str, Any]) -> str:
        text = str(image.get(self.key) or next((image[key] for key in _KEYS if image.get(key)), ""))
        # COCO Annotator's leading slash means its own root. An absolute path within the folder stays.
        named = PureWindowsPath(text).as_posix() if "\\" in text else text
        if named.startswith("/") and not _within(named, self._absolute):
            named = named.lstrip("/")
        path = os.path.join(self.root, named)
        plain = not path.endswith("/") and not any(part in path for part in ("./", "/.", "//"))
        return path if plain else str(Path(path))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _usual_places(source: Path) -> list[Path]:
    folder = source.parent
    above = folder.parent
    split = source.stem.removeprefix("instances_")
    return [
        folder,
        folder / "images",
        folder / split,
        above / split,
        above / "images" / split,
        above / "images",
        above,
    ]
