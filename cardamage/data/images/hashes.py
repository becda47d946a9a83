"""Photos that are the same: byte for byte, or to the eye after saving, resizing or a stamp.

A photo's hash has a bit for each of 64 low frequencies of its grey picture: whether that is above the median
(pHash, after Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). Two hashes
of one photo differ in few bits, those of two photos in about half.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ...errors import DataError
from .decoding import EncodedImage
from .reading import read_bytes

__all__ = [
    "NEAR",
    "PhotoPrint",
    "encoded_hash",
    "equal_groups",
    "mirrored_duplicates",
    "near_duplicates",
    "original_name",
    "photo_hash",
    "photo_print",
    "photo_prints",
    "same_photo",
]

# Bits by which two hashes of one photo may differ, wherever photos are compared. Among 1,026 photos of cars,
# pairs up to 8 bits apart were all one photo or two of one scene; the nearest pair of different cars was 10
# apart, as was the nearest pair of a photo and another's mirror image.
NEAR = 6

_SIDE, _LOW = 32, 8
# A JPEG is decoded at no less than this: coarser, its hash would depend on the size it was stored in.
_LEAST = (128, 128)
# A pool's queue takes more memory for a file than what is found about it.
_AT_ONCE = 1024
# Grey levels. A picture whose thumbnail varies less has no frequencies to tell it by.
_FLAT = 1.0
_ROBOFLOW = re.compile(r"\.rf\.[0-9a-zA-Z]{16,}$")


@dataclass(frozen=True)
class PhotoPrint:
    """What one photo is recognized by.

    Attributes:
        digest: of the file's bytes, in hex.
        hash: see :func:`photo_hash`; None where the picture is flat or can't be decoded.
    """

    digest: str
    hash: int | None


def photo_hash(picture: np.ndarray) -> int | None:
    """Hash a picture so that the same photo, resized or saved again, has nearly the same bits.

    Args:
        picture: uint8, upright, grey of shape (height, width) or (height, width, 1), or BGR.

    Returns:
        64 bits as a number from 0; None for a picture without structure, which resembles nothing.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.shape[2:] == (3,) else picture
    thumb = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(thumb.std()) < _FLAT:
        return None
    # The constant term is the brightness, and left out; the next one in its column makes the 64 full.
    low = cv2.dct(thumb)[: _LOW + 1, :_LOW].reshape(-1)[1 : _LOW * _LOW + 1]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def encoded_hash(encoded: EncodedImage) -> int | None:
    """Hash a picture file's bytes, decoded no larger than is needed; see :func:`photo_hash`.

    Args:
        encoded: with the format ``"L"``.

    Raises:
        DataError: for bytes that can't be decoded.
    """
    return photo_hash(encoded.decode(_LEAST))


def same_photo(one: int | None, other: int | None) -> bool | None:
    """Whether two hashes are of one photo; None where either picture has no hash, and nobody knows."""
    if one is None or other is None:
        return None
    return bin(one ^ other).count("1") <= NEAR


def photo_print(source: str | os.PathLike[str]) -> PhotoPrint:
    """Read a picture file and give its digest and hash.

    Args:
        source: a picture, or a Labelme JSON with one embedded.

    Raises:
        DataError: for a file that can't be read. One that can't be decoded has no hash.
    """
    data = read_bytes(source)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    try:
        return PhotoPrint(digest, encoded_hash(EncodedImage(data, "L", os.fspath(source))))
    except DataError:
        return PhotoPrint(digest, None)


def photo_prints(sources: Sequence[str], threads: int = 0) -> list[PhotoPrint | None]:
    """Give the prints of many pictures; None for those that can't be read.

    Args:
        sources: picture files, or Labelme JSONs with one embedded.
        threads: how many read at once; 0 is one for each core.
    """
    found: list[PhotoPrint | None] = []
    with ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1) as pool:
        for start in range(0, len(sources), _AT_ONCE):
            found += pool.map(_print_or_none, sources[start : start + _AT_ONCE])
    return found


def _print_or_none(source: str) -> PhotoPrint | None:
    try:
        return photo_print(source)
    except DataError:
        return None


def near_duplicates(hashes: Sequence[int | None], distance: int = NEAR) -> list[list[int]]:
    """Group hashes that differ in few bits, directly or over others of the group.

    The work grows with the square of the number of different hashes (10,000 take about a second), the memory
    with the number itself.

    Args:
        hashes: of each photo; those that are None are in no group.
        distance: so many bits may differ.

    Returns:
        Indices of each group of two or more, rising, ordered by their first.
    """
    known = [i for i, value in enumerate(hashes) if value is not None]
    values = np.array([hashes[i] for i in known], dtype=np.uint64)
    distinct, which = np.unique(values, return_inverse=True)
    parts = _connected(distinct, distance)
    return equal_groups([parts[w] for w in which.reshape(-1).tolist()], known)


def mirrored_duplicates(hashes: Sequence[int | None], mirrored: Sequence[int | None]) -> list[list[int]]:
    """Group photos of which one is another's mirror image, nearly.

    Args:
        hashes: of each photo.
        mirrored: of each photo's mirror image, left for right.

    Returns:
        As :func:`near_duplicates`; groups that it finds without mirror images are not among them.
    """
    count = len(hashes)
    plain = [set(group) for group in near_duplicates(hashes)]
    found: dict[tuple[int, ...], None] = {}
    for group in near_duplicates([*hashes, *mirrored]):
        members = tuple(sorted({i % count for i in group}))
        if len(members) > 1 and not any(known.issuperset(members) for known in plain):
            found[members] = None
    return [list(members) for members in found]


def _connected(values: np.ndarray, distance: int) -> list[int]:
    """Number the groups of different hashes; each hash is compared once with those not in a group yet."""
    part = np.zeros(len(values), dtype=np.int64)
    left = np.arange(len(values))
    number = 0
    while len(left):
        number += 1
        waiting, left = [int(left[0])], left[1:]
        while waiting:
            here = waiting.pop()
            part[here] = number
            near = _bits(values[left] ^ values[here]) <= distance
            if near.any():
                waiting += left[near].tolist()
                left = left[~near]
    return part.tolist()


_BITS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def _bits(values: np.ndarray) -> np.ndarray:
    """Count the ones in each number."""
    count = getattr(np, "bitwise_count", None)  # of NumPy 2
    if count is not None:
        return count(values)
    return _BITS_OF_BYTE[np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8)].sum(axis=1)


def equal_groups(keys: Sequence[Hashable], numbers: Sequence[int] | None = None) -> list[list[int]]:
    """Group what has the same key, such as the digests of photos.

    Args:
        keys: one for each; those that are None are in no group.
        numbers: what to call each; by default its index.

    Returns:
        The numbers of each group of two or more, in their order.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            groups[key].append(index if numbers is None else numbers[index])
    return [group for group in groups.values() if len(group) > 1]


def original_name(name: str) -> str | None:
    """Return what a picture was called before Roboflow made augmented copies of it.

    Args:
        name: file name or path, such as ``train/images/a_jpg.rf.0522a4...c2d4.jpg``.

    Returns:
        ``a_jpg``; None for a name that isn't Roboflow's.
    """
    stem = os.path.splitext(os.path.basename(name))[0]
    found = _ROBOFLOW.search(stem)
    return stem[: found.start()] if found else None
