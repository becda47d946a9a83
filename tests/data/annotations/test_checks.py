from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.annotations.checks import RawAnnotation, check_annotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.errors import DataError
from cardamage.structures import BoxMode

PLACE = "a.json, shape 2 ('dent')"
SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


def checked(raw: RawAnnotation, height: int = 40, width: int = 50) -> tuple[dict[str, Any] | None, list[str]]:
    report = AnnotationReport("test")
    result = check_annotation(raw, height, width, report)
    assert report.read == 1
    assert report.dropped == (result is None)
    return result, [finding.sentence for finding in report.findings]


def test_good_polygon() -> None:
    result, said = checked(RawAnnotation(PLACE, polygons=[SQUARE], iscrowd=1))
    assert said == []
    assert result == {
        "bbox": [10.0, 10.0, 20.0, 20.0],
        "bbox_mode": BoxMode.XYXY_ABS,
        "iscrowd": 1,
        "segmentation": [[10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]],
    }


@pytest.mark.parametrize(
    ("polygons", "sentence"),
    [
        ([], "its outline has no points"),
        ([[]], "its polygon has 0 points and needs 3"),
        ([[[3, 3]]], "its polygon has 1 point and needs 3"),
        ([[[3, 3], [9, 9]]], "its polygon has 2 points and needs 3"),
        ([[[3, 3], [9, 9], [3, 3]]], "its polygon has 2 points and needs 3"),
        ([[[3, 3], [9, 9], [6, 6]]], "its outline has no area"),
        ([[[0.1, 0.1], [0.2, 0.2], [0.7, 0.7]]], "its outline has no area"),
        ([[[60, 10], [70, 10], [70, 20]]], "it lies outside the image of 50x40"),
        ([[[-9, -9], [-1, -9], [-1, -1]]], "it lies outside the image of 50x40"),
        ([[[50, 0], [60, 0], [60, 9], [50, 9]]], "it lies outside the image of 50x40"),
        ([[1, 2, 3]], "its outline is not a list of x, y numbers"),
        ([[1, 2, 3, 4, 5, None]], "its outline is not a list of x, y numbers"),
        ([[1, 2, 3, 4, 5, float("inf")]], "its outline is not a list of x, y numbers"),
    ],
)
def test_dropped(polygons: list[Any], sentence: str) -> None:
    result, said = checked(RawAnnotation(PLACE, polygons=polygons))
    assert result is None
    assert said == [f"{PLACE}: dropped, {sentence}."]


def test_self_crossing_is_kept() -> None:
    eight = [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]
    result, said = checked(RawAnnotation(PLACE, polygons=[eight]))
    assert result is not None
    assert said == [f"{PLACE}: kept, its outline crosses itself."]


def test_past_the_edge_is_clipped() -> None:
    result, said = checked(RawAnnotation(PLACE, polygons=[[[40, 10], [62, 10], [62, 20], [40, 20]]]))
    assert result is not None
    assert result["bbox"] == [40.0, 10.0, 50.0, 20.0]
    assert said == [f"{PLACE}: clipped, it reaches past the edge of the image by 12 px."]


def test_rounding_past_the_edge_is_not_worth_a_word() -> None:
    result, said = checked(
        RawAnnotation(PLACE, polygons=[[[40, 10], [50.6, 10], [40, 20]]], bbox=(40, 10, 50.6, 20))
    )
    assert result is not None
    assert result["bbox"] == [40.0, 10.0, 50.0, 20.0]
    assert max(result["segmentation"][0]) <= 50
    assert said == []


def test_usable_parts_keep_the_object() -> None:
    result, said = checked(
        RawAnnotation(PLACE, polygons=[[[1, 1], [2, 2]], SQUARE, [[90, 90], [95, 90], [90, 95]]])
    )
    assert result is not None
    assert len(result["segmentation"]) == 1
    told = f"{PLACE}: changed, a part of its outline is left out:"
    assert said == [
        f"{told} its polygon has 2 points and needs 3.",
        f"{told} it lies outside the image of 50x40.",
    ]


@pytest.mark.parametrize("seed", range(4))
def test_thin_outlines_that_draw_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, end = rng.uniform((0, 0), (50, 40), (2, 2))
    thin = [start, end, end + (0.3, 0.3)]
    drawn = mask_util.area(mask_util.frPyObjects([np.concatenate(thin).tolist()], 40, 50))[0] > 0
    result, _ = checked(RawAnnotation(PLACE, polygons=[thin]))
    assert (result is not None) == drawn


