"""Colors of a padded batch equal torchvision's, picture by picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torchvision.transforms.v2 import functional

from cardamage.layers.color import (
    ColorJitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from cardamage.utils.compiling import Compiler, compiling

SIZES = [(9, 12), (12, 7), (1, 1), (12, 12)]


def _batch(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    batch = torch.zeros(4, 3, 12, 12)
    for picture, (height, width) in zip(batch, SIZES, strict=True):
        picture[:, :height, :width] = torch.randint(0, 256, (3, height, width), generator=generator)
        picture[:, 0, 0] = picture[0, 0, 0]  # a gray pixel, which has no hue
    batch[3, :, 1:3] = torch.tensor([0.0, 255]).view(1, 2, 1)  # black and white
    return batch


def _wanted(name: str, picture: torch.Tensor, factor: float) -> torch.Tensor:
    return getattr(functional, name)(picture / 255, factor) * 255


@pytest.mark.parametrize(
    ("name", "function", "factors"),
    [
        ("adjust_brightness", adjust_brightness, [0.0, 0.7, 1.0, 1.8]),
        ("adjust_contrast", adjust_contrast, [0.0, 0.7, 1.0, 1.8]),
        ("adjust_saturation", adjust_saturation, [0.0, 0.7, 1.0, 1.8]),
        ("adjust_hue", adjust_hue, [-0.5, 0.13, 0.0, 0.5]),
    ],
)
def test_each_step_equals_torchvision(name: str, function: Any, factors: list[float]) -> None:
    batch = _batch()[3:].expand(4, 3, 12, 12).contiguous()
    found = function(batch, torch.tensor(factors))
    for picture, factor in zip(found, factors, strict=True):
        torch.testing.assert_close(picture, _wanted(name, batch[0], factor), atol=2e-3, rtol=0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_padded_batches_equal_torchvision_on_each_picture(seed: int, reverse: bool) -> None:
    batch = _batch(seed) + 0  # padding of 0 ...
    batch[0, :, 9:] = 77.0  # ... and of something else
    jitter = ColorJitter(0.6, (0.5, 1.6), (0.4, 1.7), (0.3, 1.9), (-0.4, 0.4), reverse)
    torch.manual_seed(seed)
    found = jitter(batch, torch.tensor(SIZES))
    torch.manual_seed(seed)
    changed, factors = jitter.draw(4, torch.device("cpu"))
    assert 0 < changed.sum() < 4
    for n, (height, width) in enumerate(SIZES):
        wanted = batch[n].clone()
        if changed[n]:
            picture = batch[n, :, :height, :width].flip(0) if reverse else batch[n, :, :height, :width]
            for name, factor in zip(
                ("brightness", "contrast", "saturation", "hue"), factors[:, n], strict=True
            ):
                picture = _wanted(f"adjust_{name}", picture, float(factor))
            wanted[:, :height, :width] = picture.flip(0) if reverse else picture
            assert not torch.equal(wanted, batch[n])
            torch.testing.assert_close(found[n], wanted, atol=2e-2, rtol=0)
        else:
            assert torch.equal(found[n], wanted)
        assert torch.equal(found[n, :, height:], batch[n, :, height:])
        assert torch.equal(found[n, :, :, width:], batch[n, :, :, width:])


def test_whole_numbers_and_full_pictures() -> None:
    batch = _batch()[3:].byte()
    jitter = ColorJitter(1.0, brightness=(0.5, 0.5), contrast=(2.0, 2.0))
    wanted = _wanted("adjust_contrast", _wanted("adjust_brightness", batch[0].float(), 0.5), 2.0)
    torch.testing.assert_close(jitter(batch)[0], wanted, atol=2e-3, rtol=0)
    sizes = torch.tensor([[12, 12]])
    torch.testing.assert_close(jitter(batch, sizes), jitter(batch), atol=2e-3, rtol=0)


def test_draws_keep_to_their_ranges_and_come_again() -> None:
    jitter = ColorJitter(0.25, (0.5, 0.6), (0.7, 0.8), (0.9, 1.0), (-0.2, -0.1))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    changed, factors = jitter.draw(4000, torch.device("cpu"))
    assert 0.2 < changed.float().mean() < 0.3
    for row, (low, high) in zip(factors, ((0.5, 0.6), (0.7, 0.8), (0.9, 1.0), (-0.2, -0.1)), strict=True):
        assert low <= row.min() < low + 0.01
        assert high - 0.01 < row.max() <= high
    torch.set_rng_state(state)
    again = jitter.draw(4000, torch.device("cpu"))
    assert torch.equal(again[0], changed)
    assert torch.equal(again[1], factors)


def test_compiled_as_one_part() -> None:
    jitter = ColorJitter(0.6, (0.5, 1.6), (0.4, 1.7), (0.3, 1.9), (-0.4, 0.4), reverse=True)
    torch.manual_seed(3)
    wanted = jitter(_batch(), torch.tensor(SIZES))
    compiler = Compiler("aot_eager")
    torch.manual_seed(3)
    with compiling(compiler):
        found = jitter(_batch(), torch.tensor(SIZES))
    assert not compiler.broken
    torch.testing.assert_close(found, wanted)


def test_the_host_never_waits_for_the_device() -> None:
    """Fake tensors have no values: any look at one would raise, and so would mixing devices."""
    jitter = ColorJitter(0.5, (0.5, 1.5), (0.5, 1.5), (0.5, 1.5), (-0.1, 0.1), reverse=True)
    with FakeTensorMode():
        batch = torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="cuda")
        sizes = torch.zeros(2, 2, dtype=torch.int64, device="cuda")
        found = jitter(batch, sizes)
    assert (found.device.type, found.dtype, found.shape) == ("cuda", torch.float32, (2, 3, 8, 8))
