from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cardamage.data.annotations import outlines
from cardamage.data.formats.tracing.mask_outlines import mask_outlines, simplify
from tests.support.drawn_masks import drawn


def assert_exact(mask: np.ndarray) -> list[np.ndarray]:
    rings = mask_outlines(mask)
    np.testing.assert_array_equal(drawn(rings, *mask.shape), mask != 0)
    for ring in rings:
        assert ring.dtype == np.float64
        assert ring.shape[1] == 2
        np.testing.assert_array_equal(outlines.as_points(ring), ring)
    return rings


masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


@settings(deadline=None, max_examples=150)
@given(masks)
def test_drawn_again_it_is_the_mask(mask: np.ndarray) -> None:
    rings = assert_exact(mask)
    # One ring for each region of pixels that share edges, and their areas are the pixels of these.
    areas = sorted(outlines.area(ring) for ring in rings)
    assert areas == sorted(float(size) for size in region_sizes(mask))


def region_sizes(mask: np.ndarray) -> list[int]:
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    sizes = []
    while left:
        stack, size = [left.pop()], 0
        while stack:
            y, x = stack.pop()
            size += 1
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            stack += near
        sizes.append(size)
    return sizes


def nested(size: int) -> np.ndarray:
    distance = np.minimum.outer(*[np.minimum(np.arange(size), np.arange(size)[::-1])] * 2)
    return distance % 2 == 0


CASES = {
    "empty": np.zeros((3, 4), dtype=bool),
    "no pixels": np.zeros((0, 0), dtype=bool),
    "one pixel": np.eye(1, dtype=bool),
    "full": np.ones((5, 7), dtype=bool),
    "diagonal": np.eye(6, dtype=bool),
    "other diagonal": np.eye(6, dtype=bool)[::-1],
    "checkerboard": np.indices((9, 8)).sum(axis=0) % 2 == 0,
    "nested rings": nested(17),
    "grid of holes": (np.indices((11, 13)) % 2 == 1).all(axis=0) ^ True,
    "two holes below each other": np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]]),
    "holes below one edge": np.array([[1] * 7, [1, 0, 1, 0, 1, 0, 1], [1] * 7]),
    "last row and column": np.pad(np.ones((2, 2), dtype=bool), ((3, 0), (4, 0))),
}


@pytest.mark.parametrize("mask", CASES.values(), ids=list(CASES))
def test_particular_masks(mask: np.ndarray) -> None:
    if mask.size:
        assert_exact(mask)
    else:
        assert mask_outlines(mask) == []


def test_one_pixel_and_a_hole_by_hand() -> None:
    (ring,) = mask_outlines(np.pad(np.ones((1, 1)), ((2, 1), (3, 0))))
    assert ring.tolist() == [[3, 2], [4, 2], [4, 3], [3, 3]]
    (ring,) = mask_outlines(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]))
    hole = [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]
    assert ring.tolist() == [[0, 0], [1, 0], *hole, [1, 0], [3, 0], [3, 3], [0, 3]]


@pytest.mark.parametrize("kind", ["bytes", "text", "list"])
def test_run_length_masks(kind: str) -> None:
    mask = nested(11)
    rle: dict[str, Any] = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    if kind == "text":
        rle["counts"] = rle["counts"].decode()
    if kind == "list":
        flat = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel(order="F"), [0]]).astype(int)))
        rle = {"size": [11, 11], "counts": np.diff(np.concatenate([[0], flat, [121]])).tolist()}
    np.testing.assert_array_equal(drawn(mask_outlines(rle), 11, 11), mask)


def test_a_photo_of_12_megapixels_with_noise() -> None:
    random = np.random.default_rng(5)
    y, x = np.ogrid[:3000, :4000]
    mask = ((y - 1500) ** 2 + (x - 2000) ** 2 < 1200**2) & (((y - 1500) ** 2 + (x - 2000) ** 2) > 300**2)
    mask[random.integers(0, 3000, 3000), random.integers(0, 4000, 3000)] ^= True
    assert_exact(mask)


@settings(deadline=None, max_examples=50)
@given(masks, st.sampled_from([0.5, 1.0, 2.5]))
def test_simplified_outlines_stay_near(mask: np.ndarray, tolerance: float) -> None:
    rings = mask_outlines(mask)
    for before, after in zip(rings, simplify(rings, tolerance), strict=True):
        assert 3 <= len(after) <= len(before)
        assert outlines.area(after) > 0
        ends = np.roll(after, -1, axis=0)
        for point in before:
            along = ends - after
            share = ((point - after) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-12)
            nearest = after + np.clip(share, 0, 1)[:, None] * along
            assert np.hypot(*(nearest - point).T).min() <= tolerance + 1e-9


def test_simplifying_keeps_bridges_without_width() -> None:
    y, x = np.ogrid[:200, :200]
    distance = np.hypot(y - 100, x - 100)
    mask = (distance < 90) & (distance > 30)
    (ring,) = mask_outlines(mask)
    (simpler,) = simplify([ring], 1.0)
    assert len(simpler) < len(ring) / 5
    again = drawn([simpler], 200, 200)
    assert (again & mask).sum() / (again | mask).sum() > 0.97
    assert simplify([ring], 0)[0] is ring
