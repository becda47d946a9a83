"""Tags: their text, colors and places."""

from __future__ import annotations

import numpy as np
import pytest

from cardamage.visualization.colors import class_color, contrast, luminance, parse_color, shades
from cardamage.visualization.placement import TagPlacer
from cardamage.visualization.text import fit_text, render_tag, tag_size


def test_text_has_contrast_on_every_color() -> None:
    """WCAG asks for a ratio of 4.5."""
    rng = np.random.default_rng(0)
    for color in [*(class_color(i) for i in range(60)), *map(tuple, rng.integers(0, 256, (300, 3)).tolist())]:
        light, dark = sorted((luminance(color), luminance(contrast(color))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.2


def test_colors() -> None:
    assert parse_color("r") == parse_color("#ff0000") == parse_color((1.0, 0, 0)) == (255, 0, 0)
    assert luminance((255, 255, 255)) == pytest.approx(1)
    assert class_color(1, [[1, 2, 3], [4, 5, 6]]) == (4, 5, 6)
    assert len({class_color(i) for i in range(48)}) == 48
    first, second, other = shades([3, 3, 4])
    assert first == class_color(3)
    assert other == class_color(4)
    assert second != first


def test_tag_is_as_large_as_said_and_opaque() -> None:
    for text in ("dent 97%", "Ünïcödé", "Щит", "前灯", ""):
        tag = render_tag(text, 14, (10, 200, 40))
        assert tag.shape == (*reversed(tag_size(text, 14)), 4)
        assert tag[tag.shape[0] // 2, :, 3].min() > 200
        assert tag[0, 0, 3] < 128  # rounded


@pytest.mark.parametrize("width", [20, 60, 200, 2000])
def test_text_is_fitted(width: int) -> None:
    text, size = fit_text("a rather long class name 97%", 30, width)
    assert tag_size(text, size)[0] <= width
    assert size >= 8
    if width == 2000:
        assert (text, size) == ("a rather long class name 97%", 30)
    if width == 20:
        assert text.endswith("…")


@pytest.mark.parametrize("seed", range(5))
def test_tags_stay_inside_and_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    placer = TagPlacer(640, 480)
    covered = np.zeros((480, 640), int)
    for _ in range(25):
        x0, y0 = rng.uniform(-50, 600), rng.uniform(-50, 450)
        x, y = placer.place((x0, y0, x0 + rng.uniform(5, 300), y0 + rng.uniform(5, 300)), 90, 20)
        assert 0 <= x <= 640 - 90
        assert 0 <= y <= 480 - 20
        covered[y : y + 20, x : x + 90] += 1
    assert (covered > 1).sum() < 0.02 * (covered > 0).sum()


def test_first_choice_is_the_upper_left_corner() -> None:
    assert TagPlacer(640, 480).place((100, 100, 200, 200), 50, 20) == (100, 80)
    assert TagPlacer(640, 480).place((100, 5, 200, 200), 50, 20) == (100, 5)  # no room above


def test_tag_larger_than_the_picture() -> None:
    assert TagPlacer(30, 10).place((5, 5, 10, 10), 50, 20) == (0, 0)
