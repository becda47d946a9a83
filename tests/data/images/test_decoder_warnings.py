"""Damaged JPEGs are told by what libjpeg prints, and nothing else is kept from stderr."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cardamage.data.doctor.looks import look_at_all
from cardamage.data.images.decoder_warnings import damage, decoder_warnings

SEED = secrets.randbits(32)


def jpeg(*options: int) -> bytes:
    """A noisy picture, so that any part of the data matters."""
    picture = np.random.default_rng(SEED).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", picture, list(options))[1].tobytes()


def decode(data: bytes) -> None:
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def over(data: bytes, piece: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + piece + data[middle + len(piece) :]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda data: over(data, bytes(4096)),
    "ones": lambda data: over(data, b"\xff" * 4096),
    "noise": lambda data: over(data, np.random.default_rng(SEED).bytes(4096)),
    "missing": lambda data: data[: len(data) // 2] + data[len(data) // 2 + 4096 :],
    "closed": lambda data: data[: len(data) * 9 // 10] + b"\xff\xd9",
    "zeros at the end": lambda data: data[: len(data) // 2] + bytes(len(data) // 2) + b"\xff\xd9",
}


@pytest.mark.parametrize(
    "options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 8)]
)
@pytest.mark.parametrize("kind", SPOILT)
def test_damaged_data(
    tmp_path: Path, kind: str, options: tuple[int, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(jpeg(*options))
    bad.write_bytes(SPOILT[kind](jpeg(*options)))
    looks = look_at_all([str(good), str(bad), str(tmp_path / "missing.jpg")])
    # OpenCV gives nothing of some progressive ones.
    assert looks[str(bad)].damage or looks[str(bad)].trouble == "undecodable", SEED
    assert looks[str(bad)].damage or options[:1] == (cv2.IMWRITE_JPEG_PROGRESSIVE,), SEED
    assert looks[str(good)].damage == ""
    assert "JPEG" not in capfd.readouterr().err


def test_bytes_between_picture_and_end_are_harmless(tmp_path: Path) -> None:
    file = tmp_path / "phone.jpg"
    file.write_bytes(jpeg()[:-2] + bytes(7) + b"\xff\xd9")
    look = look_at_all([str(file)])[str(file)]
    assert (look.trouble, look.damage) == (None, "")


def test_other_text_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with decoder_warnings() as said:
        os.write(2, b"before\n")
        decode(SPOILT["closed"](jpeg()))
        os.write(2, b"after\n")
    assert said.lines == ["Corrupt JPEG data: premature end of data segment"]
    assert damage(said.lines) == "its data ends before the picture does"
    assert capfd.readouterr().err == "before\nafter\n"


def test_stderr_comes_back_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with decoder_warnings():
            os.write(2, b"seen\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"and on\n")
    assert capfd.readouterr().err == "seen\nand on\n"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Corrupt JPEG data: 65 extraneous bytes before marker 0xd9", "65 bytes of its data"),
        ("Corrupt JPEG data: 2 extraneous bytes before marker 0xd9", ""),
        ("Corrupt JPEG data: bad Huffman code", "its data holds"),
        ("Corrupt JPEG data: found marker 0xd3 instead of RST1", "a piece"),
        ("Inconsistent progression sequence for component 0 coefficient 1", "libjpeg says"),
    ],
)
def test_meanings(line: str, text: str) -> None:
    assert damage([line])[: len(text)] == text
    assert bool(damage([line])) == bool(text)
