"""From a photo to its views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cardamage.config import configurable
from cardamage.data import transforms as T  # noqa: N812 (the name everyone knows it by)
from cardamage.data.images.picture_input import image_to_tensor
from cardamage.data.transforms.native_resize import resize_image
from cardamage.errors import ConfigValueError

__all__ = ["DatasetMapperTTA"]


class DatasetMapperTTA:
    """Makes of one model input several: the picture in other sizes, and each of these mirrored.

    Attributes:
        min_sizes: lengths of the shorter edge in pixels.
        max_size: the longer edge's limit.
        flip: whether every size comes mirrored, too.
        native_resize: how pictures are resized, see :class:`cardamage.data.DatasetMapper`.
    """

    @configurable
    def __init__(
        self, min_sizes: Sequence[int], max_size: int, flip: bool, *, native_resize: bool = True
    ) -> None:
        """Set which views there are.

        Args:
            min_sizes: lengths of the shorter edge in pixels; 0 leaves the picture as it is.
            max_size: the longer edge's limit.
            flip: add the mirror image of every size.
            native_resize: let torch resize; False gives Detectron2's pixels.

        Raises:
            ConfigValueError: no sizes, or one that is none.
        """
        if not min_sizes or min(min_sizes) < 0 or max_size < 1:
            raise ConfigValueError(
                f"TEST.AUG.MIN_SIZES is {tuple(min_sizes)} and TEST.AUG.MAX_SIZE {max_size}: name one or "
                "more lengths of the shorter edge in pixels, and the limit of the longer one."
            )
        self.min_sizes = min_sizes
        self.max_size = max_size
        self.flip = flip
        self.native_resize = native_resize

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        """Read ``TEST.AUG`` and ``INPUT.RESIZE``."""
        node = cfg.TEST.AUG
        return {
            "min_sizes": node.MIN_SIZES,
            "max_size": node.MAX_SIZE,
            "flip": node.FLIP,
            "native_resize": cfg.INPUT.RESIZE == "native",
        }

    def __call__(self, dataset_dict: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Make the views of one picture.

        Args:
            dataset_dict: ``image`` (C, H, W), and ``height`` and ``width`` of the photo it shows.

        Returns:
            A dict for each size, followed by the one of its mirror image: ``image``, and ``transforms`` that
            lead from the photo's pixels to its own; all else as it was.
        """
        picture = np.ascontiguousarray(dataset_dict["image"].permute(1, 2, 0).cpu().numpy())
        height, width = picture.shape[:2]
        photo = int(dataset_dict["height"]), int(dataset_dict["width"])
        before = T.NoOpTransform() if photo == (height, width) else T.ResizeTransform(*photo, height, width)
        views = []
        for pixels, steps in self._views(picture):
            view = dict(dataset_dict)
            view["image"] = image_to_tensor(pixels)
            view["transforms"] = T.TransformList([before, *steps])
            views.append(view)
        return views

    def _views(self, picture: np.ndarray) -> Iterator[tuple[np.ndarray, list[T.Transform]]]:
        height, width = picture.shape[:2]
        for size in self.min_sizes:
            pixels, steps = picture, list[T.Transform]()
            if size:
                new = T.ResizeShortestEdge.get_output_shape(height, width, int(size), self.max_size)
                resize = T.ResizeTransform(height, width, *new)
                pixels, steps = resize_image(picture, resize, self.native_resize), [resize]
            yield pixels, steps
            if self.flip:
                yield pixels[:, ::-1], [*steps, T.HFlipTransform(pixels.shape[1])]
