from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.errors import ConfigValueError
from cardamage.modeling.anchor_generator import DefaultAnchorGenerator


def _reference(
    sizes: list[float], ratios: list[float], stride: int, offset: float, grid: tuple[int, int]
) -> np.ndarray:
    boxes = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            x, y = (column + offset) * stride, (row + offset) * stride
            for size in sizes:
                for ratio in ratios:
                    w, h = size / ratio**0.5, size * ratio**0.5
                    boxes.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return np.array(boxes)


@pytest.mark.parametrize("offset", [0.0, 0.5, 0.3])
@pytest.mark.parametrize("grids", [[(1, 1), (1, 1)], [(3, 5), (2, 3)]])
def test_anchors_of_every_cell(offset: float, grids: list[tuple[int, int]]) -> None:
    sizes, ratios, strides = [[32.0, 48.0], [64.0]], [[0.5, 1.0, 3.0]], [4, 16]
    generator = DefaultAnchorGenerator(sizes=sizes, aspect_ratios=ratios, strides=strides, offset=offset)
    maps = [torch.zeros(2, 1, *grid) for grid in grids]
    found = generator(maps)
    assert generator.num_anchors == [6, 3]
    for level, (anchors, grid) in enumerate(zip(found, grids, strict=True)):
        expected = _reference(sizes[level], ratios[0], strides[level], offset, grid)
        np.testing.assert_allclose(anchors.tensor.numpy(), expected, rtol=1e-6, atol=1e-4)
    assert [a.tensor.data_ptr() for a in generator(maps)] == [a.tensor.data_ptr() for a in found]


def test_one_list_serves_all_levels_and_nothing_is_saved() -> None:
    flat = DefaultAnchorGenerator(sizes=[8.0, 16.0], aspect_ratios=[1.0], strides=[4, 8, 16])
    assert flat.num_cell_anchors == [2, 2, 2]
    assert dict(flat.state_dict()) == {}
    assert [name for name, _ in flat.named_buffers()] == [f"cell_anchors.{i}" for i in range(3)]


@pytest.mark.parametrize(
    ("sizes", "offset"), [([], 0.5), ([[8.0], [16.0]], 0.5), ([8.0], 1.0), ([8.0], -0.1)]
)
def test_bad_values_are_refused(sizes: list, offset: float) -> None:
    with pytest.raises(ConfigValueError, match=r"MODEL\.ANCHOR_GENERATOR"):
        DefaultAnchorGenerator(sizes=sizes, aspect_ratios=[1.0], strides=[4, 8, 16], offset=offset)


@pytest.mark.parametrize("used", [False, True])
def test_scripted_anchors_follow_the_maps_sizes(used: bool) -> None:
    generator = DefaultAnchorGenerator(sizes=[[32.0], [64.0]], aspect_ratios=[[0.5, 1.0]], strides=[4, 16])
    if used:
        generator([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1)])
    scripted = torch.jit.script(generator)
    for grids in ([(3, 5), (2, 3)], [(1, 1), (4, 2)]):
        maps = [torch.zeros(2, 1, *grid) for grid in grids]
        for found, expected in zip(scripted(maps), generator(maps), strict=True):
            assert torch.equal(found.tensor, expected.tensor)


def test_maps_without_a_stride_are_refused() -> None:
    generator = DefaultAnchorGenerator(sizes=[32.0], aspect_ratios=[1.0], strides=[4, 16])
    with pytest.raises(ValueError, match="1 feature maps came where 2"):
        generator([torch.zeros(1, 1, 3, 5)])
