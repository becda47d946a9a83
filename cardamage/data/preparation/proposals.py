"""Box proposals made beforehand, for models without a proposal generator (Fast R-CNN)."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cardamage.data import transforms as T  # noqa: N812 (the name everyone knows it by)
from cardamage.errors import DataError, DownloadError
from cardamage.structures import Boxes, BoxMode, Instances
from cardamage.utils import safe_pickle
from cardamage.utils.files import local_path

__all__ = ["load_proposals_into_dataset", "transform_proposals"]

logger = logging.getLogger(__name__)

# Detectron, whose files are met as well, had other names for two of them.
_OLD_NAMES = {"indexes": "ids", "scores": "objectness_logits"}
_NEEDED = ("ids", "boxes", "objectness_logits")


def load_proposals_into_dataset(
    dataset_dicts: Sequence[dict[str, Any]], proposal_file: str | os.PathLike[str]
) -> Sequence[dict[str, Any]]:
    """Give every image its proposals, best first: "proposal_boxes", "proposal_objectness_logits", and a mode.

    Args:
        dataset_dicts: dataset dicts with "image_id"; they are changed.
        proposal_file: a pickled dict of "ids" (image ids), "boxes" (an (N, 4) array for each), optionally
            "bbox_mode" (XYXY_ABS if not given) and "objectness_logits" ((N,) arrays); Detectron's "indexes"
            and "scores" are understood. Nothing in it is run: anything but arrays and plain values is
            refused.

    Returns:
        The same dicts.

    Raises:
        DataError: If the file can't be used, or lacks an image.
    """
    logger.info("Loading proposals from %s", proposal_file)
    found = _read(proposal_file)
    places = {str(image): place for place, image in enumerate(found["ids"])}
    mode = BoxMode(found.get("bbox_mode", BoxMode.XYXY_ABS))
    for record in dataset_dicts:
        place = places.get(str(record["image_id"]))
        if place is None:
            raise DataError(
                f"The proposal file {os.fspath(proposal_file)} has nothing for image "
                f"{record['image_id']!r} ({record.get('file_name', '?')}); make it for this dataset."
            )
        boxes = np.asarray(found["boxes"][place]).reshape(-1, 4)
        logits = np.asarray(found["objectness_logits"][place]).reshape(-1)
        best_first = logits.argsort()[::-1]
        record["proposal_boxes"] = boxes[best_first]
        record["proposal_objectness_logits"] = logits[best_first]
        record["proposal_bbox_mode"] = mode
    return dataset_dicts


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    name = os.fspath(path)
    try:
        with open(local_path(name), "rb") as file:
            content = safe_pickle.load(file)
    except DownloadError:
        raise  # it names the address and where to put the file
    except (OSError, pickle.UnpicklingError) as error:
        raise DataError(f"The proposal file {name} can't be read: {error}.") from error
    if isinstance(content, Mapping):
        content = {_OLD_NAMES.get(key, key): value for key, value in content.items()}
    missing = [key for key in _NEEDED if not isinstance(content, Mapping) or key not in content]
    if missing:
        raise DataError(f"{name} is no proposal file: it must be a pickled dict with {', '.join(missing)}.")
    counts = {key: len(content[key]) for key in _NEEDED}
    if len(set(counts.values())) > 1:
        raise DataError(f"The proposal file {name} has lists of different lengths: {counts}.")
    return dict(content)


def transform_proposals(
    dataset_dict: dict[str, Any],
    image_shape: tuple[int, int],
    transforms: T.Transform,
    *,
    proposal_topk: int,
    min_box_size: float = 0,
) -> None:
    """Replace an image's proposals by :class:`Instances` in the transformed image's frame.

    Args:
        dataset_dict: a dataset dict; where it has proposals, their entries become "proposals", with
            ``proposal_boxes`` (float32 XYXY) and ``objectness_logits`` (float32).
        image_shape: height and width of the transformed image.
        transforms: of the image.
        proposal_topk: how many to keep, best first.
        min_box_size: those of which a side isn't longer are left out.
    """
    if "proposal_boxes" not in dataset_dict:
        return
    mode = dataset_dict.pop("proposal_bbox_mode")
    corners = BoxMode.convert(np.asarray(dataset_dict.pop("proposal_boxes")), mode, BoxMode.XYXY_ABS)
    # A copy of floats, as transforms work in place.
    boxes = Boxes(transforms.apply_box(np.array(corners, dtype=np.float64)))
    logits = torch.as_tensor(np.asarray(dataset_dict.pop("proposal_objectness_logits"), dtype=np.float32))
    boxes.clip(image_shape)
    keep = boxes.nonempty(threshold=min_box_size)
    proposals = Instances(image_shape)
    proposals.proposal_boxes = boxes[keep][:proposal_topk]
    proposals.objectness_logits = logits[keep][:proposal_topk]
    dataset_dict["proposals"] = proposals