def test_outline_smaller_than_a_pixel_that_draws_nothing() -> None:
    dot = [[3.1, 3.1], [3.2, 3.1], [3.2, 3.2]]
    assert mask_util.area(mask_util.frPyObjects([sum(dot, [])], 40, 50))[0] == 0
    assert checked(RawAnnotation(PLACE, polygons=[dot]))[1] == [f"{PLACE}: dropped, its outline has no area."]


def test_given_box_counts_and_a_useless_one_is_measured() -> None:
    result, _ = checked(RawAnnotation(PLACE, polygons=[SQUARE], bbox=(9.5, 9.5, 21, 21)))
    assert result is not None
    assert result["bbox"] == [9.5, 9.5, 21.0, 21.0]
    for box in ((9, 9, 9, 9), (float("nan"), 1, 2, 3)):
        result, _ = checked(RawAnnotation(PLACE, polygons=[SQUARE], bbox=box))
        assert result is not None
        assert result["bbox"] == [10.0, 10.0, 20.0, 20.0]


def mask_rle(counts: Any, size: tuple[int, int] = (40, 50)) -> RawAnnotation:
    return RawAnnotation(PLACE, rle={"size": list(size), "counts": counts})


def test_run_lengths_compressed_or_not() -> None:
    mask = np.zeros((40, 50), np.uint8, order="F")
    mask[5:9, 7:30] = 1
    packed = mask_util.encode(mask)
    runs = [7 * 40 + 5, *([4, 36] * 22), 4, 2000 - (29 * 40 + 9)]
    for counts in (packed["counts"], packed["counts"].decode(), runs):
        result, said = checked(mask_rle(counts))
        assert result is not None
        assert said == []
        assert result["bbox"] == [7.0, 5.0, 30.0, 9.0]
        np.testing.assert_array_equal(mask_util.decode(result["segmentation"]), mask)


def test_empty_mask_is_dropped() -> None:
    assert checked(mask_rle([2000]))[1] == [f"{PLACE}: dropped, its outline has no area."]


def test_mask_of_another_size() -> None:
    with pytest.raises(DataError) as caught:
        checked(mask_rle([2000], (50, 40)))
    assert str(caught.value) == (
        f"{PLACE}: its mask is 40x50 and the image 50x40 (width x height); "
        "export the masks at the image's own size."
    )


def test_runs_that_do_not_fill_the_image() -> None:
    with pytest.raises(DataError) as caught:
        checked(mask_rle([5, 5]))
    assert str(caught.value) == (
        f"{PLACE}: the runs of its mask cover 10 pixels, but the image has 2000; export the masks again."
    )


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        (None, "dropped, it has neither outline nor box"),
        ((5, 5, 5, 9), "dropped, its box has no area"),
        ((60, 5, 70, 9), "dropped, it lies outside the image of 50x40"),
        ((40, 5, 70, 9), "clipped, it reaches past the edge of the image by 20 px"),
    ],
)
def test_boxes_without_outline(box: tuple[float, ...] | None, sentence: str) -> None:
    assert checked(RawAnnotation(PLACE, bbox=box))[1] == [f"{PLACE}: {sentence}."]


def test_good_box_has_no_segmentation() -> None:
    result, said = checked(RawAnnotation(PLACE, bbox=(1, 2, 3, 4)))
    assert result == {"bbox": [1.0, 2.0, 3.0, 4.0], "bbox_mode": BoxMode.XYXY_ABS, "iscrowd": 0}
    assert said == []


def test_summary_has_the_counts_first(caplog: pytest.LogCaptureFixture) -> None:
    report = AnnotationReport("photos", read=30)
    for i in range(22):
        report.add("dropped", "its outline has no area", f"a.json, shape {i}")
    report.add("kept", "its outline crosses itself", "b.json, shape 0")
    lines = report.summary().splitlines()
    assert lines[:3] == [
        "photos: 30 annotations read, 22 dropped.",
        "  22 dropped: its outline has no area",
        "  1 kept: its outline crosses itself",
    ]
    assert lines[3] == "  a.json, shape 0: dropped, its outline has no area."
    assert lines[-1] == "  ... and 3 more."
    with caplog.at_level(logging.INFO):
        report.log()
        report.log()
        AnnotationReport("clean", read=1).log()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
