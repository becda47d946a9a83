"""Which images of the datasets are used, and what is in them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate
from torch.utils.data import ConcatDataset, Dataset

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.catalog.consistency import check_metadata_consistency
from cardamage.data.annotations.sides import flip_indices, mark_sides
from cardamage.data.images.checks import check_new_images
from cardamage.data.preparation.proposals import load_proposals_into_dataset
from cardamage.errors import ConfigValueError, DataError
from cardamage.utils.logger import log_first_n

__all__ = [
    "filter_images_with_few_keypoints",
    "filter_images_with_only_crowd_annotations",
    "get_detection_dataset_dicts",
    "print_instances_class_histogram",
]

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def filter_images_with_only_crowd_annotations(dataset_dicts: Sequence[Record]) -> list[Record]:
    """Leave out images without a single object to learn, and log how many.

    Args:
        dataset_dicts: dataset dicts with annotations.

    Returns:
        Those with at least one annotation that is no crowd.
    """
    kept = [d for d in dataset_dicts if any(not a.get("iscrowd", 0) for a in d.get("annotations", ()))]
    empty = len(dataset_dicts) - len(kept)
    logger.info("Kept %d images; dropped %d without annotations.", len(kept), empty)
    return kept


def filter_images_with_few_keypoints(
    dataset_dicts: Sequence[Record], min_keypoints_per_image: int
) -> list[Record]:
    """Leave out images with few visible keypoints, and log how many.

    Args:
        dataset_dicts: dataset dicts whose annotations may have "keypoints": x, y, visibility, ...
        min_keypoints_per_image: least number of visible ones.

    Returns:
        The images that are left.
    """

    def visible(record: Record) -> int:
        points = (annotation.get("keypoints", ())[2::3] for annotation in record["annotations"])
        return sum(v > 0 for v in itertools.chain.from_iterable(points))

    kept = [record for record in dataset_dicts if visible(record) >= min_keypoints_per_image]
    few = len(dataset_dicts) - len(kept)
    logger.info("Kept %d images; dropped %d with too few keypoints.", len(kept), few)
    return kept


def print_instances_class_histogram(dataset_dicts: Iterable[Record], class_names: Sequence[str]) -> None:
    """Log how many objects of each class there are, crowds left out.

    Args:
        dataset_dicts: dataset dicts with annotations.
        class_names: names, by contiguous id from 0.

    Raises:
        DataError: If an annotation's class is not among the names; the file is named.
    """
    counts = np.zeros(len(class_names), dtype=np.int64)
    for record in dataset_dicts:
        for number, annotation in enumerate(record.get("annotations", ())):
            if annotation.get("iscrowd", 0):
                continue
            category = annotation["category_id"]
            if not 0 <= category < len(class_names):
                raise DataError(
                    f"Annotation {number} of {record.get('file_name', '?')} has category_id "
                    f"{category}, but the "
                    f"dataset has {len(class_names)} classes (0 to {len(class_names) - 1}); correct "
                    "its category."
                )
            counts[category] += 1
    table = _histogram_table(class_names, counts)
    text = f"Objects of each of the {len(class_names)} classes:\n{table}"
    log_first_n(logging.INFO, text, key="message", name=__name__)


def _histogram_table(class_names: Sequence[str], counts: np.ndarray) -> str:
    """Three classes to a row, so that many classes still fit a screen."""
    shown = [name if len(name) <= 20 else name[:18] + ".." for name in class_names]
    cells = list(zip(shown, counts.tolist(), strict=True))
    if len(cells) > 1:
        cells.append(("total", int(counts.sum())))
    columns = max(1, min(3, len(class_names)))
    rows = [list(itertools.chain(*cells[i : i + columns])) for i in range(0, len(cells), columns)]
    headers = ["category", "#instances"] * columns
    return tabulate(rows, headers=headers, tablefmt="pipe", numalign="left", stralign="center")


def get_detection_dataset_dicts(
    names: str | Sequence[str],
    filter_empty: bool = True,
    min_keypoints: int = 0,
    proposal_files: Sequence[str] | None = None,
    check_consistency: bool = True,
    look_at_images: bool = False,
    flip_class_pairs: str | Sequence[Sequence[str]] = "auto",
) -> list[Record] | Dataset[Any]:
    """Load datasets and put them together.

    Args:
        names: registered or ad-hoc names.
        filter_empty: leave out images without annotations.
        min_keypoints: leave out images with fewer visible keypoints; 0 for none.
        proposal_files: files of precomputed proposals, one for each name; see
            :func:`load_proposals_into_dataset`.
        check_consistency: check that the datasets have the same classes, and log their histogram.
        look_at_images: check every image file that this process has not found good already, see
            :func:`cardamage.data.check_images`.
        flip_class_pairs: as INPUT.FLIP_CLASS_PAIRS; annotations learn which class they become in a mirrored
            picture, see :mod:`cardamage.data.annotations.sides`.

    Returns:
        Dataset dicts; or the torch dataset(s), where these were registered.

    Raises:
        DataError: If a dataset is empty, classes differ, nothing is left, or files can't be used.
        ConfigValueError: If no name is given, or another number of proposal files.
    """
    names = [names] if isinstance(names, str) else list(names)
    _check_names(names, proposal_files)
    loaded: list[Any] = [DatasetCatalog.get(name) for name in names]
    if isinstance(loaded[0], Dataset):
        return ConcatDataset(loaded) if len(loaded) > 1 else loaded[0]
    for name, records in zip(names, loaded, strict=True):
        if not records:
            raise DataError(f"The dataset '{name}' has no images; check its path and annotation file.")
    for records, proposal_file in zip(loaded, proposal_files or (), strict=False):
        load_proposals_into_dataset(records, proposal_file)
    loaded = [_with_sides(r, flip_indices(n, flip_class_pairs)) for n, r in zip(names, loaded, strict=True)]
    records = list(itertools.chain.from_iterable(loaded))
    has_instances = "annotations" in records[0]
    if has_instances:
        records = _with_objects(names, records, filter_empty, min_keypoints)
    if check_consistency and has_instances:
        _check_classes(names, records)
    if look_at_images:
        check_new_images(records)
    return records


def _with_sides(records: list[Record], indices: Sequence[int]) -> list[Record]:
    """The records with marked annotations; those of the catalog stay as they are."""
    if not indices:
        return records
    marked = []
    for record in records:
        annotations = [dict(annotation) for annotation in record.get("annotations", ())]
        mark_sides(annotations, indices)
        marked.append({**record, "annotations": annotations} if "annotations" in record else record)
    return marked


def _check_names(names: Sequence[str], proposal_files: Sequence[str] | None) -> None:
    if not names:
        raise ConfigValueError(
            "No dataset is named; set DATASETS.TRAIN and DATASETS.TEST to one or more names."
        )
    if proposal_files is not None and len(proposal_files) != len(names):
        raise ConfigValueError(
            f"DATASETS.PROPOSAL_FILES_TRAIN and _TEST need one file for each dataset: there are {len(names)} "
            f"datasets and {len(proposal_files)} proposal files."
        )


def _with_objects(
    names: Sequence[str], records: list[Record], filter_empty: bool, min_keypoints: int
) -> list[Record]:
    if filter_empty:
        records = filter_images_with_only_crowd_annotations(records)
    if min_keypoints > 0:
        records = filter_images_with_few_keypoints(records, min_keypoints)
    if not records:
        raise DataError(
            f"No image of {', '.join(names)} has an annotation, so there is nothing to learn; "
            "annotate some, or set DATALOADER.FILTER_EMPTY_ANNOTATIONS to False."
        )
    return records


def _check_classes(names: Sequence[str], records: Sequence[Record]) -> None:
    if any("thing_classes" not in MetadataCatalog.get(name).as_dict() for name in names):
        return
    check_metadata_consistency("thing_classes", names)
    print_instances_class_histogram(records, MetadataCatalog.get(names[0]).thing_classes)
