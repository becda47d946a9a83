"""COCO mask AP from results: ours beside pycocotools, and whether they are equal."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from functools import partial
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cardamage.benchmark.machine import is_importable
from cardamage.benchmark.made_up_results import make_results
from cardamage.benchmark.measuring import measure_results
from cardamage.benchmark.report import Row, Section
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.lineup import Lineup
from cardamage.benchmark.sides.side import Side
from cardamage.evaluation.coco_ground_truth import GroundTruth
from cardamage.evaluation.coco_scoring import score_detections

__all__ = ["run"]

# Every photo of the set counts so often, and has so many detections.
_REPEATED, _PER_IMAGE = 8, 30
_EQUAL = 1e-9

Score = Callable[[], float]


def run(settings: Settings) -> list[Section]:
    """Measure scoring, from results in memory to AP."""
    images = len(settings.files.records) * _REPEATED
    truth, results = make_results(settings.files, images, _PER_IMAGE)
    scorers: dict[str, tuple[str, Score]] = {
        "cardamage": ("own", partial(_own, truth, results)),
        "pycocotools": ("peer", partial(_official, COCOeval, truth, results)),
    }
    if is_importable("detectron2"):
        scorers["Detectron2, fast"] = ("peer", partial(_detectron2, truth, results))
    lineup: Lineup = {
        name: (role, partial(Side, name, score, images, role)) for name, (role, score) in scorers.items()
    }
    rows, failed = measure_results(lineup, settings, "evaluation", "AP")
    title = f"Evaluation, mask AP of {len(results)} detections in {images} photos"
    return [Section("evaluation", title, "img", [*rows, *failed], checks=[_compared(rows)])]


def _compared(rows: list[Row]) -> str:
    own, *others = (row.values["AP"] for row in rows)
    apart = max((abs(other - own) for other in others), default=0.0)
    if apart <= _EQUAL:
        return f"Equal: every side's AP is {own:.6f}."
    return f"NOT EQUAL: the sides' AP differ by up to {apart:.2g}."


def _own(truth: Any, results: Any) -> float:
    return score_detections(GroundTruth(truth, "benchmark"), results, "segm").average_precision()


def _official(kind: Any, truth: Any, results: Any) -> float:
    # Both are changed by it, as they would be after being read from a file.
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {**truth, "annotations": [dict(a) for a in truth["annotations"]]}
        coco.createIndex()
        found = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
        evaluation = kind(coco, coco.loadRes(copy.copy(found)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def _detectron2(truth: Any, results: Any) -> float:
    from detectron2.evaluation.fast_eval_api import COCOeval_opt

    return _official(COCOeval_opt, truth, results)
