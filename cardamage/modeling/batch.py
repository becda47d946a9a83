"""Padded batches: how ground truth and proposals travel inside the model.

Of every image there are as many places as the fullest image needs, and a mask that tells the used
ones. So one tensor operation serves the whole batch, and shapes do not depend on what was found.
Both kinds of batch are also sequences of :class:`~cardamage.structures.Instances`, one an image, so
that a head written for Detectron2's lists works on them as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from cardamage.structures import Boxes, Instances

__all__ = [
    "ProposalBatch",
    "RoiRows",
    "TargetBatch",
    "fixed_shapes",
    "force_fixed_shapes",
    "pad",
    "size_tensor",
]

_forced: list[bool] = []
# Places for the ground truth of an image come in multiples of this where shapes are fixed.
_GROUND_TRUTH_STEP = 8


def fixed_shapes(device: torch.device) -> bool:
    """Tell whether per-box work keeps every place of a padded batch, used or not.

    On an accelerator it does, because knowing how many are used means waiting for the device. On the
    CPU that is free, and computing on empty places is not, so only the used ones are worked on.

    Args:
        device: where the tensors are.

    Returns:
        True for fixed shapes.
    """
    return _forced[-1] if _forced else device.type != "cpu"


@contextmanager
def force_fixed_shapes(value: bool) -> Iterator[None]:
    """Decide :func:`fixed_shapes` by hand, for tests and for tracing."""
    _forced.append(value)
    try:
        yield
    finally:
        _forced.pop()


def size_tensor(image_sizes: Sequence[tuple[int, int]], device: torch.device) -> torch.Tensor:
    """Return (N, 4) float32 upper bounds (w, h, w, h) of XYXY boxes in images of sizes (h, w)."""
    limits = torch.tensor([[w, h, w, h] for h, w in image_sizes], dtype=torch.float32).view(-1, 4)
    return limits.to(device, non_blocking=True)


def pad(tensors: Sequence[torch.Tensor], step: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack tensors of different lengths: values and (N, K) mask, where K is a multiple of ``step``."""
    counts = torch.tensor([len(t) for t in tensors]).to(tensors[0].device, non_blocking=True)
    padded = pad_sequence(list(tensors), batch_first=True)
    missing = -padded.shape[1] % step if padded.shape[1] else step
    if missing:
        padded = torch.cat([padded, padded.new_zeros((len(tensors), missing, *padded.shape[2:]))], dim=1)
    places = torch.arange(padded.shape[1], device=padded.device)
    return padded, places < counts[:, None]


@dataclass
class RoiRows:
    """Boxes of all images in one list, as the heads work on them.

    Attributes:
        boxes: (M, 4) XYXY in the network's input pixels.
        image: (M,) int64, the image's index in the batch.
        valid: (M,) bool, False for rows that only fill a fixed shape.
        gt_classes: (M,) int64, ``num_classes`` for background, -1 where not valid.
        gt_boxes: (M, 4), meaningful for foreground.
        gt_index: (M,) int64 into the image's own targets, meaningful for foreground.
    """

    boxes: torch.Tensor
    image: torch.Tensor
    valid: torch.Tensor
    gt_classes: torch.Tensor | None = None
    gt_boxes: torch.Tensor | None = None
    gt_index: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def from_boxes(cls, boxes: Sequence[Boxes]) -> RoiRows:
        """Concatenate the boxes of N images."""
        tensors = [b.tensor for b in boxes]
        flat = torch.cat(tensors)
        images = [torch.full_like(t[:, 0], i, dtype=torch.int64) for i, t in enumerate(tensors)]
        image = torch.cat(images)
        return cls(flat, image, torch.ones_like(image, dtype=torch.bool))

    def per_image(self, num_images: int) -> list[Boxes]:
        """Return the boxes of every image, used places or not."""
        counts = torch.bincount(self.image, minlength=num_images).tolist()
        return [Boxes(part) for part in self.boxes.split(counts)]

    def foreground(self, num_classes: int) -> torch.Tensor:
        """Return the (M,) bool mask of the rows that belong to an object."""
        assert self.gt_classes is not None
        return (self.gt_classes >= 0) & (self.gt_classes < num_classes)

    def select(self, index: torch.Tensor, valid: torch.Tensor | None = None) -> RoiRows:
        """Take the rows at an int64 index; ``valid`` replaces the mask."""
        columns: list[Any] = [getattr(self, f.name) for f in fields(self)]
        taken: list[Any] = [None if column is None else column[index] for column in columns]
        rows = RoiRows(*taken)
        return rows if valid is None else replace(rows, valid=valid)


