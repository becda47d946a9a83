"""One look at each picture file: is it whole, what is it, how large, which photo."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ...errors import DataError
from ...utils.files import open_regular
from ..images.decoder_warnings import damage, decoder_warnings
from ..images.decoding import MOST_PIXELS, EncodedImage, read_header
from ..images.hashes import photo_hash
from ..images.reading import embedded_bytes
from ..images.signs import SUFFIXES, ends_whole, is_cut_short, kind_of, wrong_kind

__all__ = ["Look", "look_at", "look_at_all"]

# Pixels. Hashing needs little, but formats other than JPEG are decoded in full for it.
_HASH_LEAST = (128, 128)
_MOST_BYTES = 1 << 30
# Pictures of which some are looked at again where the decoder warned of any.
_AT_ONCE = 128
# Zeros in a row that are a hole; colour profiles before the picture may have as many.
_HOLE, _HEAD = 256, 1 << 12
# Grey levels of borders that were put there on purpose; JPEG changes them a little.
_BLACK, _WHITE = 8, 247
# Grey levels by which a picture of one color may vary.
_EVEN = 3


@dataclass(frozen=True)
class Look:
    """What a picture file is.

    Attributes:
        trouble: None for a good one; ``"missing"``, ``"cut"`` (empty or cut short), ``"pointer"`` (Git LFS),
            ``"other"`` (no picture) or ``"undecodable"``.
        text: the trouble in words.
        kind: ``"JPEG"``, ``"PNG"``, ``"WebP"``, ...
        stored: height and width in the file.
        orientation: EXIF's, 1 to 8.
        mode: Pillow's, such as ``"RGB"``.
        suffix: what the file's name should end in; None where it is right.
        digest: of the bytes.
        hash: see :func:`cardamage.data.images.hashes.photo_hash`.
        mirrored: the hash of its mirror image, left for right.
        quarter: the hash of it turned by 90 degrees.
        half: the hash of it turned by 180 degrees.
        blank_end: share of its height, from below, that is of one grey as decoders leave what is missing.
        flat: whether it is of one color.
        damage: what is wrong with a JPEG that can be decoded all the same, in words; empty for a whole one.
    """

    trouble: str | None = None
    text: str = ""
    kind: str | None = None
    stored: tuple[int, int] | None = None
    orientation: int = 1
    mode: str = "RGB"
    suffix: str | None = None
    digest: str | None = None
    hash: int | None = None
    mirrored: int | None = None
    quarter: int | None = None
    half: int | None = None
    blank_end: float = 0.0
    damage: str = ""
    flat: bool = False

    @property
    def upright(self) -> tuple[int, int] | None:
        """Height and width once turned as EXIF says."""
        if self.stored is None:
            return None
        return (self.stored[1], self.stored[0]) if self.orientation >= 5 else self.stored


def look_at_all(sources: Iterable[str], threads: int = 0) -> dict[str, Look]:
    """Look at many pictures at once.

    Args:
        sources: picture files, or Labelme JSONs with one embedded.
        threads: 0 is one for each core.
    """
    distinct = list(dict.fromkeys(sources))
    found: dict[str, Look] = {}
    with ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1) as pool:
        for start in range(0, len(distinct), _AT_ONCE):
            some = distinct[start : start + _AT_ONCE]
            with decoder_warnings() as said:
                looks = dict(zip(some, pool.map(look_at, some), strict=True))
            found |= _with_damage(looks, len(said.lines)) if said.lines else looks
    return found


def _with_damage(looks: dict[str, Look], warnings: int) -> dict[str, Look]:
    """Look again, at one picture at a time, to learn which ones the decoder warned of."""
    found = dict(looks)
    for source, look in looks.items():
        if warnings > 0 and look.kind == "JPEG" and look.trouble in (None, "undecodable"):
            with decoder_warnings() as said:
                look_at(source)
            warnings -= len(said.lines)
            if said.lines and look.trouble is None:
                found[source] = replace(look, damage=damage(said.lines) or _zeros(source))
    return found


def _zeros(source: str) -> str:
    """Tell of a hole in a JPEG that the decoder warned of mildly; others may hold zeros in even areas."""
    try:
        data = _bytes(source)
    except (OSError, ValueError, DataError):
        return ""
    return "its data has a hole of zeros" if bytes(_HOLE) in data[_HEAD:].rstrip(b"\0") else ""


def look_at(source: str) -> Look:
    """Look at one picture; nothing is raised for a bad one."""
    try:
        data = _bytes(source)
    except FileNotFoundError:
        return Look("missing", "does not exist")
    except IsADirectoryError:
        return Look("other", "is a folder")
    except DataError as error:
        return Look("undecodable", str(error))
    except (OSError, ValueError) as error:
        return Look("missing", f"can't be read ({getattr(error, 'strerror', None) or error})")
    return _look(data, source)


def _bytes(source: str) -> bytes:
    if not source:
        raise FileNotFoundError(source)
    if source.lower().endswith(".json"):
        return embedded_bytes(source)
    with open_regular(source) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise DataError("is larger than 1 GiB, which no photo is")
        return file.read()


def _look(data: bytes, source: str) -> Look:
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    refused = wrong_kind(data[:64])
    if refused:
        pointer, empty = "LFS" in refused, not data
        kind = "undecodable" if "HEIC" in refused else "other"
        return Look("pointer" if pointer else "cut" if empty else kind, refused, digest=digest)
    return _picture(data, source, digest)


def _picture(data: bytes, source: str, digest: str) -> Look:
    kind = kind_of(data[:16])
    missing = None if ends_whole(kind, data[-64:]) else is_cut_short(data)
    header = read_header(io.BytesIO(data))
    facts: dict[str, Any] = {"kind": kind, "digest": digest, "suffix": _right_suffix(kind, source)}
    if header is not None:
        facts |= {"stored": (header.height, header.width), "orientation": header.orientation}
        facts |= {"mode": header.mode}
    if missing:
        return Look("cut", f"is cut short ({missing})", **facts)
    if header is not None and header.height * header.width > MOST_PIXELS:
        text = f"says it is {header.width}x{header.height}: more than {MOST_PIXELS:,} pixels are not decoded"
        return Look("undecodable", text, **facts)
    try:
        picture = EncodedImage(data, "L", source).decode(_HASH_LEAST)
    except DataError:
        return Look("undecodable", "can't be decoded", **facts)
    if header is None:
        facts["stored"] = picture.shape[:2]
    facts["blank_end"] = _blank_end(picture) if kind == "JPEG" else 0.0
    small = cv2.resize(picture, _HASH_LEAST, interpolation=cv2.INTER_AREA)[:, :, None]
    facts["flat"] = int(np.ptp(picture)) <= _EVEN
    facts["mirrored"] = photo_hash(np.fliplr(picture))
    facts |= {"quarter": photo_hash(np.rot90(small)), "half": photo_hash(np.rot90(small, 2))}
    return Look(None, hash=photo_hash(picture), **facts)


def _blank_end(picture: np.ndarray) -> float:
    """Share of rows at the bottom of one grey; 0 where that is black, white, or at the top as well."""
    grey = picture[:, :, 0]
    value = int(grey[-1, -1])
    blank = (grey == value).all(axis=1)
    if blank[0] or not _BLACK < value < _WHITE:
        return 0.0
    return float(np.argmin(blank[::-1])) / len(blank)


def _right_suffix(kind: str | None, source: str) -> str | None:
    name = source.lower()
    if kind is None or name.endswith(".json") or name.endswith(SUFFIXES.get(kind, (name,))):
        return None
    return SUFFIXES[kind][0]
