"""A look at every image file before the first step: cheap, in threads, and all trouble in one message."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...errors import DataError
from ...utils.files import open_regular
from .reading import raw_image_size, read_bytes, record_source
from .signs import ends_whole, is_cut_short, kind_of, plain_jpeg_size, wrong_kind

__all__ = ["check_images", "check_new_images", "missing_message", "picture_trouble", "size_mismatch"]

_SHOWN = 50
_TAIL = 4096
_HEAD = 2048
# Handing a file to a thread takes nearly as long as looking at it.
_BATCH = 32

_found_good: set[tuple[str, Any, Any]] = set()


def check_images(
    dataset_dicts: Sequence[Mapping[str, Any]],
    num_threads: int = 8,
    shown: int = _SHOWN,
    total: int | None = None,
) -> None:
    """Make sure that every image is there, is a whole picture, and has the size its annotation says.

    Only the head and the tail of each file are read where those tell enough.

    Args:
        dataset_dicts: the dataset; ``height`` and ``width`` are compared where present.
        num_threads: files looked at at once.
        shown: at most so many files are named for each kind of trouble; the others are counted.
        total: images of the whole dataset, where these are only some; for messages.

    Raises:
        DataError: one sentence for all missing files, and one line for each other trouble.
    """
    by_file = {record_source(record): record for record in dataset_dicts}
    records = list(by_file.values())
    batches = [records[start : start + _BATCH] for start in range(0, len(records), _BATCH)]
    with ThreadPoolExecutor(max_workers=num_threads) as pool:
        found = [trouble for batch in pool.map(_troubles, batches) for trouble in batch]
    missing = [path for path, trouble in zip(by_file, found, strict=True) if trouble == _MISSING]
    others = [trouble for trouble in found if trouble and trouble != _MISSING]
    lines = [missing_message(missing, total or len(by_file), shown)] if missing else []
    lines += others[:shown]
    if len(others) > shown:
        lines.append(f"... and {len(others) - shown} more images that can't be used.")
    if lines:
        raise DataError("\n".join(lines))


def check_new_images(dataset_dicts: Sequence[Mapping[str, Any]]) -> None:
    """Do as :func:`check_images`, once in a process: before a run, and whenever a loader is made.

    Args:
        dataset_dicts: the dataset; records found good before are passed over.

    Raises:
        DataError: as :func:`check_images`.
    """
    new = {_identity(record): record for record in dataset_dicts}
    new = {key: record for key, record in new.items() if key not in _found_good}
    if new:
        check_images(list(new.values()))
        _found_good.update(new)


def _identity(record: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """What a record's check depends on."""
    return record_source(record), record.get("height"), record.get("width")


def missing_message(missing: Sequence[str], total: int, shown: int = _SHOWN) -> str:
    """Say which images do not exist, naming at most `shown` of them."""
    verb = "does" if len(missing) == 1 else "do"
    named = ", ".join(missing[:shown])
    more = f" and {len(missing) - shown} more" if len(missing) > shown else ""
    return (
        f"{len(missing)} of {total} images {verb} not exist: {named}{more}; "
        "put them there, or correct their paths."
    )


def size_mismatch(record: Mapping[str, Any], stored: tuple[int, int, int]) -> str | None:
    """Say in a sentence how a picture's size differs from the annotation's, or None where it doesn't.

    Args:
        record: a dataset dict.
        stored: height and width as stored in the file, and its EXIF orientation.
    """
    said_height, said_width = record.get("height"), record.get("width")
    if said_height is None or said_width is None:
        return None
    height, width, orientation = stored
    turned = orientation >= 5
    upright = (width, height) if turned else (height, width)
    if (said_height, said_width) == upright:
        return None
    text = (
        f"The image {record_source(record)} is {upright[1]}x{upright[0]} (width x height), "
        f"but its annotation says {said_width}x{said_height}"
    )
    if (said_width, said_height) != upright:
        return f"{text}; annotate this very picture, or put the annotated one in its place."
    if turned:
        return (
            f"{text}: the EXIF tag turns the picture by 90 degrees and the annotation was made on the "
            "unturned one; save the picture without the tag, or annotate it again."
        )
    return (
        f"{text}: the sides are swapped; the picture was turned after it was annotated, so annotate it again."
    )


_MISSING = "missing"


def _troubles(records: Sequence[Mapping[str, Any]]) -> list[str | None]:
    return [picture_trouble(record) for record in records]


def picture_trouble(record: Mapping[str, Any]) -> str | None:
    """Say why a picture is not there, not whole or not of its size, or None where it is.

    Args:
        record: a dataset dict.

    Returns:
        A sentence, or ``"missing"``.
    """
    path = record_source(record)
    try:
        reason, size = (None, None) if path.lower().endswith(".json") else _file_trouble(path)
        if reason:
            return f"The image {path} {reason}."
        return size_mismatch(record, size or raw_image_size(path))
    except FileNotFoundError:
        return _MISSING
    except IsADirectoryError:
        return f"The image {path} is a folder."
    except DataError as error:
        return str(error)
    except OSError as error:
        return f"The image {path} can't be read: {error.strerror}."
    except ValueError:
        return f"The image name {path!r} can't be a file's."


def _file_trouble(path: str) -> tuple[str | None, tuple[int, int, int] | None]:
    """Why a file is no whole picture, and its size where the first bytes tell."""
    with open_regular(path, buffering=0) as file:
        head = file.read(_HEAD)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        tail = file.read()
    reason = wrong_kind(head[:64])
    if reason or ends_whole(kind_of(head), tail):
        return reason, plain_jpeg_size(head)
    missing = is_cut_short(read_bytes(path))
    return (f"is cut short ({missing}); copy it again" if missing else None), None
