"""Pictures put beside the annotations that are written: byte for byte, never decoded."""

from __future__ import annotations

import os
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ....errors import DataError, TrainingError
from ....utils.files import describe_write_error, local_path
from ....utils.suggest import did_you_mean
from ...images.reading import read_bytes, read_head
from ...images.signs import PICTURE_SUFFIXES, SUFFIXES, kind_of
from ..dataset import AnnotatedImage

__all__ = ["WAYS", "FreeNames", "PicturePlacer", "place_pictures", "real_name"]

WAYS = ("copy", "link", "keep")

# Suffixes that are taken off where they are wrong; any other end is part of the name.
_KNOWN = PICTURE_SUFFIXES | {".json"}


def place_pictures(
    images: Iterable[AnnotatedImage],
    folder: str | os.PathLike[str],
    how: str,
    below: Callable[[AnnotatedImage], str] | None = None,
    stems: bool = False,
) -> Iterator[AnnotatedImage]:
    """Put pictures into a folder one after the other, and give the images as they are there.

    Args:
        images: what to place; they may stream.
        folder: the target; made with the first picture.
        how: see :class:`PicturePlacer`.
        below: tells the folder within `folder` for an image, such as its split.
        stems: see :class:`PicturePlacer`.

    Yields:
        The images in their order, as :meth:`PicturePlacer.place` returns them.

    Raises:
        DataError: as :class:`PicturePlacer`.
        TrainingError: where the target can't be written.
    """
    placer = PicturePlacer(folder, how, stems)
    for image in images:
        yield placer.place(image, "" if below is None else below(image))


class PicturePlacer:
    """Puts pictures into a folder under names of their own.

    A picture keeps its name, but for three things: a suffix of another kind of picture than its bytes are is
    replaced by the right one, parts of the name that would lead out of the folder are left out, and where the
    name is taken (upper and lower case alike) it gets ``_2``, ``_3``, ... at its end.

    Args:
        folder: the target.
        how: ``"copy"`` copies byte for byte; ``"link"`` makes hard links, and copies where there can be none
            (symbolic links lead out of the dataset, which readers refuse); ``"keep"`` leaves them where they
            are. A picture that is embedded in a Labelme JSON is written as the file that it was, whatever is
            asked for.
        stems: whether no two names may be the same without their suffixes, for formats that name their
            annotation files by the picture.

    Raises:
        DataError: for another way than those of :data:`WAYS`.
    """

    def __init__(self, folder: str | os.PathLike[str], how: str, stems: bool = False) -> None:
        if how not in WAYS:
            hint = did_you_mean(how, WAYS) or f"; there are {', '.join(WAYS)}."
            raise DataError(f"Pictures can't be placed by {how!r}{hint}")
        self._folder = Path(folder)
        self._how = how
        self._names = FreeNames(stems)

    def place(self, image: AnnotatedImage, below: str = "") -> AnnotatedImage:
        """Put one picture into the folder.

        Args:
            image: is not changed.
            below: folder within the target, with forward slashes.

        Returns:
            The image with ``name`` relative to the target folder (`below` included), ``source`` the placed
            file and ``embedded`` False. Of one that is kept, ``source`` is the file as it was, and ``name``
            is the one that it would have.

        Raises:
            DataError: for a picture that is missing, empty, a Git LFS pointer or text; one that is kept is
                not looked at.
            TrainingError: where the target can't be written.
        """
        if self._how == "keep" and not image.embedded:
            return replace(image, name=self._names.take(PurePosixPath(below) / real_name(image.name, b"")))
        data = read_bytes(image.source) if image.embedded else None
        head = read_head(image.source) if data is None else data[:64]
        name = self._names.take(PurePosixPath(below) / real_name(image.name, head))
        target = self._folder / name
        try:
            self._put(image, data, target)
        except OSError as error:
            raise TrainingError(describe_write_error(target, error, "the output folder")) from error
        return replace(image, name=name, source=str(target), embedded=False)

    def _put(self, image: AnnotatedImage, data: bytes | None, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source = os.path.realpath(local_path(image.source))
        if data is None and target.exists() and os.path.samefile(source, target):
            return
        # To another name first: what lies at the target may be a link to the source.
        temporary = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            if data is not None:
                temporary.write_bytes(data)
            elif self._how != "link" or not _linked(source, temporary):
                shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


class FreeNames:
    """Gives names of which no two are the same, however a file system compares them.

    Args:
        stems: whether no two may be the same without their suffixes.
    """

    def __init__(self, stems: bool = False) -> None:
        self._stems = stems
        # Names in use, and the last number that was put to each.
        self._taken: dict[str, int] = {}

    def take(self, path: PurePosixPath) -> str:
        """Return the path, or the first with a number at its end (``a_2.jpg``) that is not taken yet."""
        candidate, wanted = path, self._key(path)
        while self._key(candidate) in self._taken:
            self._taken[wanted] += 1
            candidate = path.with_name(f"{path.stem}_{self._taken[wanted]}{path.suffix}")
        self._taken[self._key(candidate)] = 1
        return candidate.as_posix()

    def _key(self, path: PurePosixPath) -> str:
        # File systems differ in whether they tell case and composed letters apart.
        text = str(path.with_suffix("") if self._stems else path)
        return unicodedata.normalize("NFC", text).casefold()


def real_name(name: str, head: bytes) -> PurePosixPath:
    """Return a picture's name with the suffix of its kind, and without what leads out of a folder.

    Args:
        name: relative, with forward slashes.
        head: the first bytes of the picture; where its kind is unknown the suffix stays.
    """
    parts = [part for part in name.replace("\0", "_").split("/") if part not in ("", ".", "..")]
    path = PurePosixPath(*parts) if parts else PurePosixPath("picture")
    suffixes = SUFFIXES.get(kind_of(head) or "", ())
    if not suffixes or path.suffix.lower() in suffixes:
        return path
    if path.suffix.lower() in _KNOWN:
        return path.with_suffix(suffixes[0])
    return path.with_name(path.name + suffixes[0])


def _linked(source: str, target: Path) -> bool:
    with suppress(OSError, NotImplementedError):
        os.link(source, target)
        return True
    return False
