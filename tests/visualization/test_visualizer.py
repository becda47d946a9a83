"""What the visualizer leaves in the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cardamage.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks, RLEMasks
from cardamage.utils import visualizer as detectron2_path
from cardamage.visualization import ColorMode, VisImage, Visualizer
from cardamage.visualization.colors import class_color

META = {"thing_classes": ["dent", "kırık-kayıp", "полоса"]}
H, W = 200, 300


def _gray(height: int = H, width: int = W, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def _predictions(masks: str | None = "bitmask", count: int = 3, size: tuple[int, int] = (H, W)) -> Instances:
    height, width = size
    pixels = torch.zeros(count, height, width, dtype=torch.bool)
    boxes = torch.zeros(count, 4)
    for i in range(count):
        x, y = 10 + (i * 90) % (width - 90), 20 + 15 * (i % 3)
        pixels[i, y : y + 60, x : x + 70] = True
        boxes[i] = torch.tensor([x, y, x + 70, y + 60])
    instances = Instances(
        size,
        pred_boxes=Boxes(boxes),
        scores=torch.linspace(0.99, 0.5, count),
        pred_classes=torch.arange(count) % 3,
    )
    if masks is not None:
        instances.pred_masks = {"bitmask": pixels, "rle": RLEMasks.from_tensor(pixels)}[masks]
    return instances


def test_detectron2_path() -> None:
    assert detectron2_path.Visualizer is Visualizer
    assert {"ColorMode", "VisImage"} <= set(dir(detectron2_path))


def test_bool_and_run_length_masks_look_the_same() -> None:
    drawn = [
        Visualizer(_gray(), META).draw_instance_predictions(_predictions(k)).get_image()
        for k in ("bitmask", "rle")
    ]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("mode", list(ColorMode))
@pytest.mark.parametrize("masks", ["bitmask", "rle", None])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_predictions_in_every_mode(mode: ColorMode, masks: str | None, count: int) -> None:
    picture = _gray()
    visualizer = Visualizer(picture, META, instance_mode=mode)
    image = visualizer.draw_instance_predictions(_predictions(masks, count)).get_image()
    assert image.shape == (H, W, 3)
    assert image.dtype == np.uint8
    assert (picture == 90).all()  # the user's array is left alone
    assert (image != picture).any() == (count > 0)


def test_fill_has_the_class_color_at_its_density() -> None:
    plain = Visualizer(_gray(), META, instance_mode=ColorMode.SEGMENTATION)
    image = plain.draw_instance_predictions(_predictions(count=1), jittering=False).get_image()
    expected = 0.25 * 90 + 0.75 * np.array(class_color(0))
    np.testing.assert_allclose(image[60, 40], expected, atol=1)


def test_thing_colors_are_used() -> None:
    meta = {**META, "thing_colors": [[255, 0, 0], [0, 255, 0], [0, 0, 255]]}
    image = Visualizer(_gray(), meta).draw_instance_predictions(_predictions(count=1)).get_image()
    np.testing.assert_allclose(image[60, 40], 0.55 * 90 + 0.45 * np.array([255, 0, 0]), atol=1)


def test_black_and_white_outside_the_masks() -> None:
    picture = _gray()
    picture[...] = (200, 100, 50)
    image = Visualizer(picture, META, instance_mode=ColorMode.IMAGE_BW)
    drawn = image.draw_instance_predictions(_predictions(count=1)).get_image()
    assert np.ptp(drawn[190, 290].astype(int)) == 0
    assert np.ptp(drawn[60, 40].astype(int)) > 30


def test_polygons_run_lengths_and_pixels_agree() -> None:
    pixels = np.zeros((H, W), np.uint8)
    pixels[40:120, 50:160] = 1
    polygon = [50.0, 40.0, 160.0, 40.0, 160.0, 120.0, 50.0, 120.0]
    kinds: list[Any] = [
        PolygonMasks([[polygon]]),
        BitMasks(torch.from_numpy(pixels[None] > 0)),
        RLEMasks.from_tensor(torch.from_numpy(pixels[None])),
        [[np.array(polygon)]],
        [pixels],
        pixels[None],
    ]
    images = [
        Visualizer(_gray()).overlay_instances(masks=kind, assigned_colors=["r"]).get_image() for kind in kinds
    ]
    for image in images:
        np.testing.assert_array_equal(image[44:116, 56:154], images[0][44:116, 56:154])
        np.testing.assert_array_equal(image[:30], 90)


def test_dataset_dict_of_mixed_annotations() -> None:
    square = [20.0, 20.0, 80.0, 20.0, 80.0, 80.0, 20.0, 80.0]
    run_length = RLEMasks.from_tensor(torch.ones(1, H, W)).rles[0]
    box = {"bbox": [20, 20, 60, 60], "bbox_mode": BoxMode.XYWH_ABS}
    annotations = [
        {**box, "category_id": 0, "segmentation": [square]},
        {**box, "category_id": 1, "segmentation": run_length, "iscrowd": 1},
        {**box, "category_id": 2},
    ]
    image = Visualizer(_gray(), META).draw_dataset_dict({"annotations": annotations}).get_image()
    assert (image != 90).all(axis=2).mean() > 0.9
    for empty in ({}, {"annotations": []}):
        assert (Visualizer(_gray(), META).draw_dataset_dict(empty).get_image() == 90).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
def test_scale(scale: float) -> None:
    output = Visualizer(_gray(), META, scale=scale).draw_instance_predictions(_predictions())
    assert output.get_image().shape == (H * scale, W * scale, 3)
    assert (output.width, output.height) == (W, H)


def test_one_pixel_masks_can_be_seen() -> None:
    pixels = np.zeros((1, H, W), np.uint8)
    pixels[0, 100, 150] = 1
    image = Visualizer(_gray()).overlay_instances(masks=pixels, assigned_colors=["r"]).get_image()
    assert image[100, 150, 0] > 150
    drawn = Visualizer(_gray(), META)
    drawn.overlay_instances(masks=pixels, boxes=np.array([[150, 100, 151, 101]]), labels=["dent"])
    assert (drawn.get_output().get_image() != 90).any(axis=2).sum() > 50


@pytest.mark.parametrize(
    "box", [[-50, -50, 30, 30], [250, 150, 400, 400], [-10, -10, 400, 400], [500, 500, 600, 600]]
)
def test_boxes_over_the_edge_keep_their_tags_inside(box: list[float]) -> None:
    visualizer = Visualizer(_gray(), META)
    visualizer.overlay_instances(boxes=np.array([box]), labels=["kırık-kayıp 97%"], assigned_colors=["w"])
    bright = (visualizer.get_output().get_image() > 220).all(axis=2)
    assert bright.sum() > 400  # most of a tag


def test_empty_mask_and_polygon_outside() -> None:
    outside = [[np.array([400.0, 10, 500, 10, 500, 90])]]
    for masks in (np.zeros((1, H, W)), outside, [None], [[]]):
        image = Visualizer(_gray()).overlay_instances(masks=masks, labels=[""]).get_image()
        assert (image == 90).all()


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one entry per object everywhere, got \{'boxes': 2, 'labels': 1\}"):
        Visualizer(_gray()).overlay_instances(boxes=np.zeros((2, 4)), labels=["a"])


def test_primitives() -> None:
    visualizer = Visualizer(np.full((H, W), 90.0), META)  # gray, of floats
    visualizer.draw_box((10, 10, 60, 60), edge_color="r")
    visualizer.draw_polygon(np.array([[100, 20], [150, 20], [125, 70]]), "#00ff00", edge_color="k")
    visualizer.draw_circle((200, 50), (0, 0, 1.0), radius=10)
    visualizer.draw_line([10, 290], [180, 180], "y", linewidth=5)
    visualizer.draw_text("größe", (250, 20), color="w")
    visualizer.draw_binary_mask(np.pad(np.ones((20, 20)), ((100, 80), (20, 260))), "m", text="mask")
    visualizer.draw_soft_mask(np.pad(np.full((20, 20), 0.9), ((100, 80), (220, 60))), "c", text="soft")
    image = visualizer.get_output().get_image().astype(int)
    assert image[36, 125, 1] > image[36, 125, 0] + 50
    assert tuple(image[50, 200]) == (0, 0, 255)
    assert tuple(image[180, 150]) == tuple(image[180, 40])
    assert (image[20:30, 230:270] > 200).all(axis=2).any()
    assert image[110, 30, 0] > image[110, 30, 1] + 30
    assert image[110, 230, 1] > image[110, 230, 0] + 30
    hidden = Visualizer(_gray()).draw_binary_mask(np.eye(200, 300), "r", area_threshold=1000)
    assert (hidden.get_image() == 90).all()


@pytest.mark.parametrize("name", ["plain.png", "bild größe.jpg", "new/folder/x.webp"])
def test_save(name: str, tmp_path: Path) -> None:
    output = VisImage(_gray())
    output.save(tmp_path / name)
    data = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (H, W, 3)


def test_save_keeps_red_red_and_refuses_unknown_endings(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    VisImage(red).save(tmp_path / "a.png")
    assert tuple(cv2.imread(str(tmp_path / "a.png"))[0, 0]) == (0, 0, 255)
    with pytest.raises(ValueError, match="'.xyz' isn't an image format; use .png or .jpg"):
        VisImage(red).save(tmp_path / "a.xyz")
    assert not (tmp_path / "a.xyz").exists()


def test_twelve_megapixels() -> None:
    size = (3000, 4000)
    image = (
        Visualizer(_gray(*size), META).draw_instance_predictions(_predictions("rle", 40, size)).get_image()
    )
    assert image.shape == (*size, 3)
