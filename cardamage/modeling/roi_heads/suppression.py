"""How overlapping detections are thinned out: the kinds of ``MODEL.ROI_HEADS.NMS_TYPE``, all called alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from cardamage.errors import ConfigValueError
from cardamage.layers import batched_nms, greedy_keep, soft_nms_scores
from cardamage.layers.suppression import arrange, cluster_nms_scores, fast_keep, matrix_nms_scores

__all__ = ["KINDS", "MOST_AGNOSTIC", "Suppression"]

MOST_AGNOSTIC = 4096
"""How many boxes of an image, the best of all classes, are compared where classes don't keep apart."""

Thinned = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Suppression:
    """How overlapping detections are thinned out.

    Attributes:
        nms_thresh: the overlap above which the lower-scored box goes, or (linear) from which on it fades.
        kind: one of :data:`KINDS`.
        sigma: the gaussian's width.
        soft_score_thresh: a faded score below this drops the box.
        class_agnostic: boxes of other classes count as well, of an image's best :data:`MOST_AGNOSTIC`.
        mask_box_thresh: for the kind ``mask``, the overlap of boxes above which no mask is computed.
        candidates: for the kind ``mask``, of how many detections of an image masks are computed.
    """

    nms_thresh: float = 0.5
    kind: str = "hard"
    sigma: float = 0.5
    soft_score_thresh: float = 0.001
    class_agnostic: bool = False
    mask_box_thresh: float = 0.8
    candidates: int = 200

    @classmethod
    def from_config(cls, cfg: Any) -> Suppression:
        """Read ``MODEL.ROI_HEADS``."""
        node = cfg.MODEL.ROI_HEADS
        return cls(
            node.NMS_THRESH_TEST,
            node.NMS_TYPE,
            node.SOFT_NMS_SIGMA,
            node.SOFT_NMS_SCORE_THRESH,
            node.NMS_CLASS_AGNOSTIC,
            node.MASK_NMS_BOX_THRESH,
            node.MASK_NMS_CANDIDATES,
        )

    @property
    def by_masks(self) -> bool:
        """Whether what is chosen by boxes is thinned out again by masks."""
        return self._kind().by_masks

    def most(self, limit: int) -> int:
        """Say how many detections of an image to choose by boxes, where there may be ``limit`` in the end."""
        return max(limit, self.candidates) if self.by_masks and limit >= 0 else limit

    def __call__(self, boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor) -> Thinned:
        """Thin out one image's boxes.

        Args:
            boxes: (M, 4) XYXY.
            scores: (M,).
            classes: (M,) int64.

        Returns:
            int64 positions of the boxes that stay, by falling score, and these scores.

        Raises:
            ConfigValueError: an unknown kind.
        """
        return self.on_images(boxes, scores, classes, [len(boxes)])[0]

    def on_images(
        self, boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor, counts: Sequence[int]
    ) -> list[Thinned]:
        """Thin out the boxes of several images, each image's for itself.

        Args:
            boxes: (M, 4) XYXY, one image's after the other's.
            scores: (M,).
            classes: (M,) int64.
            counts: how many boxes every image has.

        Returns:
            Per image int64 positions among its boxes of those that stay, by falling score, and these scores.

        Raises:
            ConfigValueError: an unknown kind.
        """
        kind = self._kind()
        chosen = None
        if self.class_agnostic:
            chosen = [
                part.argsort(descending=True, stable=True)[:MOST_AGNOSTIC] for part in scores.split(counts)
            ]
            firsts = _firsts(counts)
            picked = torch.cat([part + first for part, first in zip(chosen, firsts, strict=True)])
            boxes, scores, classes = boxes[picked], scores[picked], torch.zeros_like(classes[picked])
            counts = [len(part) for part in chosen]
        thinned = (kind.on_images or _by_groups)(self, boxes, scores, classes, counts)
        if chosen is not None:
            thinned = [(part[kept], final) for part, (kept, final) in zip(chosen, thinned, strict=True)]
        return thinned

    def on_groups(self, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor) -> Thinned:
        """Thin out the boxes of many groups by themselves.

        Args:
            boxes: (..., M, 4) XYXY, the best of a group first.
            scores: (..., M) float32.
            alive: (..., M) bool; other boxes count for nothing.

        Returns:
            The (..., M) scores after it, and (..., M) bool: which boxes stay.

        Raises:
            ConfigValueError: an unknown kind.
        """
        return self._kind().on_groups(self, boxes, scores, alive)

    def _kind(self) -> Kind:
        if self.kind not in KINDS:
            raise ConfigValueError(
                f'MODEL.ROI_HEADS.NMS_TYPE is "{self.kind}", but must be one of {", ".join(KINDS)}.'
            )
        return KINDS[self.kind]


