"""From scored boxes to proposals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from cardamage.errors import DataError
from cardamage.layers import greedy_keep, nms_keep_mask
from cardamage.structures import Boxes, Instances
from cardamage.utils.compiling import region

from ..batch import ProposalBatch, TargetBatch, fixed_shapes, size_tensor
from ..box_regression import Box2BoxTransform

__all__ = [
    "add_ground_truth_to_proposals",
    "add_ground_truth_to_proposals_single_image",
    "append_ground_truth",
    "best_of_batch",
    "decode_candidates",
    "find_top_rpn_proposals",
    "gather_boxes",
    "keep_of_levels",
    "select_proposals",
    "top_of_levels",
]

# The objectness of ground truth among proposals: of a probability of nearly 1.
_GT_LOGIT = math.log((1.0 - 1e-10) / (1 - (1.0 - 1e-10)))


def best_of_batch(scores: torch.Tensor, keep: torch.Tensor, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Order the kept entries of every row by falling score, ties by place.

    Args:
        scores: (N, T).
        keep: (N, T) bool.
        limit: how many of a row to return at most.

    Returns:
        (N, K) int64 indices into T with K = min(T, limit), kept entries first, and (N, K) bool:
        whether the entry was kept.
    """
    ranked = scores.masked_fill(~keep, -math.inf)
    order = ranked.sort(dim=1, descending=True, stable=True).indices[:, :limit]
    return order, keep.gather(1, order)


def gather_boxes(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Take (N, K) places of (N, T, 4)."""
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))


def top_of_levels(logits: Sequence[torch.Tensor], limit: int) -> list[torch.Tensor]:
    """Find the best anchors of every level.

    Args:
        logits: per level (N, Pi) objectness.
        limit: how many of a level to take at most.

    Returns:
        Per level the (N, Ki) int64 places by falling objectness.
    """
    return [part.topk(min(limit, part.shape[1]), dim=1).indices for part in logits]


def keep_of_levels(
    boxes: torch.Tensor,
    logits: torch.Tensor,
    usable: torch.Tensor,
    counts: Sequence[int],
    nms_thresh: float,
) -> torch.Tensor:
    """Tell which candidates no better one of their own image and level overlaps.

    Args:
        boxes: (N, T, 4) XYXY, finite; level by level, by falling objectness.
        logits: (N, T) their objectness.
        usable: (N, T) bool; others neither stay nor suppress.
        counts: candidates a level, T in all.
        nms_thresh: the overlap above which the lower-scored box goes.

    Returns:
        (N, T) bool.
    """
    if not fixed_shapes(boxes.device):
        # As Detectron2, which moves the levels apart where boxes are few: the sums round.
        places = torch.arange(len(counts), device=boxes.device)
        levels = places.repeat_interleave(torch.tensor(counts, device=boxes.device))
        return nms_keep_mask(boxes, logits, levels[None].expand_as(logits), usable, nms_thresh)
    longest = max(counts, default=0)
    grouped = boxes.new_zeros((len(boxes), len(counts), longest, 4))
    alive = usable.new_zeros((len(boxes), len(counts), longest))
    parts = zip(boxes.split(list(counts), dim=1), usable.split(list(counts), dim=1), strict=True)
    for level, (level_boxes, level_usable) in enumerate(parts):
        grouped[:, level, : counts[level]] = level_boxes
        alive[:, level, : counts[level]] = level_usable
    keep = greedy_keep(grouped, alive, nms_thresh)
    return torch.cat([part[:, :count] for part, count in zip(keep.unbind(1), counts, strict=True)], dim=1)


@region
def decode_candidates(
    transform: Box2BoxTransform,
    anchors: list[torch.Tensor],
    logits: list[torch.Tensor],
    deltas: list[torch.Tensor],
    places: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode the candidates of every level.

    Args:
        transform: how offsets tell boxes.
        anchors: per level (Pi, 4).
        logits: per level (N, Pi).
        deltas: per level (N, Pi, 4).
        places: per level (N, Ki) int64 into its anchors.

    Returns:
        (N, T, 4) boxes and (N, T) float32 logits, level by level.
    """
    boxes, scores = [], []
    for level, level_logits, level_deltas, place in zip(anchors, logits, deltas, places, strict=True):
        scores.append(level_logits.gather(1, place).float())
        boxes.append(transform.apply_deltas(gather_boxes(level_deltas, place), level[place]))
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)


