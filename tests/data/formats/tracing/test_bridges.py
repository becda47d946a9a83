"""Parts joined by bridges, and apart again; drawn by pycocotools, they are what they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cardamage.data.annotations import outlines
from cardamage.data.formats.tracing.bridges import joined, parted
from cardamage.data.formats.tracing.mask_outlines import mask_outlines, simplify
from tests.support.drawn_masks import drawn


def edges(ring: np.ndarray) -> frozenset[tuple[tuple[float, ...], ...]]:
    """The sides of an outline, wherever it begins and whichever way it goes."""
    ends = np.roll(ring, -1, axis=0)
    return frozenset(
        tuple(sorted((tuple(a), tuple(b)))) for a, b in zip(ring.tolist(), ends.tolist(), strict=True)
    )


coordinates = st.integers(0, 500).map(lambda n: n / 10)
parts = st.lists(
    st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=7), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=100)
@given(parts)
def test_joined_parts_draw_what_they_draw_apart(shapes: list[list[tuple[float, float]]]) -> None:
    rings = [np.array(shape) for shape in shapes]
    odd = np.zeros((50, 50), dtype=bool)
    for ring in rings:
        odd ^= drawn([ring], 50, 50)
    whole = joined(rings)
    assert len(whole) == sum(map(len, rings)) + (2 * len(rings) - 2 if len(rings) > 1 else 0)
    np.testing.assert_array_equal(drawn([whole], 50, 50), odd)


def test_bridges_are_between_the_nearest_points_and_areas_add_up() -> None:
    left, right = outlines.rectangle((0, 0), (4, 4)), outlines.rectangle((6, 0), (9, 4))[::-1]
    ring = joined([left, right])
    assert outlines.area(ring) == 16 + 12
    steps = np.abs(np.diff(np.concatenate([ring, ring[:1]]), axis=0)).sum(axis=1)
    assert steps.sum() == 16 + 14 + 2 * 2


@settings(deadline=None, max_examples=200)
@given(parts)
def test_apart_they_draw_what_any_outline_drew(shapes: list[list[tuple[float, float]]]) -> None:
    whole = joined([np.array(shape) for shape in shapes])
    np.testing.assert_array_equal(drawn(parted(whole, 50, 50), 50, 50), drawn([whole], 50, 50))


@settings(deadline=None, max_examples=150)
@given(arrays(bool, (9, 11)), st.sampled_from([0.0, 0.8]))
def test_apart_masks_stay_what_they_are(mask: np.ndarray, tolerance: float) -> None:
    rings = simplify(mask_outlines(mask), tolerance)
    if not rings:
        return
    whole = joined(rings)
    again = parted(whole, 9, 11)
    np.testing.assert_array_equal(drawn(again, 9, 11), drawn([whole], 9, 11))
    assert len(again) <= len(rings)


RECTANGLES = [outlines.rectangle((x, y), (x + 4, y + 3)) for x, y in ((1, 1), (8, 1.5), (20, 30), (9, 12))]
FRAME = mask_outlines(np.pad(np.pad(np.zeros((4, 4)), 3, constant_values=1), 12))[0]


@pytest.mark.parametrize(
    "rings",
    [
        RECTANGLES[:2],
        RECTANGLES,
        [RECTANGLES[0], RECTANGLES[1][::-1], RECTANGLES[2]],
        [RECTANGLES[0], FRAME, RECTANGLES[2]],
        # An island in the frame's hole, before and behind it.
        [outlines.rectangle((16, 16), (18, 18)), FRAME],
        [FRAME, outlines.rectangle((16, 16), (18, 18)), RECTANGLES[0]],
        # Two that touch at a corner, so that the bridge has no length.
        [outlines.rectangle((1, 1), (4, 4)), outlines.rectangle((4, 4), (9, 9))],
    ],
)
@pytest.mark.parametrize("start", [0, 3, 7])
def test_the_very_parts_come_back(rings: list[np.ndarray], start: int) -> None:
    again = parted(np.roll(joined(rings), start, axis=0), 40, 50)
    assert sorted(map(sorted, map(edges, again))) == sorted(map(sorted, map(edges, rings)))


def test_parts_that_go_round_either_way() -> None:
    """As Ultralytics joins them: from the nearest point of the one to that of the other, and back."""
    left, right = RECTANGLES[0], RECTANGLES[1][::-1]
    ring = np.concatenate([left, left[:1], right, right[:1]])
    assert sorted(map(sorted, map(edges, parted(ring, 40, 50)))) == sorted(
        map(sorted, map(edges, [left, right]))
    )


@pytest.mark.parametrize(
    "ring",
    [
        FRAME,
        RECTANGLES[0],
        np.concatenate([RECTANGLES[0], RECTANGLES[0][:1]]),
        # A spike, a line, an eight, and what is no outline in the image.
        np.array([[1, 1], [9, 1], [12, 1], [9, 1], [9, 9]]),
        np.array([[1, 1], [9, 1], [1, 1]]),
        np.array([[1, 1], [9, 9], [9, 1], [1, 9]]),
        joined([RECTANGLES[0], RECTANGLES[1] + 1e6]),
        np.full((4, 2), np.nan),
        np.array([[1, 1], [np.inf, 1], [1, 1], [1, np.inf]]),
    ],
)
def test_what_has_no_parts_stays_as_it_is(ring: np.ndarray) -> None:
    (same,) = parted(ring, 40, 50)
    assert same is ring


def test_parts_that_overlap_stay_joined() -> None:
    """Joined they are where an odd number of them is; apart they would be where any is."""
    ring = joined([outlines.rectangle((1, 1), (9, 9)), outlines.rectangle((5, 5), (15, 15))])
    assert len(parted(ring, 40, 50)) == 1


def test_thousands_of_bridges_take_no_time() -> None:
    mask = np.zeros((400, 400), dtype=bool)
    mask[::4, ::4] = True
    rings = mask_outlines(mask)
    assert len(parted(joined(rings), 400, 400)) == len(rings) == 10_000
