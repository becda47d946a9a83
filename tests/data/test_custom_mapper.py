"""What users write themselves: transforms, augmentations, inputs with further fields, mappers."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.data import DatasetMapper, build_detection_test_loader, build_detection_train_loader
from cardamage.data import detection_utils as utils
from cardamage.data import transforms as T
from cardamage.evaluation import DatasetEvaluator, DatasetEvaluators, inference_on_dataset
from cardamage.structures import BoxMode

NAME = "custom_mapper_test"


@pytest.fixture
def cfg(tmp_path: Path) -> Iterator[CfgNode]:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    note = {
        "bbox": [10, 4, 20, 12],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "segmentation": [[10, 4, 30, 4, 30, 16, 10, 16]],
    }
    record = {"file_name": str(tmp_path / "a.png"), "image_id": 3, "height": 40, "width": 60}
    DatasetCatalog.register(NAME, lambda: [{**record, "annotations": [dict(note)]}])
    MetadataCatalog.get(NAME).thing_classes = ["dent"]
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (NAME,)
    cfg.SOLVER.IMS_PER_BATCH = 1
    cfg.DATALOADER.NUM_WORKERS = 0
    yield cfg
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


class Transpose(T.Transform):
    """Swaps x and y."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return np.swapaxes(img, 0, 1)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords[:, ::-1]

    def inverse(self) -> T.Transform:
        return self


class TransposeWide(T.Augmentation):
    """Decides by the picture."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        return Transpose() if image.shape[1] > image.shape[0] else T.NoOpTransform()


class CropToBoxes(T.Augmentation):
    """Decides by another of the input's fields."""

    def __init__(self, margin: int = 0) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray, boxes: np.ndarray) -> T.Transform:
        x0, y0 = np.floor(boxes[:, :2].min(0)).astype(int) - self.margin
        x1, y1 = np.ceil(boxes[:, 2:].max(0)).astype(int) + self.margin
        return T.CropTransform(x0, y0, x1 - x0, y1 - y0, image.shape[1], image.shape[0])


def my_mapper(record: dict[str, Any]) -> dict[str, Any]:
    record = copy.deepcopy(record)
    given = T.AugInput(utils.read_image(record["file_name"], format="BGR"))
    transform = T.AugmentationList([T.Resize((80, 120)), T.RandomFlip(prob=1.0)])(given)
    image = torch.from_numpy(np.ascontiguousarray(given.image.transpose(2, 0, 1)))
    notes = [
        utils.transform_instance_annotations(note, [transform], image.shape[1:])
        for note in record.pop("annotations")
    ]
    instances = utils.annotations_to_instances(notes, image.shape[1:])
    return {**record, "image": image, "instances": utils.filter_empty_instances(instances)}


def test_a_mapper_of_ones_own(cfg: CfgNode) -> None:
    ((sample,),) = itertools.islice(build_detection_train_loader(cfg, mapper=my_mapper), 1)
    assert sample["image"].shape == (3, 80, 120)
    assert sample["instances"].gt_boxes.tensor.tolist() == [[60, 8, 100, 32]]
    assert sample["instances"].gt_masks.polygons[0][0].tolist() == [100, 8, 60, 8, 60, 32, 100, 32]


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
def test_the_default_mapper_with_augmentations_of_ones_own(cfg: CfgNode, mask_format: str) -> None:
    cfg.INPUT.MASK_FORMAT = mask_format
    mapper = DatasetMapper(cfg, is_train=True, augmentations=[TransposeWide(), T.RandomApply(Transpose(), 0)])
    ((sample,),) = itertools.islice(build_detection_train_loader(cfg, mapper=mapper), 1)
    assert sample["image"].shape == (3, 60, 40)
    instances = sample["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[4, 10, 16, 30]]
    assert instances.gt_masks.get_bounding_boxes().tensor.tolist() == [[4, 10, 16, 30]]


def test_decisions_by_boxes_and_the_way_back() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    given = T.AugInput(image, boxes=np.array([[10.2, 5.0, 30.0, 20.0], [15, 8, 35, 18]]))
    augs = T.AugmentationList(
        [CropToBoxes(margin=1), T.RandomFlip(prob=1.0), T.ResizeTransform(17, 27, 34, 54)]
    )
    assert str(augs.augs[0]) == "CropToBoxes(margin=1)"
    transform = augs(given)
    assert given.image.shape == (34, 54, 3)
    # x -> 2 (27 - (x - 9)), y -> 2 (y - 4)
    np.testing.assert_allclose(given.boxes, [[12, 2, 51.6, 32], [2, 8, 42, 28]])
    assert isinstance(transform, T.TransformList)
    assert sum(isinstance(step, T.HFlipTransform) for step in transform.transforms) == 1
    points = np.array([[12.0, 9.0]])
    np.testing.assert_allclose(
        transform.inverse().apply_coords(transform.apply_coords(points.copy())), points
    )
    back = transform.inverse().apply_segmentation(np.ones((34, 54), np.uint8))
    assert back.shape == (40, 60)
    assert back.sum() == 17 * 27


def test_a_missing_field_is_named() -> None:
    class Sees(T.Augmentation):
        def get_transform(self, image: np.ndarray, depth: np.ndarray) -> T.Transform:
            return T.NoOpTransform()

    with pytest.raises(AttributeError, match="Sees needs the input's 'depth', which AugInput lacks"):
        Sees()(T.AugInput(np.zeros((4, 4), np.uint8)))

    class WithDepth(T.AugInput):
        def __init__(self, image: np.ndarray, depth: np.ndarray) -> None:
            super().__init__(image)
            self.depth = depth

        def transform(self, tfm: T.Transform) -> None:
            super().transform(tfm)
            self.depth = tfm.apply_image(self.depth)

    given = WithDepth(np.zeros((4, 6), np.uint8), np.arange(24, dtype=np.float32).reshape(4, 6))
    T.AugmentationList([Sees(), T.HFlipTransform(6)])(given)
    assert given.depth[0].tolist() == [5, 4, 3, 2, 1, 0]


def test_further_kinds_of_data_can_be_registered() -> None:
    @T.HFlipTransform.register_type("seam")
    def flip_seam(flip: T.HFlipTransform, seam: list[float]) -> list[float]:
        return [flip.width - x for x in seam]

    assert T.HFlipTransform(10).apply_seam([1.0, 4.0]) == [9.0, 6.0]


class Counter(DatasetEvaluator):
    """Counts pictures."""

    def reset(self) -> None:
        self.count = 0

    def process(self, inputs: Any, outputs: Any) -> None:
        self.count += len(outputs)

    def evaluate(self) -> dict[str, Any]:
        return {"count": self.count}


def test_an_evaluator_of_ones_own(cfg: CfgNode) -> None:
    def model(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{} for _ in inputs]

    loader = build_detection_test_loader(cfg, NAME)
    assert inference_on_dataset(model, loader, Counter()) == {"count": 1}
    assert inference_on_dataset(model, loader, [Counter()]) == {"count": 1}
    assert inference_on_dataset(model, loader, DatasetEvaluators([Counter()])) == {"count": 1}
