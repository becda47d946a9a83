"""Keypoints through transforms. There is no keypoint head; this is for mappers that carry them along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cardamage.data import transforms as T  # noqa: N812 (the name everyone knows it by)
from cardamage.errors import DataError

__all__ = ["transform_keypoint_annotations"]


def transform_keypoint_annotations(
    keypoints: Any,
    transforms: T.Transform,
    image_size: tuple[int, int],
    keypoint_hflip_indices: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Move keypoints with their image; those that leave it become unlabelled.

    Args:
        keypoints: K times x, y in pixels and visibility, flat or (K, 3).
        transforms: of the image. An odd number of horizontal flips among them changes left and right.
        image_size: height and width of the transformed image.
        keypoint_hflip_indices: for each keypoint the one that takes its place in a mirrored picture, see
            :func:`cardamage.data.detection_utils.create_keypoint_hflip_indices`.

    Returns:
        (K, 3) float64; x, y and visibility are 0 for unlabelled keypoints.

    Raises:
        DataError: If the picture is mirrored and the indices are missing or not K.
    """
    points = np.array(keypoints, dtype=np.float64).reshape(-1, 3)
    points[:, :2] = transforms.apply_coords(points[:, :2])
    height, width = image_size
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= (width, height))).all(axis=1)
    points[~inside, 2] = 0
    steps = getattr(transforms, "transforms", [transforms])
    if sum(isinstance(step, T.HFlipTransform) for step in steps) % 2:
        points = points[_flip_order(len(points), keypoint_hflip_indices)]
    points[points[:, 2] == 0] = 0
    return points


def _flip_order(count: int, indices: Sequence[int] | np.ndarray | None) -> np.ndarray:
    if indices is None or len(indices) != count:
        given = "none" if indices is None else str(len(indices))
        raise DataError(
            f"Mirroring {count} keypoints needs {count} keypoint_hflip_indices, but {given} are given; "
            "create_keypoint_hflip_indices makes them from a dataset's metadata."
        )
    return np.asarray(indices, dtype=np.int64)
