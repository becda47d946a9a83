"""Copying pictures: byte for byte, but for a wrong suffix and an EXIF rotation."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

from PIL import Image, ImageOps

from ..looks import Look
from ..model import Subject
from .places import Places
from .plan import Plan

__all__ = ["copy_pictures", "name_pictures", "untagged"]

_QUALITY = 95
_ORIENTATION = 0x0112


def name_pictures(subject: Subject, plan: Plan, places: Places) -> None:
    """Decide the new names of pictures with a wrong suffix, before anything refers to them."""
    for source, look in subject.looks.items():
        if look.suffix and not look.trouble and not source.lower().endswith(".json"):
            new = places.rename(source, look.suffix)
            if new is not None:
                plan.tell("D106", source, None, f"renamed to {new.name}")


def copy_pictures(subject: Subject, plan: Plan, places: Places) -> None:
    """Copy all good pictures, those without labels too."""
    sizes = {picture.source: picture.size for picture in subject.pictures}
    for source, look in subject.looks.items():
        if look.trouble or source.lower().endswith(".json"):
            continue
        target = places.target(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if look.orientation == 1:
            shutil.copyfile(source, target)
        else:
            target.write_bytes(_upright(source, look, sizes.get(source), plan))


def _upright(source: str, look: Look, said: tuple[int, int] | None, plan: Plan) -> bytes:
    """The picture as its annotation means it, without the tag that turns it."""
    data = Path(source).read_bytes()
    if said is not None and said == look.stored and said != look.upright:
        plain = untagged(data)
        if plain is not None:
            plan.tell("D111", source, None, "EXIF rotation taken out: the annotation was made without it")
            return plain
    picture = Image.open(io.BytesIO(data))
    kind = picture.format or "PNG"
    turned = ImageOps.exif_transpose(picture)
    out = io.BytesIO()
    options = {"quality": _QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    turned.save(
        out, format=kind, exif=turned.getexif(), icc_profile=picture.info.get("icc_profile"), **options
    )
    plan.tell("D111", source, None, "saved upright")
    return out.getvalue()


def untagged(data: bytes) -> bytes | None:
    """Return a JPEG with its EXIF orientation set to 1 and all else as it was; None where that can't be.

    Args:
        data: the whole file.
    """
    start = data.find(b"Exif\x00\x00", 0, 1 << 16)
    if start < 0:
        return None
    base = start + 6
    order = {b"II": "little", b"MM": "big"}.get(data[base : base + 2])
    if order not in ("little", "big"):
        return None

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little" if order == "little" else "big")

    entries = base + number(base + 4, 4)
    for i in range(min(number(entries, 2), 500)):
        at = entries + 2 + 12 * i
        if number(at, 2) == _ORIENTATION:
            one = (1).to_bytes(2, "little" if order == "little" else "big")
            return data[: at + 8] + one + data[at + 10 :]
    return None


def relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()
