"""Pictures decoded late, against the same augmentations of the picture decoded first."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from cardamage.data import transforms as T
from cardamage.data.images.decoding import EncodedImage, decode_image
from cardamage.data.images.picture_input import PictureInput, image_to_tensor


def _photo(height: int = 240, width: int = 320, orientation: int = 1, kind: str = "JPEG") -> bytes:
    small = np.random.default_rng(orientation).integers(0, 256, (8, 10, 3)).astype(np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, kind, quality=95, exif=exif)
    return file.getvalue()


class Watched(EncodedImage):
    """Keeps what it was asked for."""

    asked: list[tuple[int, int] | None]

    def decode(self, least: tuple[int, int] | None = None) -> np.ndarray:
        self.asked = [*getattr(self, "asked", []), least]
        return super().decode(least)


class Darken(T.Augmentation):
    """A user's augmentation that looks at the pixels."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        mean = float(image.mean())
        assert mean > 0
        return T.BlendTransform(mean, 0.25, 0.75)


class BrightSideUp(T.RandomFlip):
    """A user's augmentation of a parent that looks at the size only."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        middle = image.shape[0] // 2
        darker = image[:middle].mean() < image[middle:].mean()
        return T.VFlipTransform(image.shape[0]) if darker else T.NoOpTransform()


class Stamp(T.Augmentation):
    """A user's augmentation that replaces the input's image by itself."""

    def __call__(self, aug_input: Any) -> T.Transform:
        stamped = aug_input.image.copy()
        stamped[:4, :4] = 255
        aug_input.image = stamped
        return T.NoOpTransform()


def _lists() -> dict[str, list[Any]]:
    short = T.ResizeShortestEdge((60, 90), 160, "choice")
    return {
        "nothing": [],
        "usual": [short, T.RandomFlip()],
        "flip first": [
            T.RandomFlip(prob=1.0),
            short,
            T.RandomFlip(prob=1.0, horizontal=False, vertical=True),
        ],
        "crop first": [T.RandomCrop("relative_range", (0.6, 0.6)), short, T.RandomFlip()],
        "jitter": [T.ResizeScale(0.2, 1.2, 200, 200), T.FixedSizeCrop((150, 150))],
        "twice": [T.Resize((100, 100)), T.Resize((50, 70)), T.RandomFlip()],
        "by chance": [T.RandomApply(T.RandomResize([(50, 60), (40, 44)])), T.RandomRotation(10)],
        "fixed": [T.ResizeTransform(240, 320, 60, 70), T.HFlipTransform(70)],
        "the user's first": [Darken(), short],
        "the user's last": [short, T.RandomFlip(), Darken()],
        "the user's flip": [short, BrightSideUp(), Stamp(), T.RandomFlip()],
    }


@pytest.mark.parametrize("name", _lists())
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_exact_path_is_the_plain_one(name: str, kind: str) -> None:
    data = _photo(kind=kind)
    for seed in range(4):
        plain = T.AugInput(decode_image(data), boxes=np.array([[10.0, 20, 100, 90]]))
        np.random.seed(seed)
        expected = T.AugmentationList(_lists()[name])(plain)
        late = PictureInput(
            EncodedImage(data),
            scaled_decode=False,
            native_resize=False,
            boxes=np.array([[10.0, 20, 100, 90]]),
        )
        np.random.seed(seed)
        found = T.AugmentationList(_lists()[name])(late)
        assert repr(found.transforms) == repr(expected.transforms)
        np.testing.assert_array_equal(late.image, plain.image)
        np.testing.assert_array_equal(late.boxes, plain.boxes)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", sorted(set(_lists()) - {"fixed"}))
def test_the_fast_path_is_near_it(name: str, orientation: int) -> None:
    data = _photo(orientation=orientation)
    for seed in range(2):
        plain, late = T.AugInput(decode_image(data)), PictureInput(EncodedImage(data))
        np.random.seed(seed)
        expected = T.AugmentationList(_lists()[name])(plain)
        np.random.seed(seed)
        found = T.AugmentationList(_lists()[name])(late)
        # The same sizes and chances: the same coordinates, to the last bit.
        points = np.random.default_rng(seed).uniform(0, 200, (9, 2))
        np.testing.assert_array_equal(found.apply_coords(points.copy()), expected.apply_coords(points.copy()))
        assert late.image.shape == plain.image.shape
        assert late.image.dtype == np.uint8
        difference = np.abs(late.image.astype(int) - plain.image)
        assert np.percentile(difference, 99) <= 4
        assert difference.mean() < 1


def test_a_jpeg_is_decoded_for_the_first_resize() -> None:
    picture = Watched(_photo())
    late = PictureInput(picture)
    assert late.canvas.shape == (240, 320, 3)
    T.AugmentationList([T.RandomFlip(prob=1.0), T.Resize((50, 60)), T.Resize((200, 200))])(late)
    assert late.canvas.shape == (200, 200, 3)
    assert not hasattr(picture, "asked")  # nobody looked yet
    assert late.image.shape == (200, 200, 3)
    assert picture.asked == [(50, 60)]


@pytest.mark.parametrize(
    "first", [T.RandomCrop("relative", (0.5, 0.5)), Darken(), T.RandomRotation((20, 30))]
)
def test_it_is_decoded_in_full_where_something_comes_before_the_resize(first: T.Augmentation) -> None:
    picture = Watched(_photo())
    late = PictureInput(picture)
    T.AugmentationList([first, T.Resize((50, 60))])(late)
    assert late.image.shape == (50, 60, 3)
    assert picture.asked == [None]


def test_transforms_joined_by_an_augmentation_of_ones_own() -> None:
    class Joined(T.Augmentation):
        @T.decides_by_size
        def get_transform(self, image: np.ndarray) -> T.Transform:
            assert not image.any()  # a stand-in: this one says that it doesn't look
            h, w = image.shape[:2]
            return T.TransformList([T.ResizeTransform(h, w, 50, 60), T.HFlipTransform(60)])

    picture = Watched(_photo())
    late = PictureInput(picture)
    Joined()(late)
    assert late.image.shape == (50, 60, 3)
    assert picture.asked == [(50, 60)]


def test_a_registered_way_of_flipping_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(T.HFlipTransform, "apply_image", T.HFlipTransform.apply_image)  # restored afterwards
    T.HFlipTransform.register_type("image", lambda flip, image: np.full_like(image, flip.width))
    late = PictureInput(EncodedImage(_photo()))
    late.transform(T.HFlipTransform(77))
    assert (late.image == 77).all()


def test_a_resize_for_another_size_is_refused() -> None:
    late = PictureInput(EncodedImage(_photo()))
    with pytest.raises(ValueError, match="height 100"):
        late.transform(T.ResizeTransform(100, 100, 50, 50))


@pytest.mark.parametrize("shape", [(7, 9, 3), (1, 1, 3), (5, 4, 1), (0, 3, 3), (6, 5, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_tensor_layout(shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    for view in (image, image[:, ::-1]):
        tensor = image_to_tensor(view)
        assert tensor.is_contiguous()
        np.testing.assert_array_equal(tensor.numpy(), view.transpose(2, 0, 1))
    before = image.copy()
    image_to_tensor(image).fill_(3)
    np.testing.assert_array_equal(image, before)
    assert tensor.dtype == torch.from_numpy(image).dtype
