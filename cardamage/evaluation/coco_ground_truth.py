"""COCO ground truth made fit to be scored against.

Files met in practice number annotations from 0 (which COCO's matching reads as "unmatched"), repeat ids,
leave out ``area`` or ``iscrowd``, or hold outlines of two points. All of that is put right in memory; no
number that a well-formed file would give changes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util

from cardamage.catalog import MetadataCatalog, coco_json
from cardamage.errors import EvaluationError
from cardamage.utils.files import local_path

__all__ = ["GroundTruth", "load_ground_truth"]

logger = logging.getLogger(__name__)


class GroundTruth:
    """A COCO dataset, checked and completed.

    Args:
        dataset: a COCO dictionary with ``images``, ``categories`` and, unless it is a test set without
            ground truth, ``annotations``. Not modified.
        name: what to call it in messages.

    Attributes:
        images: the image records, with integer ids.
        categories: the category records.
        annotations: the annotation records with ids 1, 2, 3 ... in the file's order.
        annotated: whether the file has annotations at all (an empty list counts).

    Raises:
        EvaluationError: ``images`` or ``categories`` are missing, or an annotation can't be used.
    """

    def __init__(self, dataset: Mapping[str, Any], name: str) -> None:
        self.name = name
        for key in ("images", "categories"):
            if key not in dataset:
                raise EvaluationError(f"The ground truth of {name!r} has no {key!r}; it must be a COCO file.")
        self._image_ids = _integer_ids([image["id"] for image in dataset["images"]])
        self.images = [{**image, "id": self._image_ids[image["id"]]} for image in dataset["images"]]
        self._sizes = {
            image["id"]: (int(image["height"]), int(image["width"]))
            for image in self.images
            if "height" in image and "width" in image
        }
        self.categories = [dict(category) for category in dataset["categories"]]
        self.annotated = "annotations" in dataset
        kept = (a for a in dataset.get("annotations", []) if a["image_id"] in self._image_ids)
        self.annotations = [self._complete(annotation, i) for i, annotation in enumerate(kept, start=1)]

    def image_id(self, original: Hashable) -> int:
        """Return the id in use for the image with id ``original`` in the file.

        Raises:
            EvaluationError: there is no such image.
        """
        try:
            return self._image_ids[original]
        except KeyError:
            raise EvaluationError(
                f"There is a prediction for image id {original!r}, which the ground truth of {self.name!r} "
                "doesn't have; evaluate on the dataset the predictions were made for."
            ) from None

    def image_size(self, image_id: int) -> tuple[int, int] | None:
        """Return (height, width) of an image, None if the file doesn't say."""
        return self._sizes.get(image_id)

    def has_masks(self) -> bool:
        """Tell whether masks can be scored: some object has an outline, or there is no object at all."""
        return not self.annotations or any("segmentation" in annotation for annotation in self.annotations)

    def for_task(self, task: str) -> dict[str, Any]:
        """Return a fresh COCO dictionary for one ``"bbox"`` or ``"segm"`` evaluation, free to be modified.

        For ``"segm"``, objects without an outline are left out.
        """
        annotations = [dict(a) for a in self.annotations if task == "bbox" or "segmentation" in a]
        missing = len(self.annotations) - len(annotations)
        if missing:
            logger.warning(
                "%d of %d objects of %r have a box but no outline; they are left out of the mask scores.",
                missing,
                len(self.annotations),
                self.name,
            )
        return {
            "info": {},
            "images": [dict(image) for image in self.images],
            "categories": [dict(category) for category in self.categories],
            "annotations": annotations,
        }

    def _complete(self, annotation: Mapping[str, Any], new_id: int) -> dict[str, Any]:
        done = {
            "id": new_id,
            "image_id": self._image_ids[annotation["image_id"]],
            "category_id": annotation["category_id"],
            "iscrowd": int(annotation.get("iscrowd", 0)),
        }
        segmentation = _usable(annotation.get("segmentation"))
        if segmentation is not None:
            done["segmentation"] = segmentation
        bbox, area = annotation.get("bbox"), annotation.get("area")
        if bbox is None or area is None:
            rle = self._rle(done) if segmentation is not None else None
            if rle is None and bbox is None:
                raise EvaluationError(
                    f"Annotation {annotation.get('id')!r} in the ground truth of {self.name!r} has neither a "
                    "box nor an outline; remove it or draw it again."
                )
            bbox = mask_util.toBbox(rle).tolist() if bbox is None else bbox
            area = (mask_util.area(rle) if rle is not None else bbox[2] * bbox[3]) if area is None else area
        return {**done, "bbox": [float(v) for v in bbox], "area": float(area)}

    def _rle(self, annotation: Mapping[str, Any]) -> dict[str, Any]:
        size = self._sizes.get(annotation["image_id"])
        if size is None:
            raise EvaluationError(
                f"Image {annotation['image_id']} in the ground truth of {self.name!r} has no height and "
                "width; add them."
            )
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, list):
            return mask_util.merge(mask_util.frPyObjects(segmentation, *size))
        if isinstance(segmentation["counts"], list):
            return mask_util.frPyObjects(segmentation, *size)
        return segmentation


def load_ground_truth(dataset_name: str) -> GroundTruth:
    """Read the ground truth of a registered or ad-hoc dataset.

    It is the COCO file named by the metadata's ``json_file`` where there is one; otherwise the dataset dicts
    are converted in memory, so what is scored against always is what the dataset holds now.

    Raises:
        EvaluationError: the file can't be read or isn't COCO.
    """
    json_file = MetadataCatalog.get(dataset_name).get("json_file")
    if json_file is None:
        return GroundTruth(coco_json.convert_to_coco_dict(dataset_name), dataset_name)
    try:
        dataset = json.loads(Path(local_path(json_file)).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"Can't read the ground truth {json_file} of {dataset_name!r}: {error}"
        ) from error
    if not isinstance(dataset, dict):
        raise EvaluationError(f"The ground truth {json_file} of {dataset_name!r} isn't a COCO file.")
    return GroundTruth(dataset, str(dataset_name))


def _integer_ids(ids: Sequence[Hashable]) -> dict[Hashable, int]:
    """Map image ids to integers: themselves where they all are, as ties in score follow their order."""
    if all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        return {i: i for i in ids}  # type: ignore[misc]
    return {i: n for n, i in enumerate(dict.fromkeys(ids), start=1)}


def _usable(segmentation: Any) -> Any:
    """Return an outline COCO's mask functions accept, None if nothing of it can be drawn."""
    if isinstance(segmentation, dict):
        return segmentation
    # Under three points there is no polygon, and four numbers would be read as a box.
    polygons = [p for p in segmentation or [] if len(p) >= 6 and len(p) % 2 == 0]
    return polygons or None
