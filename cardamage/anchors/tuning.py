"""Anchors fitted to a dataset: clusters of box shapes, brought into the form of a config, then evolution."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from cardamage.catalog import DatasetCatalog
from cardamage.config import CfgNode
from cardamage.data import prepare_datasets
from cardamage.errors import ConfigValueError, DataError

from .boxes import AnnotatedBoxes, PlacedBoxes, read_boxes, resize_boxes, training_sizes
from .clustering import cluster_shapes
from .coverage import Coverage, background_of, measure_coverage
from .evolution import Judge, evolve
from .form import AnchorForm, AnchorLists, rounded
from .grid import AnchorGrid, grid_of_config

__all__ = ["SHARED", "TuningSettings", "Tuned", "TuningTask", "read_task", "tune_anchors"]

SHARED = ("ratios", "nothing", "all")
# Boxes, over all sizes, that anchors are tuned on; all are measured afterwards.
_SAMPLE = 5_000


@dataclass(frozen=True)
class TuningSettings:
    """How anchors are tuned.

    Attributes:
        share: what feature maps share: "ratios", "nothing" or "all".
        sizes: sizes of a feature map; 0 for as many as the config has.
        ratios: aspect ratios; 0 likewise.
        starts: how often the clusters begin anew.
        generations: changes that the evolution tries, of the clusters and of the config's own anchors.
        seed: of all that is random.
    """

    share: str = "ratios"
    sizes: int = 0
    ratios: int = 0
    starts: int = 8
    generations: int = 600
    seed: int = 0

    def __post_init__(self) -> None:
        if self.share not in SHARED:
            raise ConfigValueError(f"--share is {self.share!r}; it must be one of {', '.join(SHARED)}.")
        for name, least in (("sizes", 0), ("ratios", 0), ("starts", 1), ("generations", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigValueError(f"--{name} is {getattr(self, name)}; it must be at least {least}.")


@dataclass(frozen=True)
class TuningTask:
    """What anchors are to be judged by.

    Attributes:
        datasets: the names.
        boxes: of the datasets.
        sizes: what the training resizes to.
        grid: the anchors of the config.
        background: the overlap below which the RPN takes an anchor for background.
    """

    datasets: tuple[str, ...]
    boxes: AnnotatedBoxes
    sizes: list[tuple[int, int]]
    grid: AnchorGrid
    background: float

    def coverage(self, grid: AnchorGrid) -> Coverage:
        """Measure how well anchors cover the boxes."""
        return measure_coverage(self.boxes, self.sizes, grid, self.background)


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        lists: for the config, rounded.
        grid: the same on the feature maps.
    """

    lists: AnchorLists
    grid: AnchorGrid


def read_task(cfg: CfgNode) -> TuningTask:
    """Read the training boxes of a config, and the anchors that it has.

    Args:
        cfg: the whole tree. Classes don't matter; no picture is read.

    Returns:
        What to tune for.

    Raises:
        ConfigError: a value can't be used, or the anchors aren't of sizes and ratios.
        DataError: a dataset can't be read or has no boxes.
    """
    grid = grid_of_config(cfg)
    if grid is None:
        raise ConfigValueError(
            f"MODEL.ANCHOR_GENERATOR.NAME {cfg.MODEL.ANCHOR_GENERATOR.NAME} makes anchors that aren't told "
            "by SIZES and ASPECT_RATIOS, so they can't be tuned; use DefaultAnchorGenerator."
        )
    names = tuple(cfg.DATASETS.TRAIN)
    boxes = read_boxes(_records(cfg, names))
    if not len(boxes):
        raise DataError(
            f"{', '.join(names)} has no boxes to learn from, so there is nothing to fit anchors to: annotate "
            "some objects."
        )
    return TuningTask(names, boxes, training_sizes(cfg), grid, background_of(cfg))


