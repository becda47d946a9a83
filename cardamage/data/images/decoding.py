"""From the bytes of a picture file to its pixels, in full or at a fraction of the size.

OpenCV decodes, Pillow where OpenCV can't. libjpeg's inverse transform can give a JPEG at a half, a quarter or
an eighth of its size for much less work, see :func:`reduction`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import DataError
from .pixel_formats import convert_PIL_to_numpy
from .signs import ends_whole, is_cut_short, kind_of, wrong_kind

__all__ = [
    "MOST_PIXELS",
    "EncodedImage",
    "Header",
    "decode_image",
    "read_header",
    "reduction",
    "refuse_wrong_kind",
]

# No camera takes more; a header of a few bytes can claim more than memory holds.
MOST_PIXELS = 1 << 28


_ORIENTATION_TAG = 0x0112
_PNG_NOTES = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_FORMATS = ("BGR", "RGB", "L")
_LUMA_BGR = np.array([7471, 38470, 19595], dtype=np.uint32)  # 0.114, 0.587, 0.299 in units of 2**-16

_FULL = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
}
# What a reduced picture must have more than is needed: the resize after it then still does the filtering.
_SPARE = 1.25
# Pixels of the result by which a reduced picture may reach beyond the full one (its sides are rounded up).
_OVERHANG = 0.25


class Header(NamedTuple):
    """What a picture file tells undecoded: stored size in pixels, EXIF orientation, Pillow's mode."""

    height: int
    width: int
    orientation: int
    mode: str

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width once the picture is turned as its orientation says."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


