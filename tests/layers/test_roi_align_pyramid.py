"""Regions of several levels pooled with fixed shapes equal torchvision's of each level."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torchvision.ops import roi_align

from cardamage.layers.roi_align import PoolGeometry
from cardamage.layers.roi_align_pyramid import roi_align_pyramid

SCALES = (0.25, 0.125)
GEOMETRY = PoolGeometry((3, 4), SCALES, 0, True)
CASES = [(0, True, (3, 4)), (2, True, (2, 2)), (0, False, (4, 3))]


def _inputs(channels: int = 5) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, channels, size, size + 2, generator=generator) for size in (12, 6)]
    maps = [m.contiguous(memory_format=torch.channels_last) for m in maps]
    low = torch.rand(9, 2, generator=generator) * 30
    sides = torch.rand(9, 2, generator=generator) * 25
    rois = torch.cat([torch.arange(9)[:, None] % 2, low, low + sides], dim=1).float()
    rois[7, 1:] = torch.tensor([-9.0, -3.0, 80.0, 70.0])
    rois[8, 1:] = torch.tensor([5.0, 5.0, 5.0, 5.0])
    return maps, rois, torch.tensor([0, 1, 0, 1, 1, -1, 0, 1, 0])


def _expected(
    maps: list[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    samples: int,
    aligned: bool,
    size: tuple[int, int],
) -> torch.Tensor:
    total = rois.new_zeros((len(rois), maps[0].shape[1], *size))
    for level, scale in enumerate(SCALES):
        index = (levels == level).nonzero()[:, 0]
        total = total.index_add(0, index, roi_align(maps[level], rois[index], size, scale, samples, aligned))
    return total


def check(channels: int = 5, every: int = 1, device: str = "cpu") -> None:
    """Compare values and gradients; also run where Triton interprets its kernels, with every other region."""
    for samples, aligned, size in CASES:
        maps, rois, levels = _inputs(channels)
        maps = [m.to(device) for m in maps]
        rois, levels = rois[::every].to(device), levels[::every].to(device)
        results = []
        for ours in (True, False):
            leaves = [m.clone().requires_grad_() for m in maps]
            if ours:
                cells = roi_align_pyramid(leaves, rois, levels, PoolGeometry(size, SCALES, samples, aligned))
            else:
                cells = _expected(leaves, rois, levels, samples, aligned, size)
            weights = torch.randn(cells.shape, generator=torch.Generator().manual_seed(2)).to(device)
            (cells * weights).sum().backward()
            results.append((cells.detach(), [leaf.grad for leaf in leaves]))
        torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5, check_stride=False)


def test_plain_operations_equal_torchvision() -> None:
    check()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("channels", [5, 256, 300])
def test_kernels_on_a_gpu_equal_torchvision(channels: int) -> None:
    check(channels, device="cuda")


def test_half_precision_is_pooled_in_float32() -> None:
    maps, rois, levels = _inputs()
    found = roi_align_pyramid([m.bfloat16() for m in maps], rois, levels, GEOMETRY)
    expected = _expected([m.bfloat16().float() for m in maps], rois, levels, 0, True, (3, 4))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16())


def test_no_regions_give_nothing() -> None:
    maps, rois, levels = _inputs()
    assert roi_align_pyramid(maps, rois[:0], levels[:0], GEOMETRY).shape == (0, 5, 3, 4)


def test_operators_keep_their_promises() -> None:
    maps, rois, levels = _inputs()
    arguments = (maps, rois, levels, [3, 4], list(SCALES), 0, True)
    torch.library.opcheck(torch.ops.cardamage.roi_align_pyramid.default, arguments)


def test_kernels_equal_torchvision() -> None:
    pytest.importorskip("triton")
    # Triton decides on its first import whether it interprets.
    code = (
        "import warnings; warnings.simplefilter('error', RuntimeWarning)\n"
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from cardamage.layers.kernels import roi_align; roi_align._MAX_BLOCK = 2\n"
        "from test_roi_align_pyramid import check; check(3, every=2)\n"
    )
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
