"""Soft suppression of many groups of boxes in one launch on a GPU, in Triton: one program a group."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["launch_soft_nms"]


@triton.jit(do_not_specialize=["size"])
def _fade(
    boxes,
    scores,
    valid,
    result,
    size,
    sigma,
    iou_threshold,
    score_threshold,
    GAUSSIAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    group = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    here = place < size
    corner = boxes + (group * size + place) * 4
    x0 = tl.load(corner, mask=here, other=0.0)
    y0 = tl.load(corner + 1, mask=here, other=0.0)
    x1 = tl.load(corner + 2, mask=here, other=0.0)
    y1 = tl.load(corner + 3, mask=here, other=0.0)
    area = (x1 - x0) * (y1 - y0)
    used = tl.load(valid + group * size + place, mask=here, other=0) != 0
    left = tl.where(used, tl.load(scores + group * size + place, mask=here, other=0.0), -1.0)
    final = tl.zeros((BLOCK,), dtype=tl.float32)
    best = tl.max(left, axis=0)
    # What was taken is at -1, so this ends.
    while best >= score_threshold:
        index = tl.min(tl.where(left == best, place, BLOCK), axis=0)
        taken = place == index
        final = tl.where(taken, best, final)
        other = boxes + (group * size + index) * 4
        bx0 = tl.load(other)
        by0 = tl.load(other + 1)
        bx1 = tl.load(other + 2)
        by1 = tl.load(other + 3)
        width = tl.maximum(tl.minimum(x1, bx1) - tl.maximum(x0, bx0), 0.0)
        height = tl.maximum(tl.minimum(y1, by1) - tl.maximum(y0, by0), 0.0)
        common = width * height
        iou = tl.math.div_rn(common, (bx1 - bx0) * (by1 - by0) + area - common)
        iou = tl.where(common > 0, iou, 0.0)
        if GAUSSIAN:
            factor = tl.exp(-iou * iou / sigma)
        else:
            factor = tl.where(iou >= iou_threshold, 1.0 - iou, 1.0)
        left = tl.where(taken | (left < 0), -1.0, left * factor)
        best = tl.max(left, axis=0)
    tl.store(result + group * size + place, final, mask=here)


def launch_soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    valid: torch.Tensor,
    gaussian: bool,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
) -> torch.Tensor:
    """Run :func:`cardamage.layers.suppression.soft_nms_scores` on a GPU; the host does not wait.

    Args:
        boxes: (G, K, 4) float32; K at most 8192.
        scores: (G, K) float32.
        valid: (G, K) bool.
        gaussian: whether to fade by the gaussian rather than linearly.
        sigma: the gaussian's width.
        iou_threshold: for fading linearly.
        score_threshold: what falls below is dropped.

    Returns:
        (G, K) the new scores.
    """
    groups, size = scores.shape
    result = torch.zeros_like(scores, memory_format=torch.contiguous_format)
    block = triton.next_power_of_2(max(size, 32))
    given = (boxes.contiguous(), scores.contiguous(), valid.contiguous().view(torch.int8), result)
    limits = (float(sigma), float(iou_threshold), max(float(score_threshold), 0.0))
    with torch.cuda.device_of(boxes):
        _fade[(groups,)](
            *given,
            size,
            *limits,
            gaussian,
            block,
            num_warps=max(1, min(16, block // 256)),
            enable_fp_fusion=False,
        )
    return result
