from __future__ import annotations

import pytest

from cardamage.data.image_signs import ends_whole, is_cut_short, kind_of, wrong_kind


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
