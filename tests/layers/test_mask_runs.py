"""Run lengths written for many masks at once are pycocotools'."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.layers.mask_runs import (
    encode_positions,
    positions_of_changes,
    rles_from_positions,
    window_positions,
)


def _changes(picture: np.ndarray) -> np.ndarray:
    flat = np.concatenate([[False], picture.T.ravel()])
    return np.flatnonzero(flat[1:] != flat[:-1])


def _encode(pictures: list[np.ndarray]) -> list[dict[str, object]]:
    return [mask_util.encode(np.asfortranarray(picture, dtype=np.uint8)) for picture in pictures]


def _pictures(seed: int) -> list[np.ndarray]:
    """Masks of several sizes: noise, blocks, empty and full ones."""
    rng = np.random.default_rng(seed)
    pictures = []
    for share in (0.5, 0.0, 1.0, 0.02, 0.98, 0.5):
        picture = rng.random(rng.integers(1, 40, 2)) < share
        pictures.append(picture.repeat(rng.integers(1, 30), axis=seed % 2))
    return pictures


@pytest.mark.parametrize("seed", range(12))
def test_masks_of_any_size(seed: int) -> None:
    pictures = _pictures(seed)
    parts = [_changes(picture) for picture in pictures]
    counts = np.array([len(part) for part in parts])
    rles = rles_from_positions(np.concatenate(parts), counts, [p.shape for p in pictures])
    assert rles == _encode(pictures)


@pytest.mark.parametrize("seed", range(6))
def test_changes_found_in_windows_and_in_whole_pictures(seed: int) -> None:
    pictures = _pictures(seed)
    expected = _encode(pictures)
    windows = [window_positions(p.T, 0, 0, p.shape[0]) for p in pictures]
    assert encode_positions(windows, [p.shape for p in pictures]) == expected
    whole = [positions_of_changes(torch.from_numpy(p.T)[None])[0] for p in pictures]
    assert encode_positions(whole, [p.shape for p in pictures]) == expected


def test_a_pixel_a_huge_picture_and_none() -> None:
    corner = np.zeros((20000, 1500), dtype=bool)
    corner[-1, -1] = True
    pictures = [corner, ~corner, np.ones((1, 1), bool), np.zeros((1, 1), bool), np.zeros((0, 4), bool)]
    parts = [_changes(picture) for picture in pictures]
    assert encode_positions(parts, [p.shape for p in pictures]) == _encode(pictures)
    assert encode_positions([], []) == []
    assert rles_from_positions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), []) == []


def test_long_numbers_survive() -> None:
    """Numbers that need every length of text, of both signs, read back by pycocotools."""
    height, width = 1 << 15, 1 << 15
    ends = np.cumsum([16, 15, 500, 17, 1 << 14, 511, 1 << 20, 3, 1 << 25, 1 << 9, 1 << 28])
    rles = rles_from_positions(ends, np.array([len(ends)]), [(height, width)])
    assert mask_util.area(rles).tolist() == [int(np.diff(ends)[::2].sum()) + height * width - int(ends[-1])]
