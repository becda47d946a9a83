"""Pasting a head's small masks into the image, as full-size tensors or straight to run lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from cardamage.structures import Boxes, RLEMasks

from .mask_ops_old import pad_masks, paste_mask_in_image_old, scale_boxes
from .mask_runs import join_runs, positions_of_changes, rle_from_positions, window_positions
from .mask_sampling import Window, paste_windows, sample_batch, sample_window

__all__ = [
    "encode_pasted_masks",
    "pad_masks",
    "paste_mask_in_image_old",
    "paste_masks_in_image",
    "scale_boxes",
]

# Pixels sampled at a time on a GPU, 4 bytes each and some copies.
_MAX_PIXELS = 2**26


def paste_masks_in_image(
    masks: torch.Tensor, boxes: Boxes | torch.Tensor, image_shape: tuple[int, int], threshold: float = 0.5
) -> torch.Tensor:
    """Stretch each mask over its box (bilinear, zero outside) and cut it at a threshold.

    Args:
        masks: (R, M, M) probabilities.
        boxes: R boxes, x0, y0, x1, y1 in pixels.
        image_shape: (height, width) of the result.
        threshold: pixels at least this probable are inside. Below 0: give 255 times the probability.

    Returns:
        bool (R, height, width) on the masks' device, or uint8 for a threshold below 0.

    Raises:
        ValueError: masks are not square, or not as many as boxes.
    """
    boxes = _check(masks, boxes)
    height, width = image_shape
    dtype = torch.bool if threshold >= 0 else torch.uint8
    image = torch.zeros(len(masks), height, width, dtype=dtype, device=masks.device)
    if masks.device.type == "cpu":
        for number, window in enumerate(paste_windows(boxes, height, width)):
            part = image[number, window.y0 : window.y1, window.x0 : window.x1]
            for columns, values in sample_window(masks[number], boxes[number], window, threshold):
                part[:, columns] = _cut(values, threshold).t()
        return image
    for chunk, values in _batches(masks, boxes, height, width):
        image[chunk] = _cut(values, threshold).transpose(1, 2)
    return image


def encode_pasted_masks(
    masks: torch.Tensor, boxes: Boxes | torch.Tensor, image_shape: tuple[int, int], threshold: float = 0.5
) -> RLEMasks:
    """Paste masks as :func:`paste_masks_in_image` and encode each at once, so that memory stays small.

    Args:
        masks: (R, M, M) probabilities.
        boxes: R boxes, x0, y0, x1, y1 in pixels.
        image_shape: (height, width) of the image.
        threshold: pixels at least this probable are inside, from 0.

    Returns:
        The run lengths that pycocotools gives for the pasted masks, on the CPU.

    Raises:
        ValueError: masks are not square, or not as many as boxes, or the threshold is below 0.
    """
    boxes = _check(masks, boxes)
    if threshold < 0:
        raise ValueError(f"Masks can only be encoded at a threshold from 0, got {threshold}.")
    height, width = image_shape
    rles = []
    if masks.device.type == "cpu":
        for number, window in enumerate(paste_windows(boxes, height, width)):
            positions = _window_positions(masks[number], boxes[number], window, threshold, height, width)
            rles.append(rle_from_positions(positions, height, width))
        return RLEMasks(rles, (height, width))
    for _, values in _batches(masks, boxes, height, width):
        for positions in positions_of_changes(_cut(values, threshold)):
            rles.append(rle_from_positions(positions, height, width))
    return RLEMasks(rles, (height, width))


def _check(masks: torch.Tensor, boxes: Boxes | torch.Tensor) -> torch.Tensor:
    if masks.dim() != 3 or masks.shape[-1] != masks.shape[-2]:
        raise ValueError(f"Masks to paste need the shape (R, M, M), got {tuple(masks.shape)}.")
    tensor = boxes.tensor if isinstance(boxes, Boxes) else boxes
    if len(tensor) != len(masks):
        raise ValueError(f"Each mask needs a box, got {len(masks)} masks and {len(tensor)} boxes.")
    return tensor.to(device=masks.device, dtype=torch.float32)


def _cut(values: torch.Tensor, threshold: float) -> torch.Tensor:
    return values >= threshold if threshold >= 0 else (values * 255).to(torch.uint8)


def _window_positions(
    mask: torch.Tensor, box: torch.Tensor, window: Window, threshold: float, height: int, width: int
) -> np.ndarray:
    parts = [np.zeros(0, dtype=np.int64)]
    for columns, values in sample_window(mask, box, window, threshold):
        inside = _cut(values, threshold).numpy()
        parts.append(window_positions(inside, window.x0 + columns.start, window.y0, height))
    return join_runs(np.concatenate(parts), height * width)


def _batches(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield some masks at a time, and their values at all pixels, (n, width, height)."""
    step = max(1, _MAX_PIXELS // max(height * width, 1))
    for start in range(0, len(masks), step):
        part = slice(start, start + step)
        yield part, sample_batch(masks[part], boxes[part], height, width)
