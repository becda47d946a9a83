"""The kernels in Triton compute what the plain operations do, as far as Triton's interpreter can tell.

Triton reads whether to interpret when it is imported, so the comparisons run in a process of their own; where
there is a GPU, they run on it, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.layers import encode_pasted_masks, greedy_keep, paste_masks_in_image, soft_nms_scores
from cardamage.layers.kernels import support
from cardamage.layers.mask_runs import encode_positions


def _boxes(groups: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes with equal ones, ones without area and ones that are not numbers among them; which to use."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(groups, size, 2, generator=generator) * 60
    boxes = torch.cat((corners, corners + torch.rand(groups, size, 2, generator=generator) * 40), dim=2)
    boxes = (boxes / 6).round() if seed % 2 else boxes
    alive = torch.rand(groups, size, generator=generator) < 0.8
    boxes[~alive & (torch.rand(groups, size, generator=generator) < 0.3)] = torch.nan
    return boxes, alive


def _masks(number: int, cells: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks with boxes inside, across and outside the image, and one that is not a number."""
    generator = torch.Generator().manual_seed(number)
    masks = torch.rand(4, cells, cells, generator=generator)
    masks[:2] = masks[:2].round()
    corners = torch.rand(4, 2, generator=generator) * torch.tensor([width, height]) - 5
    boxes = torch.cat((corners, corners + torch.rand(4, 2, generator=generator) * 40 + 1), dim=1)
    boxes[0] = torch.tensor([-9.0, -9, width + 9, height + 9])
    boxes[1] = boxes[1].round()
    boxes[3] = torch.nan
    return masks, boxes


def _compare_greedy(device: str, scale: int) -> None:
    import cardamage.layers.kernels.nms as kernels

    kernels._MAX_BYTES = scale * 2**10
    for seed, (groups, size) in enumerate([(2, 33 * scale), (1, 140 * scale)]):
        boxes, alive = _boxes(groups, size, seed)
        for centres in (False, True):
            keep = kernels.launch_greedy_keep(boxes.to(device), alive.to(device), 0.5, centres)
            assert torch.equal(keep.cpu(), greedy_keep(boxes, alive, 0.5, centres))


def _compare_soft(device: str, scale: int) -> None:
    from cardamage.layers.kernels.soft_nms import launch_soft_nms

    for seed, (groups, size) in enumerate([(1, 33 * scale), (2, 9 * scale)]):
        boxes, valid = _boxes(groups, size, seed)
        scores = torch.rand(groups, size, generator=torch.Generator().manual_seed(seed))
        given = boxes.to(device), scores.to(device), valid.to(device)
        for method in ("linear", "gaussian"):
            expected = soft_nms_scores(boxes, scores, valid, method, 0.4, 0.3, 0.05)
            found = launch_soft_nms(*given, method == "gaussian", 0.4, 0.3, 0.05)
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-7)


def _compare_masks(device: str, scale: int) -> None:
    import cardamage.layers.kernels.masks as kernels

    kernels._WALK_ROWS = 16
    for number, (cells, *sides) in enumerate([(28, 37, 45), (1, 20, 130)]):
        shape = (sides[0] * scale, sides[1] * scale)
        masks, boxes = _masks(number, cells, *shape)
        pasted = paste_masks_in_image(masks, boxes, shape)
        assert pasted.any()
        given = masks.to(device), boxes.to(device)
        assert torch.equal(kernels.paste(*given, *shape, 0.5).cpu(), pasted)
        changes = kernels.find_changes(*given, [shape] * len(masks), 0.5)
        rles = encode_positions(changes, [shape] * len(masks))
        assert rles == encode_pasted_masks(masks, boxes, shape).rles


def _fuse_as_a_gpu_does() -> None:
    """The interpreter rounds between a product and its addition, and in Triton 3.2 stores sums as int64."""
    import numpy as np
    import triton
    from triton.runtime.interpreter import InterpreterBuilder, ReduceOps, TensorHandle

    def fused(builder: object, a: TensorHandle, b: TensorHandle, c: TensorHandle) -> TensorHandle:
        wide = a.data.astype("float64") * b.data + c.data
        return TensorHandle(wide.astype(a.data.dtype), c.dtype.scalar)

    def total(reduction: Any, value: Any) -> Any:
        data = value.handle.data
        sums = np.sum(data, axis=reduction.axis, keepdims=reduction.keep_dims, dtype=data.dtype)
        return reduction.to_tensor(sums, value.dtype)

    InterpreterBuilder.create_fma = fused
    if triton.__version__.startswith("3.2."):
        ReduceOps.sum = total


COMPARISONS: list[Callable[[str, int], None]] = [_compare_greedy, _compare_soft, _compare_masks]


def test_kernels_equal_plain_operations() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [compare.__name__ for compare in COMPARISONS]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("scale", [1, 7])
def test_kernels_on_a_gpu(compare: Callable[[str, int], None], scale: int) -> None:
    compare("cuda", scale)


def test_a_kernel_that_fails_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(support, "_failed", set())
    tried = []

    def fail() -> None:
        tried.append(1)
        raise TypeError("no such instruction")

    cpu = torch.device("cpu")
    assert support.attempt("counting", cpu, lambda: 7) == 7
    with pytest.warns(RuntimeWarning, match=r"kernel of adding failed \(TypeError: no such instruction\)"):
        assert support.attempt("adding", cpu, fail) is None
    assert support.attempt("adding", cpu, fail) is None
    assert support.attempt("counting", cpu, lambda: 7) == 7
    assert len(tried) == 1
    monkeypatch.delenv("TRITON_INTERPRET")
    assert support.attempt("counting", cpu, lambda: 7) is None


if __name__ == "__main__":
    _fuse_as_a_gpu_does()
    # The public functions then use plain operations, to compare with.
    support._failed.update(("greedy suppression", "soft suppression"))
    support._failed.update(("pasting masks", "finding masks' outlines"))
    for compare in COMPARISONS:
        compare("cpu", 1)
        print(compare.__name__)
