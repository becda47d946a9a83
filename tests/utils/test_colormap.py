"""The colormap's formats, and that its colors can be told apart."""

from __future__ import annotations

import numpy as np
import pytest

from cardamage.utils.colormap import colormap, random_color, random_colors


def test_formats() -> None:
    rgb = colormap(rgb=True)
    assert rgb.dtype == np.float32
    assert rgb.shape[1] == 3
    assert rgb.max() <= 255
    np.testing.assert_array_equal(colormap()[:, ::-1], rgb)
    np.testing.assert_allclose(colormap(rgb=True, maximum=1), rgb / 255, rtol=1e-6)
    with pytest.raises(ValueError, match="1 or 255, not 2"):
        colormap(maximum=2)


def test_colors_differ() -> None:
    colors = colormap()
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 1e3 * np.eye(len(colors))
    assert distances.min() > 30
    assert distances[:8, :8].min() > 60


def test_random() -> None:
    known = {tuple(color) for color in colormap()}
    assert tuple(random_color()) in known
    assert len({tuple(color) for color in random_colors(len(known))}) == len(known)
    assert len(random_colors(100)) == 100
    assert random_colors(0) == []
