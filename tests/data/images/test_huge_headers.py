"""Pictures of a few bytes that claim more pixels than memory holds are told apart before they are decoded."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cardamage.data.images.decoding import decode_image, read_header
from cardamage.errors import DataError


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def small(kind: str) -> bytearray:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind)
    return bytearray(file.getvalue())


def jpeg(side: int) -> bytes:
    data = small("JPEG")
    frame = data.find(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def tiff(side: int) -> bytes:
    data = small("TIFF")
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, at)
        if tag in (256, 257):
            struct.pack_into("<HHII", data, at, tag, 4, 1, side)
    return bytes(data)


def bmp(side: int) -> bytes:
    data = small("BMP")
    struct.pack_into("<ii", data, 18, side, side)
    return bytes(data)


@pytest.mark.parametrize("make", [png, jpeg, tiff, bmp])
@pytest.mark.parametrize("side", [17_000, 60_000])
def test_no_decoder_sees_a_huge_picture(make: object, side: int) -> None:
    data = make(side)  # type: ignore[operator]
    header = read_header(io.BytesIO(data))
    assert header is not None
    assert (header.height, header.width) == (side, side)
    with pytest.raises(DataError, match=f"says it is {side}x{side}, which is more than 268,435,456 pixels"):
        decode_image(data, "BGR", "a.bin")


def test_rotation_behind_the_pixels_of_a_png() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(file, "PNG", exif=exif)
    data = file.getvalue()
    start, end = data.find(b"eXIf") - 4, data.rfind(b"IEND") - 4
    length = 12 + int.from_bytes(data[start : start + 4], "big")
    moved = data[:start] + data[start + length : end] + data[start : start + length] + data[end:]
    assert read_header(io.BytesIO(data)) == read_header(io.BytesIO(moved)) == (4, 5, 6, "RGB")


def test_a_png_is_not_decoded_for_its_header() -> None:
    whole = io.BytesIO()
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(whole, "PNG")
    data = whole.getvalue()
    pixels = data.find(b"IDAT") + 4
    broken = data[:pixels] + b"\xff" * 10 + data[pixels + 10 :]
    assert read_header(io.BytesIO(broken)) == (4, 5, 1, "RGB")
