from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.annotations.run_lengths import run_lengths


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_lengths_are_those_that_pycocotools_packed(share: float) -> None:
    generator = np.random.default_rng(int(share * 100))
    for height, width in [(1, 1), (3, 5), (200, 300), (1500, 2000)]:
        mask = (generator.random((height, width)) < share).astype(np.uint8)
        text = mask_util.encode(np.asfortranarray(mask))["counts"]
        flat = mask.flatten(order="F")
        changes = np.flatnonzero(np.diff(np.concatenate([[0], flat]))) if len(flat) else []
        expected = np.diff(np.concatenate([[0], changes, [len(flat)]]))
        np.testing.assert_array_equal(run_lengths(text), expected)
        np.testing.assert_array_equal(run_lengths(text.decode()), expected)


@pytest.mark.parametrize("text", ["é", "a b", "~", "0P", "o", b"\xff", "ooooooooooo0", "\x00"])
def test_damaged_texts(text: str) -> None:
    with pytest.raises(ValueError, match="ascii|character|number"):
        run_lengths(text)


def test_nothing_holds_no_runs() -> None:
    assert run_lengths("").shape == (0,)