@dataclass(eq=False)
class TargetBatch(Sequence[Instances]):
    """The ground truth of a batch.

    Attributes:
        boxes: (N, G, 4) XYXY.
        classes: (N, G) int64.
        valid: (N, G) bool.
        instances: the N instances as they came, with masks and all.
    """

    boxes: torch.Tensor
    classes: torch.Tensor
    valid: torch.Tensor
    instances: Sequence[Instances]

    @classmethod
    def of(cls, targets: Sequence[Instances], device: torch.device | None = None) -> TargetBatch:
        """Pad the ground truth of N images, or return it if it is padded already.

        Args:
            targets: instances with ``gt_boxes`` and, but for the RPN, ``gt_classes``.
            device: where the tensors shall be; by default where the boxes are.

        Returns:
            The batch.
        """
        if isinstance(targets, TargetBatch):
            return targets
        if len(targets) == 0:
            none = torch.zeros((0, 1), dtype=torch.int64)
            return cls(torch.zeros((0, 1, 4)), none, none.bool(), [])
        device = targets[0].gt_boxes.device if device is None else device
        # So that few shapes occur, which are compiled for and whose memory is used again.
        step = _GROUND_TRUTH_STEP if fixed_shapes(device) else 1
        boxes, valid = pad([t.gt_boxes.tensor for t in targets], step)
        # The RPN's training needs no classes.
        known = [
            t.gt_classes if t.has("gt_classes") else torch.zeros(len(t), device=boxes.device) for t in targets
        ]
        classes, _ = pad(known, step)
        columns = [t.to(device, non_blocking=True) for t in (boxes.float(), classes.long(), valid)]
        return cls(columns[0], columns[1], columns[2], instances=list(targets))

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.instances[index].to(self.boxes.device)


