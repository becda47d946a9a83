"""Torch's resize against Pillow's, and against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cardamage.data import transforms as T
from cardamage.data.transforms.native_resize import resize_image

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


@pytest.mark.parametrize("filter_", [BILINEAR, BICUBIC])
@pytest.mark.parametrize("shrink", [0.31, 0.5, 0.77, 1.0, 1.6])
def test_within_a_level_of_pillow(shrink: float, filter_: int) -> None:
    rng = np.random.default_rng(int(shrink * 100))
    h, w = (int(v) for v in rng.integers(20, 90, 2))
    image = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)  # noise: no smoothness hides an error
    tfm = T.ResizeTransform(h, w, max(1, round(h * shrink)), max(1, round(w * shrink)), filter_)
    found, exact = resize_image(image, tfm).astype(int), resize_image(image, tfm, native=False)
    np.testing.assert_array_equal(exact, tfm.apply_image(image))
    # Each of the two passes rounds to whole levels.
    assert np.abs(found - exact).max() <= 2
    assert np.abs(found - exact).mean() < 0.02


def test_as_near_to_float64_as_pillow() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (120, 160, 3)).astype(np.uint8)
    tfm = T.ResizeTransform(120, 160, 80, 107)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    true = torch.nn.functional.interpolate(planes, (80, 107), mode="bilinear", antialias=True)
    true = true[0].permute(1, 2, 0).numpy()
    native, pillow = (np.abs(resize_image(image, tfm, flag) - true) for flag in (True, False))
    assert native.max() <= 1.01
    assert native.mean() < pillow.mean() * 1.02


def test_views_and_one_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    tfm = T.ResizeTransform(30, 40, 13, 17)
    turned = image[:, ::-1, ::-1]
    np.testing.assert_array_equal(resize_image(turned, tfm), resize_image(turned.copy(), tfm))
    turned.flags.writeable = False  # as Pillow's are
    np.testing.assert_array_equal(resize_image(turned, tfm), resize_image(turned.copy(), tfm))
    dot = resize_image(image[:1, :1], T.ResizeTransform(1, 1, 1, 1))
    np.testing.assert_array_equal(dot, image[:1, :1])
    spread = resize_image(image[:1, :1], T.ResizeTransform(1, 1, 3, 5))
    np.testing.assert_array_equal(spread, np.broadcast_to(image[:1, :1], (3, 5, 3)))


@pytest.mark.parametrize("kind", ["grey", "float", "nearest", "four"])
def test_the_rest_is_resized_as_ever(kind: str) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (30, 40, 4 if kind == "four" else 3)).astype(np.uint8)
    image = image[..., :1] if kind == "grey" else image
    image = image.astype(np.float32) if kind == "float" else image
    tfm = T.ResizeTransform(30, 40, 11, 23, Image.Resampling.NEAREST if kind == "nearest" else BILINEAR)
    np.testing.assert_array_equal(resize_image(image, tfm), tfm.apply_image(image))


def test_a_picture_at_a_fraction_gets_the_whole_ones_size() -> None:
    image = np.random.default_rng(2).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    tfm = T.ResizeTransform(240, 320, 48, 64)
    for native in (True, False):
        assert resize_image(image, tfm, native).shape == (48, 64, 3)
