"""All objects of an image as one array, against each of them alone: equal to the last bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.data import transforms as T
from cardamage.data.detection_utils import (
    annotations_to_instances,
    transform_instance_annotations,
    transformed_instances,
)
from cardamage.errors import DataError
from cardamage.structures import BoxMode, Instances, PolygonMasks

H, W = 90, 120


class Shear(T.Transform):
    """A user's own transform; works in place, as many do."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return img

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords[:, 0] += 0.3 * coords[:, 1]
        return coords


class Boxed(Shear):
    """A user's own transform that makes boxes and polygons in its own way."""

    def apply_box(self, box: np.ndarray) -> np.ndarray:
        return box + np.arange(4)

    def apply_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray]:
        return [polygon + len(polygons) for polygon in polygons[::-1]]


STEPS: dict[str, Callable[[], list[T.Transform]]] = {
    "nothing": lambda: [],
    "no-op": lambda: [T.NoOpTransform()],
    "resize": lambda: [T.ResizeTransform(H, W, 50, 133)],
    "hflip": lambda: [T.HFlipTransform(W)],
    "vflip": lambda: [T.VFlipTransform(H)],
    "crop": lambda: [T.CropTransform(20, 15, 70, 60)],
    "pad": lambda: [T.PadTransform(3, 5, 7, 11)],
    "scale": lambda: [T.ScaleTransform(H, W, 45, 60, "bilinear")],
    "extent": lambda: [T.ExtentTransform((-5.5, 3.25, 100, 80), (60, 70))],
    "rotation": lambda: [T.RotationTransform(H, W, 31.7)],
    "blend": lambda: [T.BlendTransform(1.0, 0.5, 0.5)],
    "color": lambda: [T.ColorTransform(lambda image: image // 2)],
    "mixed": lambda: [
        T.ResizeTransform(H, W, 80, 107),
        T.HFlipTransform(107),
        T.CropTransform(10, 5, 90, 70),
        T.RotationTransform(70, 90, -12, expand=False),
        T.VFlipTransform(70),
    ],
    "the user's": lambda: [Shear(), T.HFlipTransform(W), Shear()],
    "the user's polygons": lambda: [T.HFlipTransform(W), Boxed(), Shear()],
}


def _polygon(rng: np.random.Generator) -> list[float]:
    return (rng.uniform(-10, 130, 2 * int(rng.integers(3, 12)))).tolist()


def _note(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    x0, y0 = rng.uniform(-20, 100, 2)  # some are past the edge
    x1, y1 = x0 + rng.uniform(0, 60), y0 + rng.uniform(0, 60)
    sided = bool(rng.integers(2))
    box: Any = [x0, y0, x1 - x0, y1 - y0] if sided else [x0, y0, x1, y1]
    box = [box, tuple(box), [round(v) for v in box], np.array(box, np.float32)][int(rng.integers(4))]
    mode = BoxMode.XYWH_ABS if sided else BoxMode.XYXY_ABS
    note = {"bbox": box, "bbox_mode": mode, "category_id": int(rng.integers(9)), "iscrowd": 0}
    if kind == "rle":
        mask = np.asfortranarray(rng.integers(0, 2, (H, W)).astype(np.uint8))
        note["segmentation"] = mask_util.encode(mask)
    elif kind == "polygons":
        polygons: list[Any] = [_polygon(rng) for _ in range(int(rng.integers(1, 4)))]
        polygons[0] = np.array(polygons[0]) if rng.integers(2) else polygons[0]
        note["segmentation"] = polygons
    return note


def _one_by_one(notes: list[dict[str, Any]], tfm: T.Transform, size: tuple[int, int], form: str) -> Instances:
    moved = [transform_instance_annotations(copy.deepcopy(note), tfm, size) for note in notes]
    return annotations_to_instances(moved, size, form)


def _assert_equal(found: Instances, expected: Instances) -> None:
    assert found.get_fields().keys() == expected.get_fields().keys()
    assert torch.equal(found.gt_boxes.tensor, expected.gt_boxes.tensor)
    assert torch.equal(found.gt_classes, expected.gt_classes)
    if not found.has("gt_masks"):
        return
    assert type(found.gt_masks) is type(expected.gt_masks)
    if not isinstance(found.gt_masks, PolygonMasks):
        assert torch.equal(found.gt_masks.tensor, expected.gt_masks.tensor)
        return
    for one, other in zip(found.gt_masks.polygons, expected.gt_masks.polygons, strict=True):
        assert len(one) == len(other)
        for polygon, wanted in zip(one, other, strict=True):
            np.testing.assert_array_equal(polygon, wanted)


@pytest.mark.parametrize("kinds", [["polygons"], ["rle"], ["polygons", "rle"], ["box"]], ids="+".join)
@pytest.mark.parametrize("steps", STEPS)
def test_together_as_alone(steps: str, kinds: list[str]) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        tfm = T.TransformList(STEPS[steps]())
        size = tfm.apply_image(np.zeros((H, W, 3), np.uint8)).shape[:2]
        notes = [_note(rng, kinds[number % len(kinds)]) for number in range(int(rng.integers(1, 8)))]
        before = copy.deepcopy(notes)
        for form in ("polygon", "bitmask"):
            _assert_equal(transformed_instances(notes, tfm, size, form), _one_by_one(notes, tfm, size, form))
        assert repr(notes) == repr(before)


def test_no_objects() -> None:
    found = transformed_instances([], T.TransformList([T.RotationTransform(H, W, 30)]), (50, 60))
    assert len(found) == 0
    assert not found.has("gt_masks")


def test_a_missing_segmentation_is_named() -> None:
    rng = np.random.default_rng(0)
    notes = [_note(rng, "polygons"), _note(rng, "box")]
    with pytest.raises(DataError, match="Annotation 1 has a box but no segmentation"):
        transformed_instances(notes, T.NoOpTransform(), (H, W))


def test_rotated_boxes_and_other_modes() -> None:
    turned = {"bbox": [50, 40, 20, 10, 30.0], "bbox_mode": BoxMode.XYWHA_ABS, "category_id": 0}
    corners = {"bbox": [1, 2, 3, 4], "bbox_mode": 0, "category_id": 0}
    notes = [turned, corners]
    tfm = T.TransformList([T.HFlipTransform(W)])
    _assert_equal(transformed_instances(notes, tfm, (H, W)), _one_by_one(notes, tfm, (H, W), "polygon"))
