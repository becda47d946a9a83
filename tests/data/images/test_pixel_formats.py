"""Channel orders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cardamage.data.images.pixel_formats import convert_image_to_rgb, convert_PIL_to_numpy

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("format_", ["RGB", "BGR", "YUV-BT.601"])
def test_colors_come_back(format_: str) -> None:
    array = convert_PIL_to_numpy(Image.fromarray(RGB), format_)
    assert array.shape == (5, 7, 3)
    assert np.abs(convert_image_to_rgb(array.copy(), format_) - RGB.astype(float)).max() < 0.01
    tensor = torch.from_numpy(array.copy())
    np.testing.assert_array_equal(convert_image_to_rgb(tensor, format_), convert_image_to_rgb(array, format_))


def test_gray_has_one_channel_and_is_drawn_in_three() -> None:
    gray = convert_PIL_to_numpy(Image.fromarray(RGB), "L")
    assert gray.shape == (5, 7, 1)
    np.testing.assert_array_equal(convert_image_to_rgb(gray, "L"), np.repeat(gray, 3, axis=2))


def test_no_format_keeps_the_images_own() -> None:
    np.testing.assert_array_equal(convert_PIL_to_numpy(Image.fromarray(RGB), None), RGB)


def test_yuv_of_white_is_1_0_0() -> None:
    white = Image.new("RGB", (1, 1), (255, 255, 255))
    np.testing.assert_allclose(convert_PIL_to_numpy(white, "YUV-BT.601")[0, 0], [1, 0, 0], atol=1e-4)


def test_other_modes_are_pillows() -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    array = convert_PIL_to_numpy(Image.fromarray(RGB), "CMYK")
    np.testing.assert_array_equal(array, np.asarray(cmyk))
    np.testing.assert_array_equal(convert_image_to_rgb(array, "CMYK"), np.asarray(cmyk.convert("RGB")))
    assert convert_PIL_to_numpy(Image.fromarray(RGB), "P").shape == (5, 7)
