"""Pasting masks as the first Mask R-CNN did (Detectron, 2018): in whole pixels, one mask at a time.

Kept to compare with: :func:`cardamage.layers.paste_masks_in_image` places masks to a fraction of a pixel.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

__all__ = ["pad_masks", "paste_mask_in_image_old", "scale_boxes"]


def paste_mask_in_image_old(
    mask: torch.Tensor, box: torch.Tensor, img_h: int, img_w: int, threshold: float
) -> torch.Tensor:
    """Stretch one mask over the pixels from its box's first to its last, both cut to whole numbers.

    Args:
        mask: (M, M) probabilities.
        box: (4,) x0, y0, x1, y1 in pixels.
        img_h: height of the image.
        img_w: width of the image.
        threshold: pixels more probable than this are inside. Below 0: give 255 times the probability.

    Returns:
        uint8 (img_h, img_w) on the CPU, 1 inside.
    """
    x0, y0, x1, y1 = box.to(torch.int32).tolist()
    small = Image.fromarray(mask.detach().to("cpu", torch.float32).numpy())
    values = np.asarray(small.resize((x1 - x0 + 1, y1 - y0 + 1), resample=Image.Resampling.BILINEAR))
    values = values > threshold if threshold >= 0 else values * 255
    picture = np.zeros((img_h, img_w), dtype=np.uint8)
    rows, columns = slice(max(y0, 0), max(y1 + 1, 0)), slice(max(x0, 0), max(x1 + 1, 0))
    window = picture[rows, columns]
    top, left = max(-y0, 0), max(-x0, 0)
    window[:] = values[top : top + window.shape[0], left : left + window.shape[1]].astype(np.uint8)
    return torch.from_numpy(picture)


def pad_masks(masks: torch.Tensor, padding: int) -> tuple[torch.Tensor, float]:
    """Put cells of zeros around masks, so that stretching them fades out beyond their outermost cells.

    Args:
        masks: (R, M, M).
        padding: cells on each side.

    Returns:
        (R, M + 2 * padding, M + 2 * padding), and by how much the masks grew.
    """
    size = masks.shape[-1]
    return F.pad(masks, (padding,) * 4), (size + 2 * padding) / size


def scale_boxes(boxes: torch.Tensor, scale: float) -> torch.Tensor:
    """Stretch boxes (R, 4), x0, y0, x1, y1, around their centres."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5 * scale
    return torch.cat((center - half, center + half), dim=1)
