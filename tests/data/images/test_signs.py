from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.images.reading import raw_image_size
from cardamage.data.images.signs import ends_whole, is_cut_short, kind_of, plain_jpeg_size, wrong_kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", None),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "WebP"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"\x00\x00\x00\x18ftypavif", "AVIF"),
        (b"\x00\x00\x00\x18ftypmif1", "HEIC"),
        (b"hello", None),
    ],
)
def test_kind_of(head: bytes, kind: str | None) -> None:
    assert kind_of(head) == kind


def test_text_cut_within_a_letter_is_still_text() -> None:
    assert wrong_kind("é".encode() * 20 + "é".encode()[:1]) is not None
    assert wrong_kind(b"\xe9\xe8" * 20) is None


def test_ends() -> None:
    assert ends_whole("JPEG", b"...\xff\xd9\x00\x00")
    assert not ends_whole("JPEG", b"...\xff\xd9trailer")
    assert ends_whole("PNG", b"....\x00\x00\x00\x00IEND\xaeB`\x82")
    assert not ends_whole("PNG", b"....")
    assert not ends_whole("WebP", b"....")
    assert ends_whole(None, b"")


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", b"\xff\xd8\xff\xff\xff", b"\xff\xd8\xff\xe1\xff\xff\xff\xd9"]
)
def test_header_without_scan(data: bytes) -> None:
    assert is_cut_short(data) == "its JPEG data has no end marker"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 50}, {"dpi": (72, 72)}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_sizes_of_plain_jpegs(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    path = tmp_path / "a.jpg"
    Image.new(mode, (300, 70)).save(path, **options)
    data = path.read_bytes()
    assert plain_jpeg_size(data[:2048]) == raw_image_size(path) == (70, 300, 1)
    for end in range(0, 800, 7):
        assert plain_jpeg_size(data[:end]) in (None, (70, 300, 1))


def test_a_jpeg_that_may_be_turned_is_left_to_others(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 70)).save(tmp_path / "a.jpg", exif=exif)
    assert plain_jpeg_size((tmp_path / "a.jpg").read_bytes()) is None
    Image.new("RGB", (30, 70)).save(tmp_path / "a.png")
    assert plain_jpeg_size((tmp_path / "a.png").read_bytes()) is None
    assert plain_jpeg_size(b"") is None
    assert plain_jpeg_size(b"\xff\xd8\xff\xe0\x00\x00" * 9) is None
