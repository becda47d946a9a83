"""COCO average precision of boxes and masks."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cardamage.catalog import MetadataCatalog
from cardamage.errors import EvaluationError
from cardamage.utils import comm
from cardamage.utils.files import atomic_write

from .box_proposals import average_recalls, write_box_proposals
from .coco_ground_truth import load_ground_truth
from .coco_results import instances_to_coco_json
from .coco_scoring import Scores, score_detections
from .coco_tables import class_table, explain, overall_table
from .evaluator import DatasetEvaluator

__all__ = ["COCOEvaluator", "instances_to_coco_json"]

logger = logging.getLogger(__name__)

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class COCOEvaluator(DatasetEvaluator):
    """AP of boxes and masks by COCO's rules (https://cocodataset.org/#detection-eval), in percent.

    :meth:`evaluate` returns ``{"bbox": {...}, "segm": {...}}``, each with AP, AP50, AP75, APs, APm, APl and,
    with two classes or more, ``AP-<class>``. A value is nan where no object is annotated, or nothing was
    predicted at all. Proposals in the outputs give ``box_proposals`` with average recalls.

    Args:
        dataset_name: a registered or ad-hoc dataset. Without a ``json_file`` in its metadata, its dicts are
            scored.
        tasks: out of ``"bbox"`` and ``"segm"``; by default what predictions and ground truth both have. A
            config is accepted and means the default.
        distributed: collect the predictions of all processes and evaluate in the main one; otherwise each
            process evaluates its own.
        output_dir: folder for ``coco_instances_results.json`` (COCO's result format, the dataset's own
            category ids), ``instances_predictions.pth`` (per image, classes from 0), and for proposals
            ``box_proposals.pkl``, which DATASETS.PROPOSAL_FILES_* take.
        max_dets_per_image: limit of detections per image and class, 100 unless given.
        use_fast_impl: score with faster-coco-eval; False takes pycocotools, for the same numbers.
        kpt_oks_sigmas: accepted for compatibility; keypoints are not evaluated.
        allow_cached_coco: accepted for compatibility; nothing is cached, so nothing can be out of date.

    Raises:
        EvaluationError: an unknown task is asked for, or the ground truth can't be used.
    """

    results_file = "coco_instances_results.json"
    """Name of the file of detections in the output folder."""

    def __init__(
        self,
        dataset_name: str,
        tasks: Any = None,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        max_dets_per_image: int | None = None,
        use_fast_impl: bool = True,
        kpt_oks_sigmas: Sequence[float] = (),
        allow_cached_coco: bool = True,
    ) -> None:
        del kpt_oks_sigmas, allow_cached_coco
        self._tasks = _check_tasks(tasks)
        self._distributed = distributed
        self._output_dir = Path(output_dir) if output_dir else None
        self._max_dets = 100 if max_dets_per_image is None else int(max_dets_per_image)
        self._fast = use_fast_impl
        self._metadata = MetadataCatalog.get(dataset_name)
        self._truth = load_ground_truth(dataset_name)
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._predictions: list[dict[str, Any]] = []
        self._masks_seen = False

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Keep the predictions of a batch, masks as run lengths.

        Args:
            inputs: mappings with ``image_id``.
            outputs: mappings with ``instances`` and/or ``proposals``, on any device.
        """
        for given, output in zip(inputs, outputs, strict=True):
            prediction: dict[str, Any] = {"image_id": given["image_id"]}
            if "instances" in output:
                prediction["instances"] = instances_to_coco_json(output["instances"], given["image_id"])
                self._masks_seen |= output["instances"].has("pred_masks")
            if "proposals" in output:
                prediction["proposals"] = output["proposals"].to(torch.device("cpu"))
            if len(prediction) > 1:
                self._predictions.append(prediction)

    def evaluate(self, img_ids: Sequence[Any] | None = None) -> dict[str, Any]:
        """Score everything processed since :meth:`reset`.

        Args:
            img_ids: score these images only.

        Returns:
            ``{task: {metric: percent}}``; empty outside the main process, without predictions for any image,
            and for a dataset without annotations.

        Raises:
            EvaluationError: a prediction's image or mask size is not the ground truth's.
        """
        predictions = self._predictions
        if self._distributed:
            comm.synchronize()
            gathered = comm.gather((predictions, self._masks_seen), dst=0)
            if not comm.is_main_process():
                return {}
            predictions = list(itertools.chain.from_iterable(part for part, _ in gathered))
            self._masks_seen = any(seen for _, seen in gathered)
        if not predictions:
            logger.warning("No image of %r was processed, so there is nothing to evaluate.", self._truth.name)
            return {}
        results: dict[str, Any] = {}
        if "proposals" in predictions[0]:
            if self._output_dir is not None:
                write_box_proposals(self._output_dir / "box_proposals.pkl", predictions)
            results["box_proposals"] = average_recalls(self._truth, predictions)
            logger.info("Proposals:\n%s", overall_table(results["box_proposals"]))
        if "instances" in predictions[0]:
            results.update(self._evaluate_instances(predictions, img_ids))
        return results

    def _evaluate_instances(
        self, predictions: Sequence[Mapping[str, Any]], img_ids: Sequence[Any] | None
    ) -> dict[str, dict[str, float]]:
        records = self._with_dataset_categories(
            list(itertools.chain.from_iterable(p["instances"] for p in predictions))
        )
        if self._output_dir is not None:
            self._save(predictions, records)
        if not self._truth.annotated:
            logger.info("%r has no annotations: predictions are written, not scored.", self._truth.name)
            return {}
        known = {category["id"] for category in self._truth.categories}
        detections = [
            {**record, "image_id": self._truth.image_id(record["image_id"])}
            for record in records
            if record["category_id"] in known
        ]
        self._check_masks(detections)
        chosen = None if img_ids is None else [self._truth.image_id(i) for i in img_ids]
        return {task: self._score(task, detections, chosen) for task in self._tasks or self._found_tasks()}

    def _score(
        self, task: str, detections: Sequence[dict[str, Any]], img_ids: Sequence[int] | None
    ) -> dict[str, float]:
        objects = Counter(a["category_id"] for a in self._truth.annotations if not a["iscrowd"])
        if not detections:
            metrics = dict.fromkeys(METRICS, math.nan)
        else:
            scores = score_detections(
                self._truth, detections, task, max_dets=self._max_dets, img_ids=img_ids, fast=self._fast
            )
            metrics = scores.metrics()
            logger.info("AP of %s on %r, in percent:\n%s", task, self._truth.name, overall_table(metrics))
            metrics.update(self._per_class(task, scores, detections, objects))
        level = logging.INFO if metrics["AP"] > 0 else logging.WARNING
        for sentence in explain(task, metrics, objects=sum(objects.values()), detections=len(detections)):
            logger.log(level, "%s", sentence)
        return metrics

    def _per_class(
        self, task: str, scores: Scores, detections: Sequence[Mapping[str, Any]], objects: Counter[int]
    ) -> dict[str, float]:
        classes = self._class_categories()
        if len(classes) <= 1:
            return {}
        found = Counter(d["category_id"] for d in detections)
        rows = []
        for name, category in classes:
            known = category in scores.category_ids
            ap, ap50 = (
                scores.average_precision(iou=iou, category_id=category) if known else math.nan
                for iou in (None, 0.5)
            )
            rows.append((name, ap, ap50, objects[category], found[category]))
        logger.info("AP of %s per class:\n%s", task, class_table(rows))
        return {f"AP-{name}": ap for name, ap, *_ in rows}

    def _class_categories(self) -> list[tuple[str, int]]:
        """Name and category id of each class; -1 stands for a class this dataset doesn't have."""
        names = self._metadata.get("thing_classes")
        if names is None:
            return [(c.get("name", str(c["id"])), c["id"]) for c in self._truth.categories]
        back = self._contiguous_to_category()
        if back is None:
            ids = sorted(category["id"] for category in self._truth.categories)
            back = dict(enumerate(ids))
        return [(name, back.get(i, -1)) for i, name in enumerate(names)]

    def _contiguous_to_category(self) -> dict[int, int] | None:
        mapping = self._metadata.get("thing_dataset_id_to_contiguous_id")
        return None if mapping is None else {contiguous: category for category, contiguous in mapping.items()}

    def _with_dataset_categories(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        back = self._contiguous_to_category()
        if back is None:
            return records
        count = len(self._metadata.get("thing_classes") or back)
        top = max((record["category_id"] for record in records), default=0)
        if top >= max(count, max(back, default=-1) + 1):
            raise EvaluationError(
                f"The model predicts class {top}, but {self._truth.name!r} has {count} classes "
                f"(0 to {count - 1}); set MODEL.ROI_HEADS.NUM_CLASSES to match, or evaluate on the dataset "
                "it was trained for."
            )
        known = [record for record in records if record["category_id"] in back]
        if len(known) < len(records):
            logger.info(
                "%d predictions are of classes %r lacks.", len(records) - len(known), self._truth.name
            )
        return [{**record, "category_id": back[record["category_id"]]} for record in known]

    def _found_tasks(self) -> list[str]:
        if not self._masks_seen:
            return ["bbox"]
        if not self._truth.has_masks():
            logger.warning("%r has boxes only: masks can't be scored.", self._truth.name)
            return ["bbox"]
        return ["bbox", "segm"]

    def _check_masks(self, detections: Sequence[Mapping[str, Any]]) -> None:
        if "segm" in (self._tasks or ()) and not all("segmentation" in found for found in detections):
            raise EvaluationError(
                f"{type(self).__name__} is asked for 'segm', but the model predicts no masks; leave the task "
                "out, or set MODEL.MASK_ON to True."
            )
        for detection in detections:
            size = self._truth.image_size(detection["image_id"])
            if size is None or "segmentation" not in detection:
                continue
            if tuple(detection["segmentation"]["size"]) != size:
                height, width = detection["segmentation"]["size"]
                raise EvaluationError(
                    f"A predicted mask of image id {detection['image_id']} is {width}x{height} px, but the "
                    f"ground truth of {self._truth.name!r} says {size[1]}x{size[0]}; correct the size there."
                )

    def _save(self, predictions: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> None:
        assert self._output_dir is not None
        self._output_dir.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._output_dir / "instances_predictions.pth", "wb") as file:
            torch.save(predictions, file)
        with atomic_write(self._output_dir / self.results_file, "w") as file:
            json.dump(records, file)
        logger.info("Wrote %d predictions to %s.", len(records), self._output_dir / self.results_file)


def _check_tasks(tasks: Any) -> list[str] | None:
    if tasks is None or isinstance(tasks, Mapping):  # a config is a mapping
        return None
    tasks = [tasks] if isinstance(tasks, str) else sorted(tasks)
    unknown = [task for task in tasks if task not in ("bbox", "segm")]
    if unknown:
        raise EvaluationError(
            f"COCOEvaluator can't evaluate {unknown[0]!r}; its tasks are 'bbox' and 'segm'."
        )
    return tasks