class Kind(NamedTuple):
    """A way to thin out.

    Attributes:
        on_groups: as :meth:`Suppression.on_groups`, of a :class:`Suppression`.
        on_images: as :meth:`Suppression.on_images`; None for what follows from the other.
        by_masks: see :attr:`Suppression.by_masks`.
    """

    on_groups: Callable[[Suppression, torch.Tensor, torch.Tensor, torch.Tensor], Thinned]
    on_images: (
        Callable[[Suppression, torch.Tensor, torch.Tensor, torch.Tensor, Sequence[int]], list[Thinned]] | None
    ) = None
    by_masks: bool = False


def _firsts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:number]) for number in range(len(counts))]


def _by_groups(
    rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor, counts: Sequence[int]
) -> list[Thinned]:
    """Thin out all images' classes at once."""
    images = torch.arange(len(counts), device=scores.device)
    image = images.repeat_interleave(torch.tensor(counts, device=scores.device))
    number_of_classes = classes.max() + 1 if len(classes) else 1
    groups = arrange(scores, image * number_of_classes + classes)
    final, keep = rule.on_groups(groups.pad(boxes), groups.pad(scores).float(), groups.used())
    pairs = zip(groups.unpad(final).split(counts), groups.unpad(keep).split(counts), strict=True)
    return [_ranked(*pair) for pair in pairs]


def _ranked(scores: torch.Tensor, keep: torch.Tensor) -> Thinned:
    order = scores.argsort(descending=True, stable=True)
    kept = order[keep[order]]
    return kept, scores[kept]


def _hard_images(
    rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor, counts: Sequence[int]
) -> list[Thinned]:
    """Thin out with torchvision's operator, whose numbers are Detectron2's."""
    found = []
    for box, score, label in zip(*(t.split(counts) for t in (boxes, scores, classes)), strict=True):
        kept = batched_nms(box, score, label, rule.nms_thresh)
        found.append((kept, score[kept]))
    return found


def _hard(rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor) -> Thinned:
    return scores, greedy_keep(boxes, alive, rule.nms_thresh)


def _diou(rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor) -> Thinned:
    return scores, greedy_keep(boxes, alive, rule.nms_thresh, centres=True)


def _cluster(rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor) -> Thinned:
    return scores, greedy_keep(boxes, alive, rule.nms_thresh, rounds=True)


def _cluster_score(
    rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor
) -> Thinned:
    return _above(rule, cluster_nms_scores(boxes, scores, alive, rule.nms_thresh, rule.sigma))


def _fast(rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor) -> Thinned:
    return scores, fast_keep(boxes, alive, rule.nms_thresh)


def _matrix(method: str) -> Kind:
    def on_groups(
        rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor
    ) -> Thinned:
        return _above(rule, matrix_nms_scores(boxes, scores, alive, method, rule.sigma))

    return Kind(on_groups)


def _loose(rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor) -> Thinned:
    """Choose what masks are computed for."""
    return scores, greedy_keep(boxes, alive, rule.mask_box_thresh)


def _soft(method: str) -> Kind:
    def on_groups(
        rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, alive: torch.Tensor
    ) -> Thinned:
        flat = boxes.flatten(0, -3), scores.flatten(0, -2), alive.flatten(0, -2)
        limits = (rule.sigma, rule.nms_thresh, rule.soft_score_thresh)
        return _above(rule, soft_nms_scores(*flat, method, *limits).view_as(scores))

    return Kind(on_groups)


def _above(rule: Suppression, scores: torch.Tensor) -> Thinned:
    """Keep the boxes whose new scores are worth it."""
    return scores, (scores > 0) & (scores >= rule.soft_score_thresh)


KINDS: dict[str, Kind] = {
    "hard": Kind(_hard, _hard_images),
    "soft_linear": _soft("linear"),
    "soft_gaussian": _soft("gaussian"),
    "diou": Kind(_diou),
    "cluster": Kind(_cluster),
    "cluster_score": Kind(_cluster_score),
    "fast": Kind(_fast),
    "matrix_linear": _matrix("linear"),
    "matrix_gaussian": _matrix("gaussian"),
    "mask": Kind(_loose, by_masks=True),
}
"""By the name they have in ``MODEL.ROI_HEADS.NMS_TYPE``."""
