"""Whether the metric that picks the best checkpoint will ever be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cardamage.config import CfgNode
from cardamage.errors import ConfigValueError
from cardamage.evaluation import COCOEvaluator, metric_names
from cardamage.utils.suggest import did_you_mean

__all__ = ["check_best_metric", "fallback_metrics"]


def check_best_metric(
    cfg: CfgNode, thing_classes: Sequence[str], build_evaluator: Callable[[CfgNode, str], Any]
) -> None:
    """Refuse a TEST.BEST_CHECKPOINT.METRIC that the evaluation can't measure.

    Losses, which hooks may measure, and the metrics of evaluators other than COCO's are let be.

    Args:
        cfg: TEST.BEST_CHECKPOINT and DATASETS.TEST are read.
        thing_classes: class names of the data; where empty, any class is taken to exist.
        build_evaluator: makes the evaluator of a dataset; asked only where the metric isn't a known one.

    Raises:
        ConfigValueError: names the closest metric there is.
    """
    metric = cfg.TEST.BEST_CHECKPOINT.METRIC
    if not cfg.TEST.BEST_CHECKPOINT.ENABLED or not cfg.DATASETS.TEST or "loss" in metric:
        return
    known = metric_names(thing_classes, cfg.DATASETS.TEST)
    if metric in known or (not thing_classes and "/AP-" in metric):
        return
    try:
        evaluator = build_evaluator(cfg, cfg.DATASETS.TEST[0])
    except NotImplementedError:
        return
    if type(evaluator) is COCOEvaluator:  # those derived from it may measure more
        hint = did_you_mean(metric, known) or "; use one such as segm/AP, bbox/AP50 or segm/AP-CLASS."
        raise ConfigValueError(
            f"TEST.BEST_CHECKPOINT.METRIC is {metric!r}, which the evaluation doesn't measure{hint}"
        )


def fallback_metrics(cfg: CfgNode) -> tuple[str, ...]:
    """Return what to go by, in turn, where TEST.BEST_CHECKPOINT.METRIC isn't measured.

    Several test sets stand in front of their metrics, one doesn't; a model without masks has boxes.
    """
    metric, first = cfg.TEST.BEST_CHECKPOINT.METRIC, cfg.DATASETS.TEST[0]
    bare = tuple(metric.removeprefix(f"{name}/") for name in cfg.DATASETS.TEST)
    return (f"{first}/{metric}", *bare, "bbox/AP", f"{first}/bbox/AP")
