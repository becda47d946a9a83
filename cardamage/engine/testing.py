"""Evaluating a model on every test dataset of a config."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import nn

from cardamage.config import CfgNode
from cardamage.errors import EvaluationError
from cardamage.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from cardamage.modeling import GeneralizedRCNNWithTTA
from cardamage.modeling.fusion import prepare_for_inference
from cardamage.utils import comm
from cardamage.utils.logger import FILE_ONLY

__all__ = ["test_datasets", "evaluate_with_tta"]

logger = logging.getLogger(__name__)


def test_datasets(
    builder: Any,
    cfg: CfgNode,
    model: nn.Module,
    evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None,
) -> dict[str, Any]:
    """Evaluate a model on the datasets of ``DATASETS.TEST``.

    Args:
        builder: has ``build_test_loader(cfg, name)`` and ``build_evaluator(cfg, name)``.
        cfg: the full config; ``TEST.PRECISION`` and ``TEST.FUSE`` say how the model runs.
        model: the model; its weights stay as they are.
        evaluators: one for each dataset; None builds them.

    Returns:
        Results by dataset, or those of the only one.

    Raises:
        EvaluationError: if there aren't as many evaluators as datasets.
    """
    names = list(cfg.DATASETS.TEST)
    if isinstance(evaluators, DatasetEvaluator):
        evaluators = [evaluators]
    if evaluators is not None and len(evaluators) != len(names):
        raise EvaluationError(f"{len(evaluators)} evaluators were given for {len(names)} datasets in TEST.")
    results: dict[str, Any] = {}
    fast = prepare_for_inference(model, cfg)
    for index, name in enumerate(names):
        loader = builder.build_test_loader(cfg, name)
        try:
            evaluator = evaluators[index] if evaluators else builder.build_evaluator(cfg, name)
        except NotImplementedError:
            logger.warning("There is no evaluator: override build_evaluator, or give evaluators to test().")
            results[name] = {}
            continue
        results[name] = inference_on_dataset(fast, loader, evaluator)
        if comm.is_main_process():
            logger.info("Results on %s:", name, extra=FILE_ONLY)
            print_csv_format(results[name])
    return next(iter(results.values())) if len(results) == 1 else results


def evaluate_with_tta(
    builder: Any,
    cfg: CfgNode,
    model: nn.Module,
    evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
) -> dict[str, Any]:
    """Evaluate a model with test-time augmentation on the datasets of ``DATASETS.TEST``.

    Views are made of whole photos. With ``INPUT.RESIZE`` exact they are made, as Detectron2 does it, of what
    the test loader has resized.

    Args:
        builder: a trainer, see :func:`test_datasets`.
        cfg: the full config; ``TEST.AUG`` and ``INPUT.FLIP_CLASS_PAIRS`` say how.
        model: the model, weights loaded.
        evaluators: one for each dataset; None builds them.

    Returns:
        What ``builder.test`` returns, every key with ``_TTA`` behind it.

    Raises:
        ConfigValueError: the model can't be tested so, see :class:`GeneralizedRCNNWithTTA`.
    """
    logger.info("Evaluating with test-time augmentation.")
    augmented = GeneralizedRCNNWithTTA(cfg, model)
    results = builder.test(with_whole_photos(cfg), augmented, evaluators)
    return {f"{name}_TTA": values for name, values in results.items()}


def with_whole_photos(cfg: CfgNode) -> CfgNode:
    """Return a config whose test loader leaves photos as they are, unless views are to be Detectron2's."""
    if cfg.INPUT.RESIZE == "exact":
        return cfg
    whole = cfg.clone()
    whole.defrost()
    whole.INPUT.MIN_SIZE_TEST = 0
    whole.freeze()
    return whole
