"""Thinning out boxes: every kind of ``MODEL.ROI_HEADS.NMS_TYPE`` beside torchvision's ``batched_nms``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torchvision.ops import batched_nms

from cardamage.benchmark.measuring import measure_results
from cardamage.benchmark.report import Section
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.lineup import Lineup
from cardamage.benchmark.sides.side import Side
from cardamage.layers.suppression import fuse_weighted_boxes, mask_keep
from cardamage.modeling.roi_heads.suppression import KINDS, Suppression

__all__ = ["CLASSES", "PER_CLASS", "run"]

CLASSES, PER_CLASS = 80, 1000
"""Of the boxes that all kinds are given."""

_OBJECTS = 15
_THRESHOLD = 0.5
# Of the views of a photo, and of the masks of a batch of pictures.
_VIEWS, _PER_VIEW = 18, 20
_PICTURES, _CANDIDATES = 8, 200


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes (G, K, 4) around some objects of every group, and scores (G, K), the best first."""

    boxes: torch.Tensor
    scores: torch.Tensor

    @classmethod
    def around_objects(cls, groups: int, size: int, device: torch.device) -> _Boxes:
        """Draw boxes: each is one of an image's objects, moved and resized a little; the same every time."""
        generator = torch.Generator().manual_seed(0)
        centres = torch.rand(groups, _OBJECTS, 2, generator=generator) * torch.tensor([1216.0, 800.0])
        sides = torch.rand(groups, _OBJECTS, 2, generator=generator) * 250 + 30
        chosen = torch.randint(_OBJECTS, (groups, size, 1), generator=generator).expand(-1, -1, 2)
        centres, sides = centres.gather(1, chosen), sides.gather(1, chosen)
        centres = centres + torch.randn(centres.shape, generator=generator) * sides * 0.15
        sides = sides * torch.exp(torch.randn(sides.shape, generator=generator) * 0.15)
        boxes = torch.cat((centres - sides / 2, centres + sides / 2), dim=2)
        scores = torch.rand(groups, size, generator=generator).sort(dim=1, descending=True).values
        return cls(boxes.to(device), scores.to(device))

    @property
    def alive(self) -> torch.Tensor:
        return torch.ones_like(self.scores, dtype=torch.bool)


def run(settings: Settings) -> list[Section]:
    """Measure all kinds on the same boxes, and what compares masks or merges views on some of its own."""
    given = _Boxes.around_objects(CLASSES, PER_CLASS, settings.device)
    classes = torch.arange(CLASSES, device=settings.device).repeat_interleave(PER_CLASS)
    flat = given.boxes.flatten(0, 1), given.scores.flatten(), classes
    count = CLASSES * PER_CLASS
    lineup: Lineup = {
        "torchvision, hard": _side("torchvision, hard", partial(_torchvision, *flat), count, "peer")
    }
    for kind in KINDS:
        rule = Suppression(_THRESHOLD, kind)
        if not rule.by_masks:
            # As a model calls it: on a processor with lists, on a GPU with groups that it has sorted.
            call = (
                partial(_list, rule, *flat)
                if settings.device.type == "cpu"
                else partial(_groups, rule, given)
            )
            lineup[kind] = _side(kind, call, count)
    title = f"Suppression, {PER_CLASS} boxes of each of {CLASSES} classes"
    return [_section(title, lineup, settings), _own_section(settings)]


def _own_section(settings: Settings) -> Section:
    """Measure what nobody else has an operator for."""
    masks, views = f"{_CANDIDATES} masks in {_PICTURES} pictures", f"weighted boxes of {_VIEWS} views"
    lineup: Lineup = {
        masks: _side(masks, _masks(settings.device), _PICTURES * _CANDIDATES),
        views: _side(views, _views(settings.device), CLASSES * _VIEWS * _PER_VIEW),
    }
    title = f"Suppression by masks, and {CLASSES} classes merged"
    return _section(title, lineup, settings)


def _section(title: str, lineup: Lineup, settings: Settings) -> Section:
    rows, failed = measure_results(lineup, settings, "suppression", "kept")
    return Section("suppression", title, "box", [*rows, *failed])


def _side(
    name: str, call: Callable[[], int], count: int, role: str = "own"
) -> tuple[str, Callable[[], Side]]:
    return role, partial(Side, name, call, count, role)


def _torchvision(boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor) -> int:
    return len(batched_nms(boxes, scores, classes, _THRESHOLD))


def _list(rule: Suppression, boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor) -> int:
    return len(rule(boxes, scores, classes)[0])


def _groups(rule: Suppression, given: _Boxes) -> int:
    return int(rule.on_groups(given.boxes, given.scores, given.alive)[1].sum())


def _masks(device: torch.device) -> Callable[[], int]:
    """Masks of one class: discs, as wide as their boxes."""
    given = _Boxes.around_objects(_PICTURES, _CANDIDATES, device)
    line = torch.linspace(-1, 1, 28, device=device)
    disc = (1.5 - line[:, None].square() - line.square()).clamp(0, 1)
    masks = disc.expand(_PICTURES, _CANDIDATES, 28, 28)
    groups = torch.zeros_like(given.scores, dtype=torch.int64)
    call = partial(mask_keep, masks, given.boxes, given.scores, groups, given.alive, _THRESHOLD)
    return lambda: int(call().sum())


def _views(device: torch.device) -> Callable[[], int]:
    given = _Boxes.around_objects(CLASSES, _VIEWS * _PER_VIEW, device)
    views = torch.full((CLASSES,), _VIEWS, device=device)
    call = partial(fuse_weighted_boxes, given.boxes, given.scores, given.alive, views)
    return lambda: int(call()[2].sum())
