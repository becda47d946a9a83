"""Annotations through transforms, against dense masks and closed forms."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.catalog import MetadataCatalog
from cardamage.config import get_cfg
from cardamage.data import detection_utils as utils
from cardamage.data import transforms as T
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks


def _rle(mask: np.ndarray, compressed: bool = True) -> dict[str, Any]:
    if compressed:
        return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
    flat = mask.astype(np.uint8).reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist() + [flat.size]
    return {"size": list(mask.shape), "counts": np.diff([0, *edges]).tolist()}


def _square(x: float, y: float, side: float, mode: BoxMode = BoxMode.XYXY_ABS) -> dict[str, Any]:
    box = [x, y, x + side, y + side] if mode == BoxMode.XYXY_ABS else [x, y, side, side]
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {"bbox": box, "bbox_mode": mode, "category_id": 2, "segmentation": [corners]}


@pytest.mark.parametrize("mode", [BoxMode.XYXY_ABS, BoxMode.XYWH_ABS])
def test_whole_numbers_are_not_rounded_on_the_way(mode: BoxMode) -> None:
    note = _square(1, 2, 5, mode)
    transforms = [T.ResizeTransform(10, 20, 25, 30), T.HFlipTransform(30)]
    out = utils.transform_instance_annotations(note, transforms, (25, 30))
    np.testing.assert_allclose(out["bbox"], [30 - 6 * 1.5, 5, 30 - 1.5, 17.5])
    np.testing.assert_allclose(out["segmentation"][0], [28.5, 5, 21, 5, 21, 17.5, 28.5, 17.5])
    assert out["bbox_mode"] == BoxMode.XYXY_ABS
    assert out is note


def test_polygons_of_an_instance_stay_apart() -> None:
    rng = np.random.default_rng(0)
    polygons = [rng.uniform(0, 50, 2 * n) for n in (3, 7, 4)]
    note = {**_square(0, 0, 50), "segmentation": [p.copy() for p in polygons]}
    out = utils.transform_instance_annotations(note, T.HFlipTransform(50), (50, 50))
    for before, after in zip(polygons, out["segmentation"], strict=True):
        np.testing.assert_allclose(after[0::2], 50 - before[0::2])
        np.testing.assert_array_equal(after[1::2], before[1::2])


def test_the_callers_arrays_are_left_alone() -> None:
    note = {
        **_square(0, 0, 9),
        "segmentation": [np.array([0.0, 0, 9, 0, 9, 9])],
        "bbox": np.array([0.0, 0, 9, 9]),
    }
    kept = copy.deepcopy(note)
    utils.transform_instance_annotations(dict(note), [T.HFlipTransform(10)], (10, 10))
    np.testing.assert_array_equal(note["segmentation"][0], kept["segmentation"][0])
    np.testing.assert_array_equal(note["bbox"], kept["bbox"])


def test_boxes_are_cut_to_the_image() -> None:
    note = _square(-5, 8, 10)
    out = utils.transform_instance_annotations(note, T.NoOpTransform(), (12, 40))
    np.testing.assert_array_equal(out["bbox"], [0, 8, 5, 12])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_rle_masks_follow_their_dense_masks(seed: int, compressed: bool) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 2, (21, 33)).astype(np.uint8)
    transforms = T.TransformList(
        [
            T.ResizeTransform(21, 33, 40, 50),
            T.HFlipTransform(50),
            T.CropTransform(3, 4, 30, 20),
            T.VFlipTransform(20),
        ]
    )
    note = {**_square(0, 0, 9), "segmentation": _rle(mask, compressed)}
    out = utils.transform_instance_annotations(note, transforms, (20, 30))
    rows, columns = (
        ((np.arange(40) + 0.5) * 21 / 40).astype(int),
        ((np.arange(50) + 0.5) * 33 / 50).astype(int),
    )
    wanted = mask[rows[:, None], columns][:, ::-1][4:24, 3:33][::-1]
    np.testing.assert_array_equal(out["segmentation"], wanted)


def test_segmentations_that_can_not_be_used() -> None:
    with pytest.raises(DataError, match="list of polygons or a COCO RLE dict; got str"):
        utils.transform_instance_annotations(
            {**_square(0, 0, 5), "segmentation": "x"}, T.NoOpTransform(), (9, 9)
        )
    wrong = {**_square(0, 0, 5), "segmentation": _rle(np.ones((4, 6)))}
    with pytest.raises(DataError, match="became 6x4 pixels where its image became 9x9"):
        utils.transform_instance_annotations(wrong, T.NoOpTransform(), (9, 9))


def test_instances_hold_boxes_classes_and_polygons() -> None:
    target = utils.annotations_to_instances([_square(1, 2, 3), _square(4, 5, 6, BoxMode.XYWH_ABS)], (20, 30))
    assert target.image_size == (20, 30)
    assert target.gt_boxes.tensor.dtype == torch.float32
    assert target.gt_boxes.tensor.tolist() == [[1, 2, 4, 5], [4, 5, 10, 11]]
    assert target.gt_classes.dtype == torch.int64
    assert target.gt_classes.tolist() == [2, 2]
    assert isinstance(target.gt_masks, PolygonMasks)


def _dense(x: int, y: int, side: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.mark.parametrize("format_", ["polygon", "bitmask"])
def test_kinds_of_masks_mix(format_: str) -> None:
    kinds = [
        _square(1, 2, 3),
        {**_square(5, 6, 7), "segmentation": _rle(_dense(5, 6, 7))},
        {**_square(5, 6, 7), "segmentation": _rle(_dense(5, 6, 7), compressed=False)},
        {**_square(0, 0, 1), "segmentation": _dense(0, 0, 1)},
    ]
    masks = utils.annotations_to_instances(kinds, (20, 30), format_).gt_masks
    assert isinstance(masks, BitMasks)
    wanted = np.stack([_dense(1, 2, 3), _dense(5, 6, 7), _dense(5, 6, 7), _dense(0, 0, 1)])
    np.testing.assert_array_equal(masks.tensor.numpy(), wanted)
    assert masks.get_bounding_boxes().tensor[3].tolist() == [0, 0, 1, 1]  # one pixel has a box of one pixel


def test_polygons_become_bitmasks_when_asked() -> None:
    masks = utils.annotations_to_instances([_square(1, 2, 3)], (20, 30), "bitmask").gt_masks
    np.testing.assert_array_equal(masks.tensor[0].numpy(), _dense(1, 2, 3))


def test_no_annotations_give_no_instances() -> None:
    target = utils.annotations_to_instances([], (20, 30))
    assert len(target) == 0
    assert target.gt_boxes.tensor.shape == (0, 4)
    assert target.gt_classes.dtype == torch.int64
    assert not target.has("gt_masks")


def test_boxes_without_outlines_make_no_masks_but_do_not_mix() -> None:
    box_only = {key: value for key, value in _square(1, 2, 3).items() if key != "segmentation"}
    assert not utils.annotations_to_instances([box_only], (20, 30)).has("gt_masks")
    with pytest.raises(DataError, match="Annotation 1 has a box but no segmentation"):
        utils.annotations_to_instances([_square(1, 2, 3), box_only], (20, 30))
    with pytest.raises(ConfigValueError, match="'polygon' or 'bitmask'; got 'rle'"):
        utils.annotations_to_instances([_square(1, 2, 3)], (20, 30), "rle")
    wrong = {**_square(5, 6, 7), "segmentation": _rle(np.ones((4, 4)))}
    with pytest.raises(DataError, match="must be 30x20 pixels"):
        utils.annotations_to_instances([wrong], (20, 30))


def test_what_is_empty_is_filtered() -> None:
    target = Instances((20, 30))
    target.gt_boxes = Boxes(torch.tensor([[0.0, 0, 5, 5], [3, 3, 3, 9], [1, 1, 1 + 1e-6, 2], [0, 0, 1, 1]]))
    target.gt_classes = torch.arange(4)
    target.gt_masks = PolygonMasks([[], [[0, 0, 1, 0, 1, 1]], [[0, 0, 1, 0, 1, 1]], [[0, 0, 1, 0, 1, 1]]])
    assert utils.filter_empty_instances(target).gt_classes.tolist() == [3]
    assert utils.filter_empty_instances(target, by_mask=False).gt_classes.tolist() == [0, 3]
    kept, mask = utils.filter_empty_instances(target, by_box=False, return_mask=True)
    assert kept.gt_classes.tolist() == [1, 2, 3]
    assert mask.tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="by_box or by_mask"):
        utils.filter_empty_instances(target, by_box=False, by_mask=False)
    assert len(utils.filter_empty_instances(target[torch.zeros(4, dtype=torch.bool)])) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_crop_with_an_instance_holds_its_center(seed: int) -> None:
    rng = np.random.default_rng(seed)
    np.random.seed(seed)
    h, w = rng.integers(20, 60, 2).tolist()
    size = (int(rng.integers(1, h + 1)), int(rng.integers(1, w + 1)))
    x, y = rng.uniform(0, w - 5), rng.uniform(0, h - 5)
    crop = utils.gen_crop_transform_with_instance(size, (h, w), _square(x, y, 5, BoxMode.XYWH_ABS))
    assert (crop.h, crop.w) == size
    assert 0 <= crop.x0 <= w - crop.w
    assert 0 <= crop.y0 <= h - crop.h
    assert crop.x0 - 1 <= x + 2.5 <= crop.x0 + crop.w + 1
    assert crop.y0 - 1 <= y + 2.5 <= crop.y0 + crop.h + 1


def test_crops_that_can_not_be() -> None:
    with pytest.raises(DataError, match="center outside its image"):
        utils.gen_crop_transform_with_instance((5, 5), (20, 20), _square(50, 50, 4))
    with pytest.raises(DataError, match="doesn't fit"):
        utils.gen_crop_transform_with_instance((50, 5), (20, 20), _square(5, 5, 4))


def test_image_sizes_are_compared_and_filled_in() -> None:
    record: dict[str, Any] = {"file_name": "a.jpg"}
    utils.check_image_size(record, np.zeros((4, 6, 3), np.uint8))
    assert (record["width"], record["height"]) == (6, 4)
    utils.check_image_size(record, np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(utils.SizeMismatchError, match=r"a\.jpg is 5x4 .* says 6x4"):
        utils.check_image_size(record, np.zeros((4, 5, 3), np.uint8))
    assert issubclass(utils.SizeMismatchError, DataError)


def test_metadata_must_agree() -> None:
    names = ["utils_test_a", "utils_test_b"]
    try:
        MetadataCatalog.get(names[0]).set(thing_classes=["dent"])
        MetadataCatalog.get(names[1]).set(thing_classes=["scratch"])
        utils.check_metadata_consistency("thing_classes", names[:1] * 2)
        utils.check_metadata_consistency("thing_classes", [])
        with pytest.raises(
            DataError, match="'utils_test_a' and 'utils_test_b' differ in their thing_classes"
        ):
            utils.check_metadata_consistency("thing_classes", names)
        with pytest.raises(AttributeError):
            utils.check_metadata_consistency("keypoint_names", names)
    finally:
        for name in names:
            MetadataCatalog.remove(name)


def test_augmentation_follows_the_config() -> None:
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN = (300, 400)
    cfg.INPUT.MIN_SIZE_TEST = 123
    resize, flip = utils.build_augmentation(cfg, True)
    assert (resize.short_edge_length, resize.max_size, resize.sample_style) == ((300, 400), 1333, "choice")
    assert flip.horizontal
    (resize,) = utils.build_augmentation(cfg, False)
    assert resize.get_output_shape(100, 200, resize.short_edge_length[0], resize.max_size) == (123, 246)
    cfg.INPUT.RANDOM_FLIP = "vertical"
    assert utils.build_augmentation(cfg, True)[1].vertical
    cfg.INPUT.RANDOM_FLIP = "none"
    assert len(utils.build_augmentation(cfg, True)) == 1
