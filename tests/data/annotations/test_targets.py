"""An object as box, polygon and run lengths through resize, crop and flip, against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data import transforms as T
from cardamage.data.detection_utils import annotations_to_instances, transform_instance_annotations
from cardamage.structures import BoxMode


def _rectangle(rng: np.random.Generator, h: int, w: int) -> tuple[int, int, int, int]:
    x0, y0 = int(rng.integers(0, w - 30)), int(rng.integers(0, h - 30))
    return x0, y0, int(rng.integers(x0 + 10, w + 1)), int(rng.integers(y0 + 10, h + 1))


def _notes(box: tuple[int, int, int, int], h: int, w: int, mode: BoxMode) -> list[dict[str, Any]]:
    x0, y0, x1, y1 = box
    mask = np.zeros((h, w), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    written = [x0, y0, x1, y1] if mode == BoxMode.XYXY_ABS else [x0, y0, x1 - x0, y1 - y0]
    head = {"bbox": written, "bbox_mode": mode, "category_id": 0}
    return [
        {**head, "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]},
        {**head, "segmentation": mask_util.encode(mask)},
    ]


def _shortest_edge(h: int, w: int, short: int, limit: int) -> tuple[int, int]:
    """The documented rule: short edge to `short`, unless the long one passes `limit`; halves round up."""
    scale = min(short / min(h, w), limit / max(h, w))
    return int(h * scale + 0.5), int(w * scale + 0.5)


@pytest.mark.parametrize("mode", [BoxMode.XYXY_ABS, BoxMode.XYWH_ABS])
@pytest.mark.parametrize("seed", range(12))
def test_resize_crop_and_flip(seed: int, mode: BoxMode) -> None:
    rng = np.random.default_rng(seed)
    h, w = (int(v) for v in rng.integers(60, 160, 2))
    box = _rectangle(rng, h, w)
    resize = T.ResizeShortestEdge(90, 140).get_transform(np.zeros((h, w), np.uint8))
    new_h, new_w = _shortest_edge(h, w, 90, 140)
    assert (resize.new_h, resize.new_w) == (new_h, new_w)
    crop_h, crop_w = new_h * 3 // 4, new_w * 2 // 3
    left, top = new_w - crop_w, (new_h - crop_h) // 2
    steps = [resize, T.CropTransform(left, top, crop_w, crop_h)]
    steps.append(T.HFlipTransform(crop_w) if seed % 2 else T.VFlipTransform(crop_h))
    outlined, drawn = (
        transform_instance_annotations(note, steps, (crop_h, crop_w)) for note in _notes(box, h, w, mode)
    )

    # The box: scaled, shifted, mirrored, cut to the picture. Whole numbers must not round on the way.
    xs = np.array(box[0::2]) * new_w / w - left
    ys = np.array(box[1::2]) * new_h / h - top
    xs, ys = (np.sort(crop_w - xs), ys) if seed % 2 else (xs, np.sort(crop_h - ys))
    wanted = np.array([xs[0], ys[0], xs[1], ys[1]]).clip(0, (crop_w, crop_h) * 2)
    for note in (outlined, drawn):
        assert note["bbox_mode"] == BoxMode.XYXY_ABS
        np.testing.assert_allclose(note["bbox"], wanted, atol=1e-9)

    # The run lengths: pixel-exact, each pixel from the one its center falls into.
    rows = ((np.arange(new_h) + 0.5) * h / new_h).astype(int)
    columns = ((np.arange(new_w) + 0.5) * w / new_w).astype(int)
    inside = ((rows >= box[1]) & (rows < box[3]))[:, None] & ((columns >= box[0]) & (columns < box[2]))
    mask = inside[top : top + crop_h, left : left + crop_w]
    mask = mask[:, ::-1] if seed % 2 else mask[::-1]
    np.testing.assert_array_equal(drawn["segmentation"], mask)

    # The polygon: nothing where nothing is left, else its corners are the box's.
    area = np.prod(wanted[2:] - wanted[:2])
    if area < 1e-9:
        assert outlined["segmentation"] == []
        return
    (polygon,) = outlined["segmentation"]
    points = polygon.reshape(-1, 2)
    np.testing.assert_allclose((*points.min(0), *points.max(0)), wanted, atol=1e-9)

    # Drawn, polygon and run lengths are the same but for a pixel along the border.
    both = annotations_to_instances([outlined, drawn], (crop_h, crop_w), "bitmask").gt_masks.tensor.numpy()
    width, height = wanted[2:] - wanted[:2]
    assert (both[0] != both[1]).sum() <= 2 * (width + height) + 4
    if min(width, height) >= 12:
        assert (both[0] & both[1]).sum() / (both[0] | both[1]).sum() > 0.8


def test_masks_of_one_image_have_one_size() -> None:
    note = {"bbox": [0, 0, 4, 4], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    masks = [{**note, "segmentation": np.ones(size, np.uint8)} for size in ((4, 6), (4, 7))]
    with pytest.raises(ValueError, match=r"must be of one size; got \[\(4, 6\), \(4, 7\)\]"):
        annotations_to_instances(masks, (4, 6), "bitmask")
    with pytest.raises(ValueError, match=r"\(height, width\) array; got one of \(1, 4, 6\)"):
        annotations_to_instances([{**note, "segmentation": np.ones((1, 4, 6))}], (4, 6), "bitmask")
    kept = annotations_to_instances(masks[:1], (9, 9), "bitmask")  # arrays are their caller's matter
    assert kept.gt_masks.tensor.shape == (1, 4, 6)
