"""From the network's pixels to the photo's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from cardamage.absent import absent_names
from cardamage.layers import paste_masks_in_image
from cardamage.layers.mask_ops import encode_pasted_batch, encode_pasted_masks
from cardamage.structures import Boxes, Instances, RLEMasks, ROIMasks

from .batch import size_tensor
from .detections import DetectionBatch

__all__ = ["MASK_OUTPUTS", "detector_postprocess", "postprocess_batch", "scale_detections"]

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


def scale_detections(found: DetectionBatch, output_sizes: Sequence[tuple[int, int]]) -> DetectionBatch:
    """Scale all detections to the sizes the photos have, without waiting for the device.

    Args:
        found: the detections in the network's pixels.
        output_sizes: N sizes (h, w) of the photos.

    Returns:
        The detections in the photos' pixels; those that are empty there are not valid any more.
    """
    pairs = zip(output_sizes, found.image_sizes, strict=True)
    scale = torch.tensor([[new[1] / old[1], new[0] / old[0]] * 2 for new, old in pairs], dtype=torch.float32)
    boxes = found.boxes * scale.view(-1, 1, 4).to(found.boxes.device, non_blocking=True)
    limits = size_tensor(output_sizes, boxes.device)[:, None]
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    nonempty = (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
    return replace(found, boxes=boxes, valid=found.valid & nonempty, image_sizes=list(output_sizes)).packed()


def postprocess_batch(
    found: DetectionBatch,
    output_sizes: Sequence[tuple[int, int]],
    mask_threshold: float = 0.5,
    mask_output: str = "bitmask",
) -> list[Instances]:
    """Do :func:`detector_postprocess` for a whole batch; the host waits for the device once.

    Args:
        found: the detections in the network's pixels.
        output_sizes: N sizes (h, w) of the photos.
        mask_threshold: the probability from which on a pixel belongs to the object.
        mask_output: as there; for ``rle`` the host waits twice more, for the number of runs and for them.

    Returns:
        The detections of every image in its photo's pixels.

    Raises:
        ValueError: an unknown ``mask_output``.
    """
    if mask_output not in MASK_OUTPUTS:
        raise ValueError(f"mask_output must be one of {', '.join(MASK_OUTPUTS)}, not {mask_output!r}")
    results = scale_detections(found, output_sizes).instances()
    if found.masks is None:
        return results
    probs, boxes = [x.pred_masks[:, 0] for x in results], [x.pred_boxes.tensor for x in results]
    masks: Sequence[RLEMasks | torch.Tensor]
    if mask_output == "rle":
        masks = encode_pasted_batch(probs, boxes, output_sizes, threshold=mask_threshold)
    else:
        parts = zip(probs, boxes, output_sizes, strict=True)
        masks = [paste_masks_in_image(*part, threshold=mask_threshold) for part in parts]
    for result, pasted in zip(results, masks, strict=True):
        result.pred_masks = pasted
    return results
