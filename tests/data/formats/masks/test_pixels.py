"""Run lengths and regions, against those of pycocotools."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardamage.data.formats.masks.pixels import regions, run_lengths
from cardamage.errors import DataError
from tests.support.drawn_masks import text_rle


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 25), st.integers(1, 25))
def test_run_lengths_are_those_of_pycocotools(seed: int, count: int, height: int, width: int) -> None:
    labels = np.random.default_rng(seed).integers(0, count + 1, (height, width)).astype(np.int32)
    expected = [text_rle(labels == number) for number in range(1, count + 1)]
    assert run_lengths(labels, count, "x") == expected


def test_run_lengths_of_a_large_mask() -> None:
    labels = np.zeros((3000, 4000), dtype=np.uint8)
    labels[:, 1397:1400], labels[10:2990, 2000:3999] = 1, 2
    for number, rle in enumerate(run_lengths(labels, 2, "x"), start=1):
        assert rle == text_rle(labels == number)
    noise = np.random.default_rng(0).integers(0, 2, (3000, 4000)).astype(np.uint8)
    with pytest.raises(DataError, match="The mask x has more than 4,194,304 runs; is it a picture?"):
        run_lengths(noise, 1, "x")


def test_regions_touch_at_corners_too() -> None:
    values = np.array([[1, 0, 2, 2], [0, 1, 0, 0], [0, 0, 0, 2]], dtype=np.uint8)
    areas = [(value, int(mask_util.area(rle))) for value, rle in regions(values, [1, 2], "x")]
    assert areas == [(1, 2), (2, 2), (2, 1)]
    with pytest.raises(DataError, match="The mask x has more than 20000 regions; is it a picture?"):
        regions((np.indices((300, 300)) % 2 == 0).all(axis=0).astype(np.uint8), [1], "x")