@dataclass(eq=False)
class ProposalBatch(Sequence[Instances]):
    """The proposals of a batch, in training with what they are matched to.

    Attributes:
        boxes: (N, K, 4) XYXY in the network's input pixels.
        valid: (N, K) bool.
        image_sizes: N sizes (h, w) before padding.
        logits: (N, K) objectness, or None where it is not known.
        gt_classes: (N, K) int64, ``num_classes`` for background, -1 for nothing.
        gt_boxes: (N, K, 4), meaningful for foreground.
        gt_index: (N, K) int64 into the image's targets, meaningful for foreground.
        targets: the ground truth itself.
        fixed: see :func:`fixed_shapes`; whether :meth:`rows` keeps unused places.
        instances: the N instances the batch was made of, with whatever else they have, if it was.
        hardness: (N, K), how much each would teach as background, where that decides on the sampling.
        finite: 0-d bool, whether everything was finite that the boxes were chosen from, if known.
    """

    boxes: torch.Tensor
    valid: torch.Tensor
    image_sizes: Sequence[tuple[int, int]]
    logits: torch.Tensor | None = None
    gt_classes: torch.Tensor | None = None
    gt_boxes: torch.Tensor | None = None
    gt_index: torch.Tensor | None = None
    targets: TargetBatch | None = None
    fixed: bool | None = None
    instances: Sequence[Instances] | None = None
    hardness: torch.Tensor | None = None
    finite: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.fixed is None:
            self.fixed = fixed_shapes(self.boxes.device)
        self._rows: RoiRows | None = None

    @classmethod
    def of(cls, proposals: Sequence[Instances]) -> ProposalBatch:
        """Pad the proposals of N images, or return them if they are padded already.

        Args:
            proposals: instances with ``proposal_boxes`` and, as far as known, ``objectness_logits``,
                ``gt_classes`` and ``gt_boxes``.

        Returns:
            The batch; its rows are the given boxes in order.
        """
        if isinstance(proposals, ProposalBatch):
            return proposals
        if len(proposals) == 0:
            none = torch.zeros((0, 1), dtype=torch.int64)
            boxes = torch.zeros((0, 1, 4))
            return cls(boxes, none.bool(), [], gt_classes=none, gt_boxes=boxes, fixed=False, instances=[])
        boxes, valid = pad([p.proposal_boxes.tensor for p in proposals])
        optional: dict[str, Any] = {}
        names = {"objectness_logits": "logits", "gt_classes": "gt_classes"}
        for field, name in names.items():
            if all(p.has(field) for p in proposals):
                optional[name] = pad([p.get(field) for p in proposals])[0]
        if "gt_classes" in optional:
            optional["gt_classes"] = optional["gt_classes"].masked_fill(~valid, -1)
            # Without objects an image has no ``gt_boxes``, and its proposals are all background.
            sources = [p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes for p in proposals]
            optional["gt_boxes"] = pad([b.tensor for b in sources])[0]
        sizes = [p.image_size for p in proposals]
        return cls(boxes, valid, sizes, fixed=False, instances=list(proposals), **optional)

    def exact(self) -> ProposalBatch:
        """Return the same batch with nothing but used places in :meth:`rows`."""
        return replace(self, fixed=False) if self.fixed else self

    def matching(self, count: int) -> ProposalBatch:
        """Return the batch whose :meth:`rows` are the ``count`` that something was computed for.

        This package computes for all places of a fixed shape; who pools the boxes of the instances
        has only the used ones.
        """
        return self if count == self.valid.numel() else self.exact()

    def set_boxes(self, boxes: torch.Tensor) -> None:
        """Put (M, 4) boxes in place of those in :meth:`rows`."""
        self.boxes = self.spread(boxes)
        self._rows = None
        for instances, padded, valid in zip(self.instances or [], self.boxes, self.valid, strict=False):
            instances.proposal_boxes = Boxes(padded[valid])

    def rows(self) -> RoiRows:
        """Return all boxes in one list: every place if ``fixed``, else the used ones."""
        if self._rows is None:
            n, k = self.valid.shape
            image = torch.arange(n, device=self.valid.device)[:, None].expand(n, k)
            columns: list[Any] = [self.boxes, image, self.valid]
            columns += [self.gt_classes, self.gt_boxes, self.gt_index]
            flat: list[Any] = [None if c is None else c.flatten(0, 1) for c in columns]
            rows = RoiRows(*flat)
            self._rows = rows if self.fixed else rows.select(self.valid.flatten().nonzero()[:, 0])
        return self._rows

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Turn (M, ...) values of the rows into (N, K, ...), zero in unused places."""
        if self.fixed:
            return values.unflatten(0, self.valid.shape)
        padded = values.new_zeros((*self.valid.shape, *values.shape[1:]))
        padded[self.valid] = values
        return padded

    def foreground(self, num_classes: int, capacity: int) -> tuple[torch.Tensor, RoiRows]:
        """Return the rows that belong to an object.

        Args:
            num_classes: the label of background.
            capacity: the most of them an image can have. With fixed shapes they must be the first
                of every image, and so many rows of every image are returned.

        Returns:
            (F,) int64 index into :meth:`rows`, and the rows there, valid where they are foreground.
        """
        rows = self.rows()
        mask = rows.foreground(num_classes)
        if self.fixed:
            n, k = self.valid.shape
            places = torch.arange(n * k, device=mask.device).view(n, k)
            index = places[:, : min(capacity, k)].reshape(-1)
        else:
            index = mask.nonzero()[:, 0]
        return index, rows.select(index, mask[index])

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if self.instances is not None:
            return self.instances[index]
        used = self.valid[index]
        result = Instances(self.image_sizes[index], proposal_boxes=Boxes(self.boxes[index][used]))
        if self.logits is not None:
            result.objectness_logits = self.logits[index][used]
        if self.gt_classes is not None:
            result.gt_classes = self.gt_classes[index][used]
        if self.targets is not None and self.gt_index is not None:
            self._add_ground_truth(result, self.targets[index], self.gt_index[index][used])
        return result

    @staticmethod
    def _add_ground_truth(result: Instances, target: Instances, matched: torch.Tensor) -> None:
        if len(target) == 0:
            return
        for name, value in target.get_fields().items():
            if name.startswith("gt_") and not result.has(name):
                result.set(name, value[matched])
