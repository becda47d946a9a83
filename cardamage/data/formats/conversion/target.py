"""Where a conversion reads from and writes to: sources stay as they are, a target is whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ....errors import DataError
from ....utils.files import ensure_writable_dir

__all__ = ["check_pictures_apart", "check_sources", "check_target", "whole_or_nothing"]


def check_sources(sources: Sequence[str | os.PathLike[str]], merge: bool) -> None:
    """Make sure that there are sources, and that several are meant to be merged.

    Raises:
        DataError: otherwise, and for a source that is named twice.
    """
    if not sources:
        raise DataError("No source is named; name a file or folder of annotations.")
    if len(sources) > 1 and not merge:
        raise DataError(
            f"{len(sources)} sources were named; "
            "add --merge to make one dataset of them, or convert each alone."
        )
    places = [os.path.realpath(source) for source in sources]
    twice = [source for source, place in zip(sources, places, strict=True) if places.count(place) > 1]
    if twice:
        raise DataError(f"The source {os.fspath(twice[0])} is named twice; name it once.")


def check_target(target: Path, sources: Sequence[str | os.PathLike[str]]) -> None:
    """Make sure that the target is new or empty, and outside of the sources.

    Raises:
        DataError: otherwise.
    """
    place = Path(os.path.realpath(target))
    for source in sources:
        if os.path.isdir(source) and place.is_relative_to(os.path.realpath(source)):
            raise DataError(
                f"The folder {target} lies inside the source {os.fspath(source)}, which is never written to; "
                "name a folder outside of it with -o."
            )
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"The folder {target} is not empty; empty it, or name another one with -o.")


def check_pictures_apart(
    target: Path, sources: Sequence[str | os.PathLike[str]], pictures: Iterable[str]
) -> None:
    """Make sure that the target is not in a source's folder where the source is a file in it.

    A file's folder is the dataset's where pictures are in it, and would be read as another one afterwards.

    Args:
        target: the target.
        sources: files or folders.
        pictures: of all sources.

    Raises:
        DataError: otherwise.
    """
    place = Path(os.path.realpath(target))
    homes = {os.path.realpath(source): os.path.dirname(os.path.realpath(source)) for source in sources}
    around = {
        file: home for file, home in homes.items() if place.is_relative_to(home) and os.path.isfile(file)
    }
    folders = {os.path.realpath(folder) for folder in set(map(os.path.dirname, pictures))} if around else ()
    for file, home in around.items():
        if any(Path(folder).is_relative_to(home) for folder in folders):
            raise DataError(
                f"The folder {target} lies in {home}, the folder of {file} and its pictures, which is never "
                "written to; name a folder outside of it with -o."
            )


@contextmanager
def whole_or_nothing(folder: Path, into_used: bool) -> Iterator[None]:
    """Take away what was written before an error, where the folder held nothing else."""
    existed = folder.exists()
    ensure_writable_dir(folder, "-o")
    try:
        yield
    except BaseException:
        if not into_used:
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
            if not existed:
                folder.rmdir()
        raise
