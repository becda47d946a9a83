"""Transforms against closed forms in float64, and against Pillow where Pillow decides the pixels."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from cardamage.data import transforms as T

SEEDS = [0, 1, 2]


def _points(rng: np.random.Generator, h: int, w: int, n: int = 20) -> np.ndarray:
    return rng.uniform((-5, -5), (w + 5, h + 5), (n, 2))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("channels", [None, 1, 3, 4, 5])
def test_resize_of_uint8_is_pillows(seed: int, channels: int | None) -> None:
    rng = np.random.default_rng(seed)
    h, w, new_h, new_w = rng.integers(3, 60, 4).tolist()
    image = rng.integers(0, 256, (h, w) if channels is None else (h, w, channels)).astype(np.uint8)
    got = T.ResizeTransform(h, w, new_h, new_w).apply_image(image)
    planes = [image] if channels is None else np.moveaxis(image, 2, 0)
    if channels != 4:  # Pillow weighs colors by alpha there
        wanted = [np.asarray(Image.fromarray(p.copy()).resize((new_w, new_h), 2)) for p in planes]
        np.testing.assert_array_equal(got, wanted[0] if channels is None else np.stack(wanted, axis=-1))
    assert got.dtype == np.uint8
    assert got.shape == (new_h, new_w, *image.shape[2:])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resize_of_floats_is_bilinear_between_pixel_centers(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    h, w, new_h, new_w = rng.integers(3, 30, 4).tolist()
    image = rng.uniform(0, 255, (h, w, 2)).astype(dtype)

    def weights(size: int, new: int) -> np.ndarray:
        places = np.maximum((np.arange(new) + 0.5) * size / new - 0.5, 0)
        low = np.floor(places).astype(int)
        matrix = np.zeros((new, size))
        np.add.at(matrix, (np.arange(new), low), 1 - (places - low))
        np.add.at(matrix, (np.arange(new), np.minimum(low + 1, size - 1)), places - low)
        return matrix

    wanted = np.einsum("ih,hwc,jw->ijc", weights(h, new_h), image.astype(np.float64), weights(w, new_w))
    got = T.ResizeTransform(h, w, new_h, new_w).apply_image(image[::1, ::-1])[:, ::-1]
    np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-3)
    assert got.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int32, np.int64])
@pytest.mark.parametrize("seed", SEEDS)
def test_resize_of_labels_takes_the_nearest_pixel(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    h, w, new_h, new_w = rng.integers(2, 50, 4).tolist()
    labels = rng.integers(0, 2, (h, w)).astype(dtype)
    rows, columns = (np.arange(new_h) + 0.5) * h / new_h, (np.arange(new_w) + 0.5) * w / new_w
    sure = (np.abs(rows - rows.round()) > 1e-6)[:, None] & (np.abs(columns - columns.round()) > 1e-6)
    got = T.ResizeTransform(h, w, new_h, new_w).apply_segmentation(labels)
    np.testing.assert_array_equal(got[sure], labels[rows.astype(int)[:, None], columns.astype(int)][sure])
    same = T.ResizeTransform(h, w, new_h, new_w).apply_segmentation(labels.astype(np.uint8))
    np.testing.assert_array_equal(got, same.astype(dtype))  # where two pixels are equally near, too
    assert got.dtype == dtype


def test_resize_refuses_another_size() -> None:
    with pytest.raises(ValueError, match="height 4 and width 5; got an array of \\(5, 4, 3\\)"):
        T.ResizeTransform(4, 5, 8, 8).apply_image(np.zeros((5, 4, 3), np.uint8))


def _cases(h: int, w: int, rng: np.random.Generator) -> list[tuple[T.Transform, np.ndarray]]:
    """Transforms with the affine matrix (2, 3) that maps points."""
    angle = rng.uniform(-170, 170)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = np.array([[cos, sin], [-sin, cos]])  # counter-clockwise as seen, y downwards
    big = np.rint([h * abs(sin) + w * abs(cos), h * abs(cos) + w * abs(sin)])
    middle, center = np.array([w / 2, h / 2]), rng.uniform(0, (w, h))
    x0, y0, x1, y1 = -3.0, 4.0, w + 7.0, h - 1.0
    scale = np.array([50 / (x1 - x0), 40 / (y1 - y0)])

    def affine(matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
        return np.concatenate([matrix, np.asarray(shift, float).reshape(2, 1)], axis=1)

    return [
        (T.ResizeTransform(h, w, 31, 17), affine(np.diag([17 / w, 31 / h]), (0, 0))),
        (T.HFlipTransform(w), affine(np.diag([-1, 1]), (w, 0))),
        (T.VFlipTransform(h), affine(np.diag([1, -1]), (0, h))),
        (T.NoOpTransform(), affine(np.eye(2), (0, 0))),
        (T.CropTransform(3, 5, 10, 11), affine(np.eye(2), (-3, -5))),
        (T.PadTransform(2, 3, 4, 5), affine(np.eye(2), (2, 3))),
        (T.ExtentTransform((x0, y0, x1, y1), (40, 50)), affine(np.diag(scale), -scale * (x0, y0))),
        (T.RotationTransform(h, w, angle), affine(turn, big / 2 - turn @ middle)),
        (
            T.RotationTransform(h, w, angle, expand=False, center=tuple(center)),
            affine(turn, center - turn @ center),
        ),
        (T.ColorTransform(lambda image: image), affine(np.eye(2), (0, 0))),
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", range(10))
def test_points_and_boxes_follow_the_closed_form(case: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(20, 90, 2).tolist()
    transform, matrix = _cases(h, w, rng)[case]
    points = _points(rng, h, w)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(transform.apply_coords(points.copy()), moved, rtol=1e-5, atol=1e-4)
    boxes = np.concatenate([points[:10], points[:10] + rng.uniform(0, 30, (10, 2))], axis=1)
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ matrix[:, :2].T + matrix[:, 2]
    wanted = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    np.testing.assert_allclose(transform.apply_box(boxes), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("case", range(10))
def test_nothing_goes_through_every_transform(case: int) -> None:
    transform, _ = _cases(30, 40, np.random.default_rng(0))[case]
    assert transform.apply_coords(np.zeros((0, 2))).shape == (0, 2)
    assert transform.apply_box(np.zeros((0, 4))).shape == (0, 4)
    assert transform.apply_polygons([]) == []
    assert transform.apply_segmentation(np.zeros((30, 40), np.uint8)).max() == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", [0, 1, 2, 4, 5, 6, 7, 8])
def test_a_mask_goes_where_its_points_go(case: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(40, 90, 2).tolist()
    transform, matrix = _cases(h, w, rng)[case]
    mask = np.zeros((h, w), np.uint8)
    mask[10:30, 12:33] = 1
    moved = transform.apply_segmentation(mask)
    rows, columns = np.mgrid[: moved.shape[0], : moved.shape[1]] + 0.5
    back = np.linalg.inv(matrix[:, :2]) @ (np.stack([columns.ravel(), rows.ravel()]) - matrix[:, 2:])
    depth = np.minimum.reduce([back[0] - 12, 33 - back[0], back[1] - 10, 30 - back[1]]).reshape(moved.shape)
    sure = np.abs(depth) > 1.0  # within a pixel of the border, rounding decides
    np.testing.assert_array_equal(moved[sure], (depth > 0)[sure])
    assert (transform.apply_segmentation(mask.astype(bool)) == moved.astype(bool)).all()


@pytest.mark.parametrize("case", [0, 1, 2, 3, 7, 9])
def test_the_inverse_takes_points_back(case: int) -> None:
    rng = np.random.default_rng(case)
    transform, _ = _cases(48, 64, rng)[case]
    points = _points(rng, 48, 64)
    back = transform.inverse().apply_coords(transform.apply_coords(points.copy()))
    np.testing.assert_allclose(back, points, atol=0.51 if case == 7 else 1e-9)  # a rotation's size is rounded


def test_crop_and_pad_are_each_others_inverse() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    crop = T.CropTransform(4, 5, 10, 11, 30, 20)
    padded = crop.inverse().apply_image(crop.apply_image(image))
    assert padded.shape == image.shape
    np.testing.assert_array_equal(padded[5:16, 4:14], image[5:16, 4:14])
    again = crop.inverse().inverse()
    assert (again.x0, again.y0, again.w, again.h) == (4, 5, 10, 11)
    with pytest.raises(ValueError, match="orig_w and orig_h"):
        T.CropTransform(0, 0, 5, 5).inverse()
    with pytest.raises(ValueError, match="orig_w and orig_h"):
        T.PadTransform(0, 0, 5, 5).inverse()


def test_a_cropping_rotation_has_no_inverse() -> None:
    with pytest.raises(NotImplementedError, match="corners"):
        T.RotationTransform(10, 10, 30, expand=False).inverse()


def test_a_quarter_turn_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 20, 3)).astype(np.uint8)
    turned = T.RotationTransform(12, 20, 90).apply_image(image)
    np.testing.assert_array_equal(turned, np.rot90(image))
    assert T.RotationTransform(12, 20, 360).apply_image(image) is image
    gray = T.RotationTransform(12, 20, 90, interp=cv2.INTER_NEAREST).apply_image(image[..., :1])
    np.testing.assert_array_equal(gray, np.rot90(image[..., :1]))


def test_crop_cuts_polygons() -> None:
    square = np.array([(0, 0), (10, 0), (10, 10), (0, 10)], float)
    crop = T.CropTransform(5, 6, 100, 100)
    (piece,) = crop.apply_polygons([square, square + 500])
    assert sorted(map(tuple, piece)) == [(0, 0), (0, 4), (5, 0), (5, 4)]
    assert crop.apply_polygons([square - 100]) == []


def test_color_transforms_leave_geometry_alone() -> None:
    image = np.full((4, 5, 3), 10, np.uint8)
    assert (T.ColorTransform(lambda x: x + 1).apply_image(image) == 11).all()
    pil = T.PILColorTransform(lambda picture: picture.point(lambda value: value * 2))
    assert (pil.apply_image(image) == 20).all()
    mask = np.eye(4, dtype=np.uint8)
    assert (pil.apply_segmentation(mask) == mask).all()
    assert isinstance(pil.inverse(), T.NoOpTransform)
    with pytest.raises(ValueError, match="needs a function"):
        T.ColorTransform("brighter")  # type: ignore[arg-type]


def test_transforms_can_be_pickled() -> None:
    transform = T.TransformList(
        [T.ResizeTransform(4, 5, 8, 10), T.CropTransform(0, 0, 3, 3), T.HFlipTransform(3)]
    )
    points = np.array([[1.0, 2.0]])
    copied = pickle.loads(pickle.dumps(transform.transforms))
    wanted = transform.apply_coords(points.copy())
    np.testing.assert_array_equal(T.TransformList(copied).apply_coords(points.copy()), wanted)
