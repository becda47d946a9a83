"""Pasting a head's small masks into the image, as full-size tensors or straight to run lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from cardamage.structures import Boxes, RLEMasks

from .kernels import support
from .mask_ops_old import pad_masks, paste_mask_in_image_old, scale_boxes
from .mask_runs import encode_positions, positions_of_changes, window_positions
from .mask_sampling import WindowSampler, sample_batch

__all__ = [
    "encode_pasted_batch",
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
    if threshold >= 0:
        pasted = support.attempt(
            "pasting masks", masks.device, lambda: _launch_paste(masks, boxes, height, width, threshold)
        )
        if pasted is not None:
            return pasted
    if masks.device.type != "cpu":
        return _paste_by_chunks(masks, boxes, height, width, threshold)
    # The system clears numpy's memory where it is touched, that is only inside boxes.
    clear: np.ndarray = np.zeros((len(masks), height, width), dtype=np.bool_ if threshold >= 0 else np.uint8)
    image = torch.from_numpy(clear)
    sampler = WindowSampler(masks, boxes, height, width, threshold, by_columns=False)
    for number, window in enumerate(sampler.windows):
        for rows, values in sampler.sample(number):
            part = values if threshold >= 0 else _cut(values, threshold)
            image[number, rows, window.x0 : window.x1] = part
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
    return encode_pasted_batch([masks], [boxes], [image_shape], threshold)[0]


def encode_pasted_batch(
    masks: Sequence[torch.Tensor],
    boxes: Sequence[Boxes | torch.Tensor],
    image_shapes: Sequence[tuple[int, int]],
    threshold: float = 0.5,
) -> list[RLEMasks]:
    """Do :func:`encode_pasted_masks` for several images at once.

    Args:
        masks: per image (R, M, M) probabilities.
        boxes: per image R boxes, x0, y0, x1, y1 in pixels.
        image_shapes: (height, width) of every image.
        threshold: pixels at least this probable are inside, from 0.

    Returns:
        The run lengths of every image's masks, on the CPU.

    Raises:
        ValueError: masks are not square, or not as many as boxes, or the threshold is below 0.
    """
    checked = [_check(*pair) for pair in zip(masks, boxes, strict=True)]
    if threshold < 0:
        raise ValueError(f"Masks can only be encoded at a threshold from 0, got {threshold}.")
    sizes = [size for probs, size in zip(masks, image_shapes, strict=True) for _ in range(len(probs))]
    rles = iter(encode_positions(_find_positions(masks, checked, image_shapes, threshold), sizes))
    pairs = zip(masks, image_shapes, strict=True)
    return [RLEMasks(list(islice(rles, len(probs))), size) for probs, size in pairs]


def _check(masks: torch.Tensor, boxes: Boxes | torch.Tensor) -> torch.Tensor:
    if masks.dim() != 3 or masks.shape[-1] != masks.shape[-2]:
        raise ValueError(f"Masks to paste need the shape (R, M, M), got {tuple(masks.shape)}.")
    tensor = boxes.tensor if isinstance(boxes, Boxes) else boxes
    if len(tensor) != len(masks):
        raise ValueError(f"Each mask needs a box, got {len(masks)} masks and {len(tensor)} boxes.")
    return tensor.to(device=masks.device, dtype=torch.float32)


def _cut(values: torch.Tensor, threshold: float) -> torch.Tensor:
    return values >= threshold if threshold >= 0 else (values * 255).to(torch.uint8)


def _find_positions(
    masks: Sequence[torch.Tensor],
    boxes: Sequence[torch.Tensor],
    image_shapes: Sequence[tuple[int, int]],
    threshold: float,
) -> list[np.ndarray]:
    """Find the changes of every mask of all images."""
    if len(masks) == 0:
        return []
    alike = len({(probs.device, probs.shape[1]) for probs in masks}) == 1
    if alike:
        sizes = [size for probs, size in zip(masks, image_shapes, strict=True) for _ in range(len(probs))]
        found = support.attempt(
            "finding masks' outlines",
            masks[0].device,
            lambda: _launch_find_changes(torch.cat(list(masks)), torch.cat(list(boxes)), sizes, threshold),
        )
        if found is not None:
            return found
    positions: list[np.ndarray] = []
    for probs, tensor, (height, width) in zip(masks, boxes, image_shapes, strict=True):
        find = _positions_in_windows if probs.device.type == "cpu" else _positions_in_images
        positions += find(probs, tensor, height, width, threshold)
    return positions


def _launch_find_changes(
    masks: torch.Tensor, boxes: torch.Tensor, sizes: Sequence[tuple[int, int]], threshold: float
) -> list[np.ndarray]:
    from .kernels.masks import find_changes

    return find_changes(masks, boxes, sizes, threshold)


def _launch_paste(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float
) -> torch.Tensor:
    from .kernels.masks import paste

    return paste(masks, boxes, height, width, threshold)


def _paste_by_chunks(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float
) -> torch.Tensor:
    """Paste with plain operations on any device, without waiting for it."""
    dtype = torch.bool if threshold >= 0 else torch.uint8
    image = torch.zeros(len(masks), height, width, dtype=dtype, device=masks.device)
    for chunk, values in _batches(masks, boxes, height, width):
        image[chunk] = _cut(values, threshold).transpose(1, 2)
    return image


def _positions_in_windows(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float
) -> list[np.ndarray]:
    """Find the changes of every mask, on the CPU."""
    sampler = WindowSampler(masks, boxes, height, width, threshold)
    found = []
    for number, window in enumerate(sampler.windows):
        parts = [np.zeros(0, dtype=np.int64)]
        for columns, inside in sampler.sample(number):
            parts.append(window_positions(inside.numpy(), columns.start, window.y0, height))
        found.append(np.concatenate(parts))
    return found


def _positions_in_images(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float
) -> list[np.ndarray]:
    """Find the changes of every mask, on any device; the host waits for it."""
    found: list[np.ndarray] = []
    for _, values in _batches(masks, boxes, height, width):
        found += positions_of_changes(_cut(values, threshold))
    return found


def _batches(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield some masks at a time, and their values at all pixels, (n, width, height)."""
    step = max(1, _MAX_PIXELS // max(height * width, 1))
    for start in range(0, len(masks), step):
        part = slice(start, start + step)
        yield part, sample_batch(masks[part], boxes[part], height, width)
