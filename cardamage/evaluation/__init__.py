"""How good a model is on a dataset: running it there, and COCO average precision."""

from __future__ import annotations

from ..absent import absent_names
from .build import evaluator_of
from .cityscapes_evaluation import CityscapesInstanceEvaluator
from .coco_evaluation import COCOEvaluator
from .coco_results import instances_to_coco_json
from .evaluator import DatasetEvaluator, DatasetEvaluators, inference_context, inference_on_dataset
from .lvis_evaluation import LVISEvaluator
from .metric_names import metric_names
from .testing import flatten_results_dict, print_csv_format, verify_results

__all__ = [
    "COCOEvaluator",
    "CityscapesInstanceEvaluator",
    "DatasetEvaluator",
    "DatasetEvaluators",
    "LVISEvaluator",
    "evaluator_of",
    "flatten_results_dict",
    "inference_context",
    "inference_on_dataset",
    "instances_to_coco_json",
    "metric_names",
    "print_csv_format",
    "verify_results",
]

__getattr__ = absent_names(__name__)
