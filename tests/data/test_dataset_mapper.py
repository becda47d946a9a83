"""The default mapper, on pictures written to disk."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from PIL import Image, ImageOps

from cardamage.config import get_cfg
from cardamage.data import DatasetMapper
from cardamage.data import transforms as T
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BitMasks, BoxMode, PolygonMasks


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "car.png"), picture)
    triangle = {
        "bbox": [10, 10, 20, 20],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 1,
        "segmentation": [[10, 10, 30, 10, 10, 30]],
    }
    crowd = {**triangle, "iscrowd": 1, "category_id": 0}
    return {
        "file_name": str(tmp_path / "car.png"),
        "image_id": 7,
        "height": 40,
        "width": 60,
        "annotations": [triangle, crowd],
    }


def _mapper(*augs: Any, **kwargs: Any) -> DatasetMapper:
    kwargs = {"image_format": "BGR", "use_instance_mask": True, **kwargs}
    return DatasetMapper(True, augmentations=list(augs), **kwargs)


def test_training_gives_image_and_instances(record: dict[str, Any]) -> None:
    before = copy.deepcopy(record)
    sample = _mapper(T.HFlipTransform(60))(record)
    assert record == before
    assert set(sample) == {"file_name", "image_id", "height", "width", "image", "instances"}
    picture = cv2.imread(record["file_name"])[:, ::-1]
    assert sample["image"].dtype == torch.uint8
    np.testing.assert_array_equal(sample["image"].numpy(), picture.transpose(2, 0, 1))
    instances = sample["instances"]
    assert instances.image_size == (40, 60)
    assert instances.gt_boxes.tensor.tolist() == [[30, 10, 50, 30]]
    assert instances.gt_classes.tolist() == [1]  # the crowd is left out
    assert instances.gt_masks.polygons[0][0].tolist() == [50, 10, 30, 10, 50, 30]


def test_inference_gives_the_image_only(record: dict[str, Any]) -> None:
    mapper = DatasetMapper(False, augmentations=[T.Resize((20, 30))], image_format="RGB")
    sample = mapper(record)
    assert set(sample) == {"file_name", "image_id", "height", "width", "image"}
    assert sample["image"].shape == (3, 20, 30)
    assert (sample["height"], sample["width"]) == (40, 60)  # the original's, to scale results back


def test_missing_sizes_are_filled_in_and_no_annotations_is_fine(record: dict[str, Any]) -> None:
    bare = {"file_name": record["file_name"]}
    sample = _mapper()(bare)
    assert (sample["height"], sample["width"]) == (40, 60)
    assert "instances" not in sample


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("recompute", [True, False])
def test_an_image_without_objects_goes_through(
    record: dict[str, Any], mask_format: str, recompute: bool
) -> None:
    augs = [T.RandomCrop("relative", (0.5, 0.5)), T.ResizeShortestEdge(30), T.RandomFlip()]
    mapper = _mapper(*augs, instance_mask_format=mask_format, recompute_boxes=recompute)
    instances = mapper({**record, "annotations": []})["instances"]
    assert len(instances) == 0
    assert isinstance(instances.gt_masks, PolygonMasks if mask_format == "polygon" else BitMasks)
    assert len(instances.gt_masks) == 0


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize("recompute", [True, False])
def test_a_crop_may_wipe_everything_out(record: dict[str, Any], mask_format: str, recompute: bool) -> None:
    crop = T.CropTransform(40, 0, 20, 40)
    mapper = _mapper(crop, instance_mask_format=mask_format, recompute_boxes=recompute)
    sample = mapper(record)
    assert sample["image"].shape == (3, 40, 20)
    assert len(sample["instances"]) == 0


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
def test_boxes_are_tight_after_a_crop_when_recomputed(record: dict[str, Any], mask_format: str) -> None:
    # The crop keeps the part of the triangle right of x = 20, which is at most 10 high.
    crop = T.CropTransform(20, 0, 40, 40)
    loose = _mapper(crop, instance_mask_format=mask_format)(record)["instances"]
    assert loose.gt_boxes.tensor.tolist() == [[0, 10, 10, 30]]
    tight = _mapper(crop, instance_mask_format=mask_format, recompute_boxes=True)(record)["instances"]
    slack = 1.01 if mask_format == "bitmask" else 1e-5
    np.testing.assert_allclose(tight.gt_boxes.tensor.numpy(), [[0, 10, 10, 20]], atol=slack)


def test_polygons_and_rle_in_one_image(record: dict[str, Any]) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5, 6] = 1  # a single pixel
    rle = mask_util.encode(np.asfortranarray(mask))
    single = {"bbox": [6, 5, 1, 1], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "segmentation": rle}
    record["annotations"].append(single)
    instances = _mapper(T.HFlipTransform(60), recompute_boxes=True)(record)["instances"]
    assert isinstance(instances.gt_masks, BitMasks)
    assert instances.gt_boxes.tensor[1].tolist() == [53, 5, 54, 6]
    assert instances.gt_masks.tensor[1].sum() == 1


def test_box_only_annotations_are_refused_by_a_mask_model(record: dict[str, Any]) -> None:
    del record["annotations"][0]["segmentation"]
    name = record["file_name"]
    with pytest.raises(DataError) as caught:
        _mapper()(record)
    assert str(caught.value) == (
        f"Annotation 0 of {name} has a box but no segmentation, which a model with masks needs; "
        "annotate its outline, or set MODEL.MASK_ON to False to train on boxes alone."
    )
    instances = _mapper(use_instance_mask=False)(record)["instances"]
    assert not instances.has("gt_masks")
    assert len(instances) == 1


def test_wrong_annotations_name_their_file(record: dict[str, Any]) -> None:
    name = record["file_name"]
    record["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    with pytest.raises(DataError, match=f"annotations of {name} can't be used: .*at least 3 points"):
        _mapper()(record)
    record["annotations"][0]["segmentation"] = mask_util.encode(np.zeros((8, 9), np.uint8, order="F"))
    with pytest.raises(
        DataError, match=rf"annotation 0 of {name} is for an image of height and width \[8, 9\]"
    ):
        _mapper()(record)
    with pytest.raises(DataError, match=f"{name} is 60x40 .* says 50x40"):
        _mapper()({**record, "width": 50})
    with pytest.raises(DataError, match="does not exist"):
        _mapper()({**record, "file_name": "/nowhere.png"})


def test_the_config_decides(record: dict[str, Any]) -> None:
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.MASK_FORMAT = "bitmask"
    mapper = DatasetMapper(cfg)
    assert [type(aug).__name__ for aug in mapper.augmentations.augs] == [
        "RandomCrop",
        "ResizeShortestEdge",
        "RandomFlip",
    ]
    assert mapper.recompute_boxes
    assert isinstance(mapper(record)["instances"].gt_masks, BitMasks)
    test = DatasetMapper(cfg, is_train=False)
    assert not test.recompute_boxes
    assert "instances" not in pickle.loads(pickle.dumps(test))(record)
    cfg.MODEL.MASK_ON = False
    assert not DatasetMapper(cfg).recompute_boxes
    assert len(DatasetMapper(cfg, augmentations=[]).augmentations.augs) == 0


def test_what_is_not_supported_is_said() -> None:
    with pytest.raises(ConfigValueError, match="needs use_instance_mask"):
        _mapper(use_instance_mask=False, recompute_boxes=True)
    with pytest.raises(ConfigValueError, match="Keypoints are not supported"):
        _mapper(use_keypoint=True)


@pytest.mark.parametrize("is_train", [True, False])
def test_proposals_move_with_the_image(record: dict[str, Any], is_train: bool) -> None:
    boxes = np.array([[0, 0, 10, 20], [30, 5, 90, 20], [50, 0, 50, 10], [1, 2, 3, 4]], np.float32)
    record |= {"proposal_boxes": boxes, "proposal_objectness_logits": np.array([4.0, 3, 2, 1])}
    record["proposal_bbox_mode"] = BoxMode.XYXY_ABS
    mapper = DatasetMapper(
        is_train,
        augmentations=[T.HFlipTransform(60), T.ResizeTransform(40, 60, 20, 120)],
        image_format="BGR",
        precomputed_proposal_topk=2,
    )
    sample = mapper(record)
    assert not [key for key in sample if key.startswith("proposal_")]
    proposals = sample["proposals"]
    # x -> 2 (60 - x), y -> y / 2, cut to the image; the one without width is left out, then two are kept.
    assert proposals.proposal_boxes.tensor.tolist() == [[100, 0, 120, 10], [0, 2.5, 60, 10]]
    assert proposals.objectness_logits.tolist() == [4, 3]
    assert proposals.image_size == (20, 120)


def test_proposals_are_wanted_where_the_config_says_so() -> None:
    cfg = get_cfg()
    assert DatasetMapper(cfg, True).proposal_topk is None
    cfg.MODEL.LOAD_PROPOSALS = True
    assert (DatasetMapper(cfg, True).proposal_topk, DatasetMapper(cfg, False).proposal_topk) == (2000, 1000)


def test_keypoints_are_left_behind(record: dict[str, Any]) -> None:
    record["annotations"][0]["keypoints"] = [1, 2, 2] * 17
    sample = _mapper(T.HFlipTransform(60))(record)
    assert set(sample["instances"].get_fields()) == {"gt_boxes", "gt_classes", "gt_masks"}


def _phone_photo(path: Path, orientation: int) -> dict[str, Any]:
    """A JPEG stored 640 wide and 480 high, and its record: a triangle in pixels of the upright picture."""
    small = np.random.default_rng(orientation).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC))
    picture.save(path, quality=95, exif=exif)
    width, height = (480, 640) if orientation >= 5 else (640, 480)
    outline = [width * 0.25, height * 0.25, width * 0.75, height * 0.25, width * 0.25, height * 0.5]
    box = [width * 0.25, height * 0.25, width * 0.75, height * 0.5]
    note = {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "segmentation": [outline]}
    return {"file_name": str(path), "height": height, "width": width, "annotations": [note]}


@pytest.mark.parametrize("format", ["BGR", "RGB"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_fast_reading_changes_pixels_little_and_coordinates_not(
    tmp_path: Path, orientation: int, format: str
) -> None:
    record = _phone_photo(tmp_path / "phone.jpg", orientation)
    cfg = get_cfg()
    cfg.MODEL.MASK_ON, cfg.INPUT.FORMAT = True, format
    cfg.INPUT.MIN_SIZE_TRAIN = (100,)
    samples = []
    for resize, scaled in (("exact", False), ("native", False), ("native", True), ("exact", True)):
        cfg.INPUT.RESIZE, cfg.INPUT.SCALED_DECODE = resize, scaled
        np.random.seed(orientation)
        samples.append(DatasetMapper(cfg, True)(record))
    exact, *others = samples
    with Image.open(record["file_name"]) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    size = (133, 100) if orientation >= 5 else (100, 133)
    own = T.ResizeTransform(*upright.shape[:2], *size).apply_image(upright)
    own = own if format == "RGB" else own[..., ::-1]
    pixels = exact["image"].numpy().transpose(1, 2, 0)
    assert np.array_equal(pixels, own) or np.array_equal(pixels, own[:, ::-1])
    for sample, most in zip(others, (2, 6, 6), strict=True):
        difference = np.abs(sample["image"].numpy().astype(int) - exact["image"].numpy())
        assert difference.max() <= most
        assert (sample["height"], sample["width"]) == (record["height"], record["width"])
        wanted = exact["instances"]
        assert torch.equal(sample["instances"].gt_boxes.tensor, wanted.gt_boxes.tensor)
        np.testing.assert_array_equal(
            sample["instances"].gt_masks.polygons[0][0], wanted.gt_masks.polygons[0][0]
        )
    assert not torch.equal(others[1]["image"], others[0]["image"])  # it was decoded at a quarter


def test_the_recorded_size_is_held_against_the_files_own(tmp_path: Path) -> None:
    record = _phone_photo(tmp_path / "phone.jpg", 1)
    mapper = _mapper(T.ResizeShortestEdge(60))
    for height, width in ((240, 320), (640, 480)):  # also what is stored at a half, or turned
        with pytest.raises(DataError, match="640x480"):
            mapper({**record, "height": height, "width": width})
    assert mapper(record)["image"].shape == (3, 60, 80)


def test_a_mapper_may_treat_annotations_in_its_own_way(record: dict[str, Any]) -> None:
    class Counting(DatasetMapper):
        def _transform_annotations(
            self, dataset_dict: dict[str, Any], transforms: T.TransformList, image_shape: tuple[int, int]
        ) -> None:
            dataset_dict["objects"] = len(dataset_dict.pop("annotations"))
            dataset_dict["shape"] = image_shape

    before = copy.deepcopy(record)
    sample = Counting(True, augmentations=[T.Resize((20, 30))], image_format="BGR")(record)
    assert (sample["objects"], sample["shape"]) == (2, (20, 30))
    assert record == before
