"""Printing, flattening and checking results of the form ``{task: {metric: value}}``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from cardamage.errors import EvaluationError
from cardamage.utils.logger import FILE_ONLY

__all__ = ["flatten_results_dict", "print_csv_format", "verify_results"]

logger = logging.getLogger(__name__)


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Log the main metrics of each task as comma-separated lines, ready for a spreadsheet.

    A terminal, which has the tables, doesn't show them where there is a log file.

    Metrics of single classes (``AP-dent``) are left out.

    Args:
        results: ``{task: {metric: value}}``; a task may also be a plain value.
    """
    for task, values in results.items():
        if not isinstance(values, Mapping):
            logger.info("copypaste: %s=%s", task, values, extra=FILE_ONLY)
            continue
        main = {metric: value for metric, value in values.items() if "-" not in metric}
        logger.info("copypaste: Task: %s", task, extra=FILE_ONLY)
        logger.info("copypaste: %s", ",".join(main), extra=FILE_ONLY)
        numbers = ",".join(f"{value:.4f}" for value in main.values())
        logger.info("copypaste: %s", numbers, extra=FILE_ONLY)


def verify_results(cfg: Any, results: Mapping[str, Mapping[str, float]]) -> bool:
    """Compare ``results`` with ``cfg.TEST.EXPECTED_RESULTS``.

    Args:
        cfg: a config whose ``TEST.EXPECTED_RESULTS`` lists ``[task, metric, value, tolerance]``.
        results: ``{task: {metric: value}}``.

    Returns:
        True if nothing is expected or everything is within its tolerance.

    Raises:
        EvaluationError: a metric is missing, not finite or outside its tolerance; names all of them.
    """
    wrong = []
    for task, metric, expected, tolerance in cfg.TEST.EXPECTED_RESULTS:
        actual = results.get(task, {}).get(metric, math.nan)
        if not abs(actual - expected) <= tolerance:  # also catches nan
            wrong.append(f"{task}/{metric} is {actual:.4f}, expected {expected:.4f} ± {tolerance:.4f}")
    if wrong:
        raise EvaluationError("TEST.EXPECTED_RESULTS not reached: " + "; ".join(wrong) + ".")
    if cfg.TEST.EXPECTED_RESULTS:
        logger.info("All %d values of TEST.EXPECTED_RESULTS are reached.", len(cfg.TEST.EXPECTED_RESULTS))
    return True


def flatten_results_dict(results: Mapping[str, Any]) -> dict[str, Any]:
    """Join nested keys with ``/``: ``{"segm": {"AP": 1}}`` becomes ``{"segm/AP": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in results.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}/{inner}": v for inner, v in flatten_results_dict(value).items()})
        else:
            flat[key] = value
    return flat
