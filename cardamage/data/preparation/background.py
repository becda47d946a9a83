"""Pictures without objects, kept apart so that a training sees a stated share of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from cardamage.config import CfgNode
from cardamage.data.preparation.selection import get_detection_dataset_dicts
from cardamage.errors import ConfigValueError, DataError

__all__ = ["with_background"]

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def with_background(cfg: CfgNode, records: Any) -> tuple[list[Record], int]:
    """Put the pictures with objects first and those that show background after them.

    The latter are the pictures of DATASETS.BACKGROUND, and those of the training sets without annotations
    where no set is named there or DATALOADER.FILTER_EMPTY_ANNOTATIONS is False. A picture whose objects are
    all crowds, or boxes without the outline that a mask model needs, is neither.

    Args:
        cfg: the config.
        records: the training sets' dicts, those without annotations included.

    Returns:
        The dicts, and how many of them, the last ones, are background.

    Raises:
        ConfigValueError: If the training set is no list of dicts, or has proposals that others would lack.
        DataError: If there is no picture with objects, or none without.
    """
    if not isinstance(records, list):
        raise ConfigValueError(
            "DATALOADER.BACKGROUND_RATIO needs dataset dicts, which tell what has no annotations; set it to "
            "0 for other datasets."
        )
    named = list(cfg.DATASETS.BACKGROUND)
    if named and cfg.MODEL.LOAD_PROPOSALS:
        raise ConfigValueError(
            "DATASETS.BACKGROUND has no proposal files, which MODEL.LOAD_PROPOSALS needs; leave one of them "
            "out."
        )
    objects = [record for record in records if _shows_objects(record)]
    if not objects:
        raise DataError("No image of the training sets has an annotation, so there is nothing to learn.")
    own: list[Record] = []
    if not named or not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        own = [record for record in records if _is_empty(record)]
    background = own + _of_named(cfg, named)
    if not background:
        raise DataError(
            "DATALOADER.BACKGROUND_RATIO asks for pictures without objects, but every picture of the "
            "training sets has some: name a folder of such photos in DATASETS.BACKGROUND, as images:/folder."
        )
    logger.info(
        "Training on %d images with objects and %d without, which are %.4g of 100 seen; "
        "%d others are left out.",
        len(objects),
        len(background),
        100 * cfg.DATALOADER.BACKGROUND_RATIO,
        len(records) - len(objects) - len(own),
    )
    return objects + background, len(background)


def _of_named(cfg: CfgNode, names: Sequence[str]) -> list[Record]:
    """The pictures of DATASETS.BACKGROUND; annotated ones are left out, as what they show is unknown here."""
    found: list[Record] = []
    for name in names:
        records: Any = get_detection_dataset_dicts(
            name,
            filter_empty=False,
            check_consistency=False,
            look_at_images=cfg.INPUT.CHECK_IMAGES,
            flip_class_pairs="none",
        )
        if not isinstance(records, list) or not any(map(_is_empty, records)):
            raise DataError(
                f"Every picture of dataset {name!r} in DATASETS.BACKGROUND has annotations; name photos "
                "without any, such as images:/folder."
            )
        empty = [record for record in records if _is_empty(record)]
        if len(empty) < len(records):
            left_out = len(records) - len(empty)
            logger.warning("%s: %d pictures with annotations are left out of the background.", name, left_out)
        found += [{**record, "annotations": []} for record in empty]
    return found


def _shows_objects(record: Record) -> bool:
    return any(not note.get("iscrowd", 0) for note in record.get("annotations", ()))


def _is_empty(record: Record) -> bool:
    return not record.get("annotations") and not record.get("objects_left_out", 0)