class EncodedImage:
    """A picture file's bytes, looked at and not decoded yet.

    Attributes:
        size: upright (height, width) in pixels; None where only decoding can tell.
    """

    def __init__(self, data: bytes, format: str | None = "BGR", name: str = "in memory") -> None:
        """Look at the bytes.

        Args:
            data: the whole file.
            format: see :func:`cardamage.data.images.reading.read_image`.
            name: what to call it in messages.

        Raises:
            DataError: for bytes that are no picture, or only a part of one, and for more pixels than
                :data:`MOST_PIXELS`, which are not decoded.
        """
        refuse_wrong_kind(data[:64], name)
        self.kind = kind_of(data[:16])
        missing = None if self.kind == "JPEG" and ends_whole("JPEG", data[-64:]) else is_cut_short(data)
        if missing:
            raise DataError(f"The image {name} is cut short ({missing}); copy it again.")
        self.data, self.format, self.name = data, format, name
        self.header = read_header(io.BytesIO(data))
        if self.header is not None and self.header.height * self.header.width > MOST_PIXELS:
            raise DataError(
                f"The image {name} says it is {self.header.width}x{self.header.height}, which is more than "
                f"{MOST_PIXELS:,} pixels; it is damaged, or must be made smaller."
            )
        self.size = self.header.upright if self.header and format in _FORMATS else None

    def decode(self, least: tuple[int, int] | None = None) -> np.ndarray:
        """Decode, and turn upright as the EXIF orientation says.

        Args:
            least: the (height, width), upright, that the picture will be resized to. A JPEG much larger than
                that comes at a half, a quarter or an eighth of its size, never smaller than this. None gives
                it in full.

        Returns:
            See :func:`cardamage.data.images.reading.read_image`.

        Raises:
            DataError: for bytes that can't be decoded.
        """
        if self.format not in _FORMATS:
            return _decode_as(self.data, self.format, self.name)
        bgr = None if least is None else self._decode_reduced(least)
        if bgr is None:
            bgr = self._decode_full()
        upright = _turn(bgr, self.header.orientation if self.header else 1)
        if self.format == "BGR":
            return upright
        if self.format == "RGB":
            return cv2.cvtColor(upright, cv2.COLOR_BGR2RGB)
        return _grey(upright)[:, :, None]

    def _decode_reduced(self, least: tuple[int, int]) -> np.ndarray | None:
        """A JPEG's pixels at a fraction, None where it can't be or needn't be."""
        header = self.header
        if self.kind != "JPEG" or header is None or header.mode not in ("RGB", "L"):
            return None
        needed = (least[1], least[0]) if header.orientation >= 5 else least
        part = reduction((header.height, header.width), needed)
        bgr = _by_opencv(self.data, _REDUCED[part]) if part > 1 else None
        expected = (-(-header.height // part), -(-header.width // part))
        return bgr if bgr is not None and bgr.shape[:2] == expected else None

    def _decode_full(self) -> np.ndarray:
        """BGR as stored. 4-channel JPEGs, and what OpenCV refuses, go through Pillow, which knows them."""
        cmyk = self.kind == "JPEG" and self.header is not None and self.header.mode == "CMYK"
        bgr = None if cmyk else _by_opencv(self.data, _FULL)
        if bgr is None:
            bgr = _by_pillow(self.data)
        if bgr is None:
            raise _undecodable(self.name)
        return bgr


def decode_image(data: bytes, format: str | None = "BGR", name: str = "in memory") -> np.ndarray:
    """Decode a picture file's bytes, turned upright as its EXIF orientation says.

    Args:
        data: the whole file.
        format: see :func:`cardamage.data.images.reading.read_image`.
        name: what to call it in messages.

    Returns:
        See :func:`cardamage.data.images.reading.read_image`.

    Raises:
        DataError: for bytes that are no picture, or only a part of one.
    """
    return EncodedImage(data, format, name).decode()


def reduction(full: Sequence[int], needed: Sequence[int]) -> int:
    """Choose the fraction at which a JPEG is decoded.

    Args:
        full: its height and width as stored.
        needed: height and width that it will be resized to.

    Returns:
        1, 2, 4 or 8: the divisor of the size. What is left is at least 1.25 times what is needed, and its
        rounded-up sides move nothing by more than a quarter of a pixel of the result.
    """
    for part in _REDUCED:
        if all(_can_be_reduced(size, need, part) for size, need in zip(full, needed, strict=True)):
            return part
    return 1


def _can_be_reduced(size: int, need: int, part: int) -> bool:
    overhang = -size % part * need / size
    return size >= _SPARE * part * need and overhang <= _OVERHANG


def read_header(file: IO[bytes]) -> Header | None:
    """Read what a picture file tells of itself; None where Pillow can't tell."""
    try:
        with _opened(file) as image:
            width, height, mode = *image.size, image.mode
            orientation = _exif(image, file, width * height).get(_ORIENTATION_TAG, 1)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return Header(height, width, orientation if orientation in range(1, 9) else 1, mode)


def _exif(image: Image.Image, file: IO[bytes], pixels: int) -> Image.Exif:
    """What EXIF says. Pillow would decode a PNG to see whether there is any behind its pixels."""
    if image.format == "PNG" and (pixels > MOST_PIXELS or not _notes_at_end(file)):
        return Image.Image.getexif(image)
    return image.getexif()


def _notes_at_end(file: IO[bytes]) -> bool:
    """Whether a PNG has EXIF or text, which may hold it, behind its pixels."""
    before = file.tell()
    file.seek(8)
    seen_pixels = found = False
    while not found and len(head := file.read(8)) == 8:
        seen_pixels |= head[4:] == b"IDAT"
        found = seen_pixels and head[4:] in _PNG_NOTES
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    file.seek(before)
    return found


def _opened(file: IO[bytes]) -> Image.Image:
    """A picture by Pillow, undecoded; where it refuses the size, by the reader of its kind."""
    try:
        return Image.open(file)
    except Image.DecompressionBombError:
        file.seek(0)
        factory = Image.OPEN.get((kind_of(file.read(16)) or "").upper())
        if factory is None:
            raise
        file.seek(0)
        return factory[0](file, "")


def refuse_wrong_kind(head: bytes, name: str) -> None:
    """Raise a DataError for a file whose first bytes show that it is no picture."""
    reason = wrong_kind(head)
    if reason:
        raise DataError(f"The image {name} {reason}.")


def _grey(bgr: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma with Pillow's rounding; OpenCV's differs by one here and there."""
    return ((bgr.astype(np.uint32) @ _LUMA_BGR + 0x8000) >> 16).astype(np.uint8)


def _decode_as(data: bytes, format: str | None, name: str) -> np.ndarray:
    """A rare format, by way of Pillow."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return convert_PIL_to_numpy(ImageOps.exif_transpose(image), format)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise _undecodable(name) from None
    except ValueError as error:
        known = ", ".join(_FORMATS)
        raise DataError(f"The image {name} can't be given as {format!r} ({error}); try {known}.") from None


def _by_opencv(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _by_pillow(data: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def _undecodable(name: str) -> DataError:
    return DataError(f"The image {name} can't be decoded; it is damaged or in no known picture format.")


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 2-4 mirror or turn by half, 5-8 also swap the sides."""
    if orientation in (5, 6, 7, 8):
        image = cv2.transpose(image)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    if upside_down or mirrored:
        image = cv2.flip(image, -1 if upside_down and mirrored else 0 if upside_down else 1)
    return image
