"""From the network's pixels to the photo's."""

from __future__ import annotations

import torch

from cardamage.absent import absent_names
from cardamage.layers import paste_masks_in_image
from cardamage.layers.mask_ops import encode_pasted_masks
from cardamage.structures import Boxes, Instances, ROIMasks

__all__ = ["MASK_OUTPUTS", "detector_postprocess"]

__getattr__ = absent_names(__name__)

MASK_OUTPUTS = ("bitmask", "rle")


def detector_postprocess(
    results: Instances,
    output_height: int,
    output_width: int,
    mask_threshold: float = 0.5,
    mask_output: str = "bitmask",
) -> Instances:
    """Scale detections to the size the photo has, and drop those that are empty there.

    Args:
        results: detections in an image of ``results.image_size`` with ``pred_boxes`` (or
            ``proposal_boxes``) and maybe ``pred_masks``: (R, 1, M, M) probabilities, or ``ROIMasks`` of
            them. Not changed.
        output_height: height of the photo, in pixels.
        output_width: width of the photo, in pixels.
        mask_threshold: the probability from which on a pixel belongs to the object.
        mask_output: ``bitmask`` for masks as (R, height, width) bool tensors, ``rle`` for
            :class:`~cardamage.structures.RLEMasks`, whose memory does not grow with the photo's.

    Returns:
        The detections in the photo's pixels.

    Raises:
        ValueError: no boxes, or an unknown ``mask_output``.
    """
    name = next((n for n in ("pred_boxes", "proposal_boxes") if results.has(n)), None)
    if name is None or mask_output not in MASK_OUTPUTS:
        raise ValueError(f"detections need boxes, and mask_output to be one of {', '.join(MASK_OUTPUTS)}")
    size = (int(output_height), int(output_width))
    height, width = results.image_size
    scale_x, scale_y = size[1] / width, size[0] / height
    boxes = Boxes(results.get(name).tensor.clone())
    boxes.scale(scale_x, scale_y)
    boxes.clip(size)
    scaled = Instances(size, **{**results.get_fields(), name: boxes})
    scaled = scaled[boxes.nonempty()]
    if scaled.has("pred_masks"):
        masks = scaled.pred_masks
        probs: torch.Tensor = (masks.tensor if isinstance(masks, ROIMasks) else masks[:, 0]).float()
        paste = paste_masks_in_image if mask_output == "bitmask" else encode_pasted_masks
        scaled.pred_masks = paste(probs, scaled.get(name), size, threshold=mask_threshold)
    return scaled
