"""Augmentations: what they draw, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardamage.data import transforms as T
from cardamage.errors import ConfigValueError

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)

EVERY: list[Callable[[], T.Augmentation]] = [
    lambda: T.ResizeShortestEdge((30, 60), 70),
    lambda: T.ResizeShortestEdge([20, 90], 100, "choice"),
    lambda: T.Resize(33),
    lambda: T.Resize((11, 22)),
    lambda: T.RandomResize([(10, 20), (30, 25)]),
    lambda: T.ResizeScale(0.1, 2.0, 50, 50),
    lambda: T.RandomFlip(0.5),
    lambda: T.RandomFlip(0.5, horizontal=False, vertical=True),
    lambda: T.RandomCrop("relative_range", (0.3, 0.3)),
    lambda: T.RandomCrop("relative", (0.5, 1.0)),
    lambda: T.RandomCrop("absolute", (30, 1000)),
    lambda: T.RandomCrop("absolute_range", (10, 70)),
    lambda: T.FixedSizeCrop((40, 100)),
    lambda: T.FixedSizeCrop((40, 100), pad=False),
    lambda: T.RandomRotation([-30, 30]),
    lambda: T.RandomRotation([0, 90], expand=False, center=(0.5, 0.2), sample_style="choice"),
    lambda: T.RandomExtent((0.5, 1.5), (0.2, 0.2)),
    lambda: T.RandomBrightness(0.5, 1.5),
    lambda: T.RandomContrast(0.5, 1.5),
    lambda: T.RandomSaturation(0.5, 1.5),
    lambda: T.RandomLighting(10.0),
    lambda: T.RandomApply(T.RandomFlip(1.0), 0.5),
    lambda: T.RandomCrop_CategoryAreaConstraint("relative", (0.5, 0.5), 0.7, 3),
    lambda: T.MinIoURandomCrop(),
]


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("count", [0, 3])
def test_image_boxes_and_labels_stay_together(make: Callable[[], T.Augmentation], count: int) -> None:
    boxes = np.tile(np.array([[10.0, 12.0, 40.0, 50.0]]), (count, 1))
    labels = np.random.default_rng(1).integers(0, 4, (60, 80)).astype(np.uint8)
    results = []
    for _ in range(2):
        np.random.seed(7)
        given_ = T.AugInput(IMAGE.copy(), boxes=boxes.copy(), sem_seg=labels.copy())
        transform = make()(given_)
        assert isinstance(transform, T.Transform)
        assert given_.sem_seg is not None
        assert given_.sem_seg.shape == given_.image.shape[:2]
        assert given_.boxes is not None
        assert given_.boxes.shape == (count, 4)
        np.testing.assert_array_equal(transform.apply_image(IMAGE.copy()), given_.image)
        results.append(given_)
    np.testing.assert_array_equal(results[0].image, results[1].image)
    np.testing.assert_array_equal(results[0].boxes, results[1].boxes)


def _round_half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000), st.integers(1, 1500), st.integers(1, 2000))
def test_shortest_edge_sizes_are_the_exact_ratio_rounded(h: int, w: int, short: int, limit: int) -> None:
    got = T.ResizeShortestEdge.get_output_shape(h, w, short, limit)
    scale = min(Fraction(short, min(h, w)), Fraction(limit, max(h, w)))
    exact = (h * scale, w * scale)
    for value, wanted in zip(got, exact, strict=True):
        if abs(wanted % 1 - Fraction(1, 2)) > Fraction(1, 10**6):  # floats decide ties
            assert value == max(1, _round_half_up(wanted))
        else:
            assert abs(value - wanted) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("h", "w", "short", "limit", "wanted"),
    [
        (480, 640, 800, 1333, (800, 1067)),
        (640, 480, 800, 1333, (1067, 800)),
        (1080, 1920, 800, 1333, (750, 1333)),
        (100, 100, 50, 1000, (50, 50)),
        (1, 5000, 800, 1333, (1, 1333)),
    ],
)
def test_shortest_edge_sizes(h: int, w: int, short: int, limit: int, wanted: tuple[int, int]) -> None:
    assert T.ResizeShortestEdge.get_output_shape(h, w, short, limit) == wanted


def test_shortest_edge_draws_from_its_range_or_choice_and_0_keeps_the_image() -> None:
    np.random.seed(0)
    drawn = {T.ResizeShortestEdge((5, 8), 1000).get_transform(IMAGE).new_h for _ in range(100)}
    assert drawn == {5, 6, 7, 8}
    drawn = {T.ResizeShortestEdge([5, 8], 1000, "choice").get_transform(IMAGE).new_h for _ in range(50)}
    assert drawn == {5, 8}
    assert isinstance(T.ResizeShortestEdge(0, 1000, "choice").get_transform(IMAGE), T.NoOpTransform)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(1, 1), (60, 80), (7, 200)])
def test_crops_are_within_the_image_and_of_the_size_asked(seed: int, shape: tuple[int, int]) -> None:
    np.random.seed(seed)
    h, w = shape
    image = np.zeros((h, w, 3), np.uint8)
    bounds = {
        ("relative", (0.5, 0.7)): ((max(1, int(h * 0.5 + 0.5)),) * 2, (max(1, int(w * 0.7 + 0.5)),) * 2),
        ("relative_range", (0.4, 0.6)): ((max(1, int(h * 0.4)), h), (max(1, int(w * 0.6)), w)),
        ("absolute", (20, 30)): ((min(20, h),) * 2, (min(30, w),) * 2),
        ("absolute_range", (5, 50)): ((min(5, h), min(50, h)), (min(5, w), min(50, w))),
    }
    for (kind, size), (heights, widths) in bounds.items():
        crop = T.RandomCrop(kind, size).get_transform(image)
        assert heights[0] <= crop.h <= heights[1]
        assert widths[0] <= crop.w <= widths[1]
        assert crop.apply_image(image).shape == (crop.h, crop.w, 3)


@pytest.mark.parametrize("shape", [(20, 20), (200, 30), (100, 300)])
def test_fixed_size_crop_always_gives_its_size(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    np.random.seed(0)
    transform = T.FixedSizeCrop((50, 60), pad_value=9, seg_pad_value=200).get_transform(image)
    out = transform.apply_image(image)
    assert out.shape == (50, 60, 3)
    labels = transform.apply_segmentation(np.zeros(shape, np.uint8))
    assert ((labels == 200) == (out[..., 0] == 9)).all()
    assert (labels == 200).any() == (shape[0] < 50 or shape[1] < 60)


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0, 1.7])
def test_color_blends_follow_their_formula(weight: float) -> None:
    image = IMAGE.astype(np.float64)
    others: list[tuple[Any, np.ndarray | float]] = [
        (T.RandomBrightness, 0.0),
        (T.RandomContrast, image.mean()),
        (T.RandomSaturation, (image @ np.array([0.299, 0.587, 0.114]))[..., None]),
    ]
    for kind, other in others:
        got = kind(weight, weight).get_transform(IMAGE).apply_image(IMAGE)
        wanted = np.clip(weight * image + (1 - weight) * other, 0, 255)
        assert np.abs(got - wanted).max() < 1.001  # uint8 cuts the fraction off
        assert got.dtype == np.uint8


def test_lighting_adds_one_color_everywhere() -> None:
    image = np.full((5, 6, 3), 100.0)
    np.random.seed(3)
    added = T.RandomLighting(5.0).get_transform(image).apply_image(image) - image
    assert np.ptp(added.reshape(-1, 3), axis=0).max() < 1e-9
    assert np.abs(added).max() > 0


def test_random_apply_obeys_its_probability() -> None:
    np.random.seed(0)
    flip = T.HFlipTransform(80)
    assert isinstance(T.RandomApply(flip, 0.0)(T.AugInput(IMAGE)), T.NoOpTransform)
    assert T.RandomApply(flip, 1.0)(T.AugInput(IMAGE)) is flip
    share = np.mean([T.RandomApply(flip, 0.3).get_transform(IMAGE) is flip for _ in range(2000)])
    assert 0.25 < share < 0.35


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: T.RandomApply(T.RandomFlip(), 1.5), "prob must be between 0 and 1; got 1.5"),
        (lambda: T.RandomFlip(horizontal=True, vertical=True), "exactly one of horizontal and vertical"),
        (lambda: T.ResizeShortestEdge((1, 2, 3), 10, "range"), "needs two lengths"),
        (lambda: T.ResizeShortestEdge(800, 10, "span"), "'range' or 'choice'; got 'span'"),
        (lambda: T.RandomCrop("half", (0.5, 0.5)), "crop_type must be one of"),
        (lambda: T.RandomCrop("relative", (1.5, 0.5)).get_transform(IMAGE), "at most 1 for the relative"),
        (lambda: T.RandomCrop("absolute_range", (50, 20)).check_size(), "least length first"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ConfigValueError, match=sentence):
        make()


def test_a_list_applies_in_order_and_each_sees_what_came_before() -> None:
    augs = T.AugmentationList([T.Resize((20, 30)), T.HFlipTransform(30), T.RandomCrop("absolute", (50, 10))])
    given_ = T.AugInput(IMAGE, boxes=np.array([[0.0, 0.0, 80.0, 60.0]]))
    transforms = augs(given_)
    kinds = [type(t).__name__ for t in transforms.transforms]
    assert kinds == [
        "ResizeTransform",
        "HFlipTransform",
        "CropTransform",
    ]
    assert given_.image.shape == (20, 10, 3)
    image, again = T.apply_augmentations([T.Resize(7)], IMAGE)
    assert image.shape == (7, 7, 3)
    assert len(again) == 1


def test_an_augmentation_gets_what_its_parameters_name() -> None:
    class WithBoxes(T.Augmentation):
        def get_transform(self, image: np.ndarray, boxes: np.ndarray) -> T.Transform:
            assert image.shape == (60, 80, 3)
            assert boxes.shape == (1, 4)
            return T.NoOpTransform()

    class WithDepth(T.Augmentation):
        def get_transform(self, image: np.ndarray, depth: np.ndarray) -> T.Transform:
            return T.NoOpTransform()

    class Wrong(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> Any:
            return image

    WithBoxes()(T.AugInput(IMAGE, boxes=np.zeros((1, 4))))
    with pytest.raises(AttributeError, match="WithDepth needs the input's 'depth'"):
        WithDepth()(T.AugInput(IMAGE))
    with pytest.raises(TypeError, match="returned ndarray, not a Transform"):
        Wrong()(T.AugInput(IMAGE))


@pytest.mark.parametrize("image", [[[1]], np.zeros((3, 3), np.int32), np.zeros(3, np.uint8)])
def test_an_input_must_be_an_image(image: Any) -> None:
    with pytest.raises(TypeError, match="image must be"):
        T.AugInput(image)


def test_augmentations_print_what_they_were_made_with() -> None:
    assert repr(T.RandomFlip(0.3)) == "RandomFlip(prob=0.3)"
    text = repr(T.AugmentationList([T.ResizeShortestEdge([1, 2], 3, "choice"), T.RandomFlip()]))
    assert text.startswith("AugmentationList[ResizeShortestEdge(short_edge_length=[1, 2], max_size=3")
