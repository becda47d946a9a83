"""Decoding at a fraction of the size, against the picture decoded in full."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from cardamage.data.images.decoding import EncodedImage, decode_image, reduction


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture without symmetry."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(image: np.ndarray, kind: str = "JPEG", orientation: int = 1, mode: str | None = None) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(file, kind, exif=exif, quality=95)
    return file.getvalue()


@pytest.mark.parametrize(
    ("full", "needed", "part"),
    [
        ((3000, 4000), (800, 1067), 2),  # a quarter would be 750
        ((3000, 4000), (600, 800), 4),  # exactly 1.25 times what is needed
        ((3000, 4000), (601, 801), 2),
        ((3000, 4000), (100, 133), 8),
        ((1200, 1600), (800, 1067), 1),
        ((1200, 1600), (480, 640), 2),
        ((480, 640), (800, 1067), 1),
        ((3000, 4000), (100, 2000), 1),  # the side that needs more decides
        ((1001, 1001), (400, 400), 1),  # rounded up, it would reach 0.4 pixels too far
        ((1001, 1001), (250, 250), 2),
        ((1, 1), (1, 1), 1),
    ],
)
def test_the_fraction_leaves_enough(full: tuple[int, int], needed: tuple[int, int], part: int) -> None:
    assert reduction(full, needed) == part


def test_no_fraction_is_below_what_is_needed() -> None:
    rng = np.random.default_rng(1)
    for full, needed in zip(rng.integers(1, 5000, (500, 2)), rng.integers(1, 1400, (500, 2)), strict=True):
        part = reduction(full.tolist(), needed.tolist())
        assert part == 1 or (full / part >= needed * 1.25).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["BGR", "RGB", "L"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_reduced_jpeg_is_the_full_one_made_smaller(orientation: int, format: str, mode: str) -> None:
    data = encoded(photo(240, 320, orientation), "JPEG", orientation, mode)
    full = decode_image(data, format)
    picture = EncodedImage(data, format)
    assert picture.size == full.shape[:2]
    least = tuple(side // 5 for side in full.shape[:2])
    reduced = picture.decode(least)
    assert reduced.shape == (full.shape[0] // 4, full.shape[1] // 4, full.shape[2])
    smaller = cv2.resize(full, reduced.shape[1::-1], interpolation=cv2.INTER_AREA).reshape(reduced.shape)
    assert np.abs(reduced.astype(int) - smaller).max() <= 6


def test_odd_sides_are_rounded_up() -> None:
    data = encoded(photo(801, 1203))
    assert EncodedImage(data).decode((100, 150)).shape == (401, 602, 3)


@pytest.mark.parametrize("kind", ["PNG", "WebP", "BMP"])
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    data = encoded(photo(240, 320), kind)
    np.testing.assert_array_equal(EncodedImage(data).decode((10, 10)), decode_image(data))


def test_cmyk_and_16_bits_are_decoded_in_full() -> None:
    four = encoded(photo(240, 320), "JPEG", mode="CMYK")
    deep = cv2.imencode(".png", photo(240, 320).astype(np.uint16) * 257)[1].tobytes()
    for data in (four, deep):
        found = EncodedImage(data).decode((10, 10))
        assert found.shape == (240, 320, 3)
        np.testing.assert_array_equal(found, decode_image(data))


def test_no_size_where_the_format_decides_it() -> None:
    assert EncodedImage(encoded(photo(40, 60)), "YUV-BT.601").size is None
