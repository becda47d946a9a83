"""What datasets that are used together must agree on, and what follows from their metadata."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import DataError
from .metadata import MetadataCatalog
from .sides import class_flip_indices

__all__ = [
    "check_metadata_consistency",
    "create_class_hflip_indices",
    "create_keypoint_hflip_indices",
    "get_class_instance_counts",
    "get_fed_loss_cls_weights",
]


def check_metadata_consistency(key: str, dataset_names: Sequence[str]) -> None:
    """Check that datasets agree on an entry of their metadata.

    Args:
        key: the entry's name.
        dataset_names: registered or ad-hoc names.

    Raises:
        AttributeError: If a dataset hasn't the entry.
        DataError: If two differ.
    """
    entries = [getattr(MetadataCatalog.get(name), key) for name in dataset_names]
    for name, entry in zip(dataset_names, entries, strict=True):
        if entry != entries[0]:
            raise DataError(
                f"The datasets '{dataset_names[0]}' and '{name}' differ in their {key}: "
                f"{entries[0]} and {entry}; "
                "they can only be used together when these are the same."
            )


def create_keypoint_hflip_indices(dataset_names: str | Sequence[str]) -> list[int]:
    """Tell where each keypoint goes when the picture is mirrored: a left eye becomes a right one.

    Args:
        dataset_names: registered datasets whose metadata has "keypoint_names" and "keypoint_flip_map" (pairs
            of names).

    Returns:
        K indices, for each keypoint the one it takes its place from.

    Raises:
        AttributeError: If a dataset lacks the metadata.
        DataError: If two differ.
    """
    names = _checked(dataset_names, "keypoint_names", "keypoint_flip_map")
    metadata = MetadataCatalog.get(names[0])
    points = list(metadata.keypoint_names)
    partner = {a: b for pair in metadata.keypoint_flip_map for a, b in (pair, reversed(pair))}
    return [points.index(partner.get(point, point)) for point in points]


def create_class_hflip_indices(dataset_names: str | Sequence[str]) -> list[int]:
    """Tell what each class becomes when the picture is mirrored: a left door becomes a right one.

    Args:
        dataset_names: datasets whose metadata has "thing_classes"; its "thing_flip_map" (pairs of names) is
            found in these where it is not set.

    Returns:
        For each class the id of the one it becomes.

    Raises:
        AttributeError: If a dataset lacks the metadata.
        DataError: If two differ, or a pair names no class.
    """
    names = _checked(dataset_names, "thing_classes", "thing_flip_map")
    metadata = MetadataCatalog.get(names[0])
    where = f"The thing_flip_map of dataset {names[0]!r}"
    return class_flip_indices(metadata.thing_classes, metadata.thing_flip_map, where)


def get_fed_loss_cls_weights(
    dataset_names: str | Sequence[str], freq_weight_power: float = 1.0
) -> torch.Tensor:
    """Compute class weights for the federated loss (Zhou et al. 2021) from how many images show each class.

    Args:
        dataset_names: datasets whose metadata has "class_image_count": mappings with "id" and "image_count".
            That of LVIS is there once the dataset was loaded.
        freq_weight_power: exponent of the count.

    Returns:
        (C,) float32, by class id.

    Raises:
        AttributeError: If a dataset lacks the metadata.
        DataError: If two differ.
    """
    names = _checked(dataset_names, "class_image_count")
    counts = sorted(MetadataCatalog.get(names[0]).class_image_count, key=lambda entry: entry["id"])
    return torch.tensor([entry["image_count"] for entry in counts]).float() ** freq_weight_power


def get_class_instance_counts(dataset_names: Sequence[str]) -> list[int] | None:
    """Return how many objects of each class datasets have together, as far as that is known already.

    Args:
        dataset_names: datasets whose metadata has "class_instance_count", a number for each class; it is
            there once :func:`cardamage.data.prepare_datasets` has read them for a training that asks for it.

    Returns:
        The counts by class id; None where a dataset's are not known, or there is no dataset.

    Raises:
        DataError: If two datasets have different numbers of classes.
    """
    found = [
        MetadataCatalog[name].get("class_instance_count") if name in MetadataCatalog else None
        for name in dataset_names
    ]
    known = [counts for counts in found if counts is not None]
    if not known or len(known) < len(found):
        return None
    if len({len(counts) for counts in known}) > 1:
        raise DataError(
            f"The datasets {', '.join(dataset_names)} have different numbers of classes; "
            "they can only be used together when these are the same."
        )
    return [sum(numbers) for numbers in zip(*known, strict=True)]


def _checked(dataset_names: str | Sequence[str], *keys: str) -> list[str]:
    names = [dataset_names] if isinstance(dataset_names, str) else list(dataset_names)
    for key in keys:
        check_metadata_consistency(key, names)
    return names