@region
def _screen(
    boxes: torch.Tensor, logits: torch.Tensor, limits: torch.Tensor, min_box_size: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clip boxes; return them, their logits, whether each can be used, and whether all were finite."""
    finite = boxes.isfinite().all(dim=2) & logits.isfinite()
    logits = logits.masked_fill(~finite, -math.inf)
    boxes = torch.where(finite[:, :, None], boxes, torch.zeros_like(boxes))
    boxes = torch.minimum(boxes.clamp(min=0), limits[:, None])
    big = ((boxes[..., 2:] - boxes[..., :2]) > min_box_size).all(dim=2)
    return boxes, logits, finite & big, finite.all()


def select_proposals(
    boxes: torch.Tensor,
    logits: torch.Tensor,
    counts: Sequence[int],
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    post_nms_topk: int,
    min_box_size: float,
) -> ProposalBatch:
    """Clip boxes, drop small, non-finite and overlapping ones, and keep every image's best.

    Args:
        boxes: (N, T, 4) XYXY candidates; level by level, by falling objectness.
        logits: (N, T) their objectness.
        counts: candidates a level, T in all; boxes suppress only others of their level.
        image_sizes: N sizes (h, w).
        nms_thresh: the overlap from which on the lower-scored box goes.
        post_nms_topk: how many an image keeps.
        min_box_size: a box must be wider and higher than this, in pixels.

    Returns:
        The proposals, by falling objectness.
    """
    limits = size_tensor(image_sizes, boxes.device)
    boxes, logits, usable, finite = _screen(boxes, logits, limits, min_box_size)
    keep = keep_of_levels(boxes, logits, usable, counts, nms_thresh)
    order, valid = best_of_batch(logits, keep, post_nms_topk)
    if not fixed_shapes(boxes.device):
        most = max(int(valid.sum(dim=1).max()), 1)
        order, valid = order[:, :most], valid[:, :most]
    chosen = logits.gather(1, order)
    return ProposalBatch(
        boxes=gather_boxes(boxes, order),
        valid=valid,
        image_sizes=list(image_sizes),
        logits=chosen,
        finite=finite,
    )


@torch.no_grad()
def find_top_rpn_proposals(
    proposals: Sequence[torch.Tensor],
    pred_objectness_logits: Sequence[torch.Tensor],
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    pre_nms_topk: int,
    post_nms_topk: int,
    min_box_size: float,
    training: bool,
) -> list[Instances]:
    """Choose the proposals of N images from the decoded boxes of all anchors.

    Args:
        proposals: per level (N, Pi, 4) XYXY boxes.
        pred_objectness_logits: per level (N, Pi).
        image_sizes: N sizes (h, w).
        nms_thresh: the overlap from which on the lower-scored box of a level goes.
        pre_nms_topk: candidates of a level.
        post_nms_topk: how many an image keeps.
        min_box_size: a box must be wider and higher than this, in pixels.
        training: what to do with values that are not finite: refuse, or leave out.

    Returns:
        N instances with ``proposal_boxes`` and ``objectness_logits`` by falling objectness.

    Raises:
        FloatingPointError: a candidate that is not finite, in training.
    """
    places = top_of_levels(pred_objectness_logits, pre_nms_topk)
    boxes = torch.cat([gather_boxes(p, at) for p, at in zip(proposals, places, strict=True)], dim=1)
    logits = torch.cat([x.gather(1, at) for x, at in zip(pred_objectness_logits, places, strict=True)], dim=1)
    counts = [at.shape[1] for at in places]
    found = select_proposals(boxes, logits, counts, image_sizes, nms_thresh, post_nms_topk, min_box_size)
    if training and not found.finite:
        raise FloatingPointError(
            "the RPN predicts boxes or scores that are not finite, so the training has diverged; "
            "lower SOLVER.BASE_LR or set SOLVER.CLIP_GRADIENTS.ENABLED True"
        )
    return list(found)


def append_ground_truth(batch: ProposalBatch, truth: TargetBatch) -> ProposalBatch:
    """Append the ground truth's boxes to padded proposals, so that training always has good ones.

    Args:
        batch: the proposals of N images.
        truth: the ground truth of the same images.

    Returns:
        The proposals, with the ground truth's boxes last.
    """
    logits = batch.logits
    if logits is not None:
        logits = torch.cat([logits, logits.new_full(truth.valid.shape, _GT_LOGIT)], dim=1)
    hardness = batch.hardness
    if hardness is not None:
        hardness = torch.cat([hardness, hardness.new_zeros(truth.valid.shape)], dim=1)
    instances = batch.instances
    if instances is not None:
        more = any(set(x.get_fields()) - {"proposal_boxes", "objectness_logits"} for x in instances)
        instances = add_ground_truth_to_proposals(list(truth), instances) if more else None
    return ProposalBatch(
        boxes=torch.cat([batch.boxes, truth.boxes.to(batch.boxes)], dim=1),
        valid=torch.cat([batch.valid, truth.valid], dim=1),
        image_sizes=batch.image_sizes,
        logits=logits,
        fixed=batch.fixed,
        instances=instances,
        hardness=hardness,
    )


def add_ground_truth_to_proposals(
    gt: Sequence[Instances | Boxes], proposals: Sequence[Instances]
) -> list[Instances]:
    """Append the ground truth's boxes to lists of proposals, all fields of the proposals included.

    Args:
        gt: the ground truth of N images: instances with ``gt_boxes``, or the boxes alone.
        proposals: the proposals of the same images.

    Returns:
        N instances with the fields of the proposals, the ground truth's boxes last.

    Raises:
        DataError: lists of different lengths, or a field of the proposals that the ground truth lacks.
    """
    if len(gt) != len(proposals):
        raise DataError(f"there are proposals for {len(proposals)} images, but ground truth for {len(gt)}")
    pairs = zip(gt, proposals, strict=True)
    return [add_ground_truth_to_proposals_single_image(truth, found) for truth, found in pairs]


def add_ground_truth_to_proposals_single_image(gt: Instances | Boxes, proposals: Instances) -> Instances:
    """Append one image's ground truth to its proposals; see :func:`add_ground_truth_to_proposals`."""
    fields = {"gt_boxes": gt} if isinstance(gt, Boxes) else gt.get_fields()
    boxes = fields["gt_boxes"]
    logits = boxes.tensor.new_full((len(boxes),), _GT_LOGIT)
    added = {**fields, "proposal_boxes": boxes, "objectness_logits": logits}
    missing = sorted(set(proposals.get_fields()) - set(added))
    if missing:
        raise DataError(
            f"the proposals have the field '{missing[0]}', the ground truth that is to be appended has not; "
            "give it to both, or set MODEL.ROI_HEADS.PROPOSAL_APPEND_GT to False"
        )
    chosen = {name: added[name] for name in proposals.get_fields()}
    return Instances.cat([proposals, Instances(proposals.image_size, **chosen)])