def _records(cfg: CfgNode, names: tuple[str, ...]) -> list[dict[str, Any]]:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TEST = ()
    cfg.INPUT.CHECK_IMAGES = False
    # As the training sees them: without boxes that it leaves out.
    prepare_datasets(cfg)
    found = [DatasetCatalog.get(name) for name in names]
    for name, records in zip(names, found, strict=True):
        if not isinstance(records, list):
            raise DataError(f"Dataset {name!r} isn't a list of dataset dicts, so its boxes can't be read.")
    return list(itertools.chain.from_iterable(found))


def form_of(cfg: CfgNode, settings: TuningSettings, maps: int) -> AnchorForm:
    """Return how many anchors are to be tuned: as the config has, unless the settings say otherwise."""
    node = cfg.MODEL.ANCHOR_GENERATOR
    sizes = settings.sizes or _length(node.SIZES)
    if settings.share == "all" and sizes == 1 and maps > 1:
        raise ConfigValueError(
            f"--share all gives the {maps} feature maps the same sizes, so one size is too few: ask for more "
            f"with --sizes, such as --sizes {maps}."
        )
    return AnchorForm(
        maps,
        sizes,
        settings.ratios or _length(node.ASPECT_RATIOS),
        own_sizes=settings.share != "all",
        own_ratios=settings.share == "nothing",
    )


def _length(values: Any) -> int:
    return len(values[0]) if isinstance(values[0], (list, tuple)) else len(values)


def tune_anchors(cfg: CfgNode, task: TuningTask, settings: TuningSettings) -> Tuned:
    """Fit anchors to boxes.

    Box shapes are clustered by overlap and the clusters brought into the form of a config. These, and the
    config's own anchors where they are of that form, evolve on best possible recall; the better ones count.

    Args:
        cfg: MODEL.ANCHOR_GENERATOR is read.
        task: the boxes.
        settings: how.

    Returns:
        The anchors, on the boxes tuned on never worse than the config's, but for rounding.

    Raises:
        DataError: there are fewer different shapes than anchors to find.
    """
    form = form_of(cfg, settings, len(task.grid.cells))
    _check_enough(task, form)
    rng = np.random.default_rng(settings.seed)
    boxes = _sampled(task, rng)
    judge = Judge(boxes, task.grid, form, task.background)
    count = form.size_lists * form.sizes * form.ratios
    starts = [form.from_shapes(cluster_shapes(boxes.shapes, count, settings.starts, rng))]
    node = cfg.MODEL.ANCHOR_GENERATOR
    before = form.pack(AnchorLists(_nested(node.SIZES), _nested(node.ASPECT_RATIOS)))
    if before is not None:
        judge.beat(before)
        starts.append(before)
    found = [evolve(judge, start, settings.generations, rng) for start in starts]
    lists = rounded(form.unpack(max(found, key=judge.score)))
    return Tuned(lists, task.grid.with_shapes(*lists.for_maps(form.maps)))


def _check_enough(task: TuningTask, form: AnchorForm) -> None:
    different = len(np.unique(task.boxes.shapes.round(), axis=0))
    if different < form.count:
        boxes = _counted(len(task.boxes), "box", "boxes")
        raise DataError(
            f"{', '.join(task.datasets)} has {boxes} of {_counted(different, 'different shape')}, fewer than "
            f"the {form.count} anchors to fit: annotate more objects, or ask for fewer with --ratios."
        )


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _sampled(task: TuningTask, rng: np.random.Generator) -> PlacedBoxes:
    sampled = task.boxes.sample(max(_SAMPLE // len(task.sizes), 1), rng)
    parts = list(resize_boxes(sampled, task.sizes))
    return PlacedBoxes(
        np.concatenate([part.corners for part in parts]), np.concatenate([part.pictures for part in parts])
    )


def _nested(values: Any) -> tuple[tuple[float, ...], ...]:
    lists = values if isinstance(values[0], (list, tuple)) else [values]
    return tuple(tuple(map(float, group)) for group in lists)
