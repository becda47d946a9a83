"""A mask given one way is had the other way."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.utils.visualizer import GenericMask

SIZE = (20, 30)


def _ring() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[4:16, 5:25] = 1
    mask[8:12, 10:20] = 0
    return mask


@pytest.mark.parametrize("kind", ["array", "bool", "rle", "uncompressed"])
def test_pixels_of_every_kind(kind: str) -> None:
    ring = _ring()
    runs = np.flatnonzero(np.diff(ring.T.reshape(-1), prepend=0)).tolist()
    given = {
        "array": ring * 255,
        "bool": ring.astype(bool),
        "rle": mask_util.encode(np.asfortranarray(ring)),
        "uncompressed": {"size": list(SIZE), "counts": np.diff([0, *runs, ring.size]).tolist()},
    }[kind]
    mask = GenericMask(given, *SIZE)
    assert np.array_equal(mask.mask, ring)
    assert mask.area() == ring.sum()
    assert mask.has_holes
    assert len(mask.polygons) == 2
    outer = max(mask.polygons, key=lambda p: np.ptp(p[0::2]))
    assert (outer[0::2].min(), outer[0::2].max(), outer[1::2].min(), outer[1::2].max()) == (
        5.5,
        24.5,
        4.5,
        15.5,
    )


def test_polygons_are_drawn() -> None:
    square = [3, 2, 9, 2, 9, 8, 3, 8]
    mask = GenericMask([square], *SIZE)
    assert mask.mask.shape == SIZE
    assert mask.area() == 36
    assert mask.bbox().tolist() == [3, 2, 9, 8]
    assert not mask.has_holes
    assert mask.polygons[0].tolist() == square


def test_empty_masks() -> None:
    for empty in (np.zeros(SIZE), []):
        mask = GenericMask(empty, *SIZE)
        assert mask.polygons == []
        assert mask.area() == 0
        assert not mask.has_holes
        assert mask.bbox().tolist() == [0, 0, 0, 0]


def test_wrong_masks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size \(3, 4\), the picture of \(20, 30\)"):
        GenericMask(np.zeros((3, 4)), *SIZE)
    with pytest.raises(ValueError, match="not str"):
        GenericMask("mask.png", *SIZE)
