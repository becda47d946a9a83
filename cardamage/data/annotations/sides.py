"""Left and right in mirrored pictures: annotations that know which class they become.

An annotation of a class that has a counterpart carries the counterpart's id as ``mirrored_category_id``. What
moves annotations with their picture (:func:`cardamage.data.detection_utils.transform_instance_annotations`)
exchanges the two where the picture is mirrored, in mappers of the user's own too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from cardamage.catalog import Metadata, MetadataCatalog, scheme_of
from cardamage.catalog.sides import FlipMap, class_flip_indices, one_sided
from cardamage.config import CfgNode
from cardamage.config.coerce import coerce
from cardamage.errors import ConfigValueError, DataError
from cardamage.utils.logger import log_first_n

__all__ = [
    "class_after",
    "configured_indices",
    "flip_indices",
    "flip_map_of",
    "indices_at_test",
    "is_mirrored",
    "log_sides",
    "mark_sides",
    "swap_sides",
]

logger = logging.getLogger(__name__)

Setting = str | Sequence[Sequence[str]]
_KEY = "mirrored_category_id"
# Turned clockwise, as y points down; a mirror turns them the other way.
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def is_mirrored(transforms: Any) -> bool:
    """Tell whether a picture is mirrored by its transforms: whether these exchange left and right.

    A vertical flip mirrors, being a horizontal one and half a turn; a turn doesn't. Two mirrors are none.
    Transforms that users write are judged as all are, by what they do to coordinates.

    Args:
        transforms: a transform or a list of them.
    """
    steps = getattr(transforms, "transforms", [transforms])
    return sum(_turns_over(step) for step in steps) % 2 == 1


def _turns_over(step: Any) -> bool:
    a, b, c = np.asarray(step.apply_coords(_CORNERS.copy()), dtype=np.float64)
    (ux, uy), (vx, vy) = b - a, c - a
    return bool(ux * vy - uy * vx < 0)


def class_after(annotation: Mapping[str, Any], mirrored: bool) -> Any:
    """Return an annotation's class in a picture that was mirrored or not."""
    return annotation.get(_KEY, annotation["category_id"]) if mirrored else annotation["category_id"]


def swap_sides(annotations: Iterable[dict[str, Any]], transforms: Any) -> None:
    """Exchange the classes of annotations whose picture is mirrored.

    Args:
        annotations: of one image; those with a counterpart are changed.
        transforms: of the image.
    """
    sided = [annotation for annotation in annotations if _KEY in annotation]
    if sided and is_mirrored(transforms):
        for annotation in sided:
            annotation["category_id"], annotation[_KEY] = annotation[_KEY], annotation["category_id"]


def mark_sides(annotations: Iterable[dict[str, Any]], indices: Sequence[int]) -> None:
    """Let annotations know the class that they become in a mirrored picture.

    Args:
        annotations: are changed; what they knew before is forgotten.
        indices: what each class becomes, see :func:`cardamage.catalog.sides.class_flip_indices`.
    """
    for annotation in annotations:
        category = annotation.get("category_id")
        other = category
        if isinstance(category, Integral) and 0 <= int(category) < len(indices):
            other = indices[int(category)]
        if other == category:
            annotation.pop(_KEY, None)
        else:
            annotation[_KEY] = other


def flip_map_of(name: str, setting: Setting = "auto") -> FlipMap:
    """Return the pairs of classes that a mirrored picture of a dataset exchanges.

    Args:
        name: a registered or ad-hoc dataset.
        setting: INPUT.FLIP_CLASS_PAIRS.

    Raises:
        ConfigValueError: for a setting that is no pairs.
    """
    return _pairs(_metadata(name), setting)


def _pairs(metadata: Metadata, setting: Setting) -> FlipMap:
    value = coerce(setting, "auto", "INPUT.FLIP_CLASS_PAIRS")
    if value == "none":
        return []
    return list((metadata.get("thing_flip_map") or ()) if value == "auto" else value)


def flip_indices(name: str, setting: Setting = "auto") -> list[int]:
    """Return what each class of a dataset becomes in a mirrored picture.

    Args:
        name: a registered or ad-hoc dataset.
        setting: INPUT.FLIP_CLASS_PAIRS.

    Returns:
        Class ids; empty where no class changes or the dataset's classes have no names.

    Raises:
        DataError: if pairs are set that the classes don't fit.
    """
    return _indices_of(_metadata(name), setting)


def _indices_of(metadata: Metadata, setting: Setting) -> list[int]:
    classes = metadata.get("thing_classes")
    pairs = _pairs(metadata, setting)
    if classes is None or not pairs:
        return []
    auto = setting == "auto"
    where = f"The thing_flip_map of dataset {metadata.name!r}" if auto else "INPUT.FLIP_CLASS_PAIRS"
    return class_flip_indices(classes, pairs, where)


def configured_indices(cfg: CfgNode) -> list[int] | None:
    """Return what each class becomes in a mirrored picture of a config's training sets.

    Args:
        cfg: DATASETS.TRAIN and INPUT.FLIP_CLASS_PAIRS are read.

    Returns:
        Class ids; empty where no class changes; None where the config doesn't tell, as it names no training
        set, or sets whose classes have no names or are not the same.

    Raises:
        DataError: if pairs are set that the classes don't fit, or two sets name different ones.
    """
    setting = cfg.INPUT.FLIP_CLASS_PAIRS
    if setting == "none":
        return []
    names = [name for name in cfg.DATASETS.TRAIN if _metadata(name).get("thing_classes") is not None]
    if not names or len(names) < len(cfg.DATASETS.TRAIN):
        return None
    classes = [list(_metadata(name).thing_classes) for name in names]
    if any(one != classes[0] for one in classes):
        return None
    found = [flip_indices(name, setting) for name in names]
    if any(one != found[0] for one in found):
        raise DataError(
            f"The datasets {', '.join(map(repr, names))} differ in their thing_flip_map: set "
            "INPUT.FLIP_CLASS_PAIRS to the pairs that count."
        )
    return found[0]


def indices_at_test(cfg: CfgNode, metadata: Metadata | None = None) -> list[int]:
    """Return what each class becomes in a mirrored picture that a config's model is tested on.

    Args:
        cfg: DATASETS and INPUT.FLIP_CLASS_PAIRS are read.
        metadata: tells the classes; None for that of the first test set, whose classes are in the order of
            the weights, or without test sets of the first training set.

    Returns:
        Class ids; empty where no class changes or the classes have no names.

    Raises:
        ConfigValueError: if pairs are set, but nothing tells the names of the classes.
        DataError: if pairs are set that the classes don't fit, or an ad-hoc dataset can't be read.
    """
    setting = cfg.INPUT.FLIP_CLASS_PAIRS
    if setting == "none":
        return []
    names = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    for known in (metadata,) if metadata is not None else map(_metadata, names):
        if known.get("thing_classes") is not None:
            return _indices_of(known, setting)
    if setting != "auto":
        raise ConfigValueError(
            "INPUT.FLIP_CLASS_PAIRS names classes, but neither the weights nor DATASETS.TEST tell which ones "
            "there are: name a dataset in DATASETS.TEST, or set INPUT.FLIP_CLASS_PAIRS to none."
        )
    return []


def log_sides(cfg: CfgNode) -> None:
    """Say once which classes mirrored pictures exchange, and which they can't.

    Args:
        cfg: DATASETS.TRAIN and INPUT.FLIP_CLASS_PAIRS are read.
    """
    setting = cfg.INPUT.FLIP_CLASS_PAIRS
    pairs = dict.fromkeys(pair for name in cfg.DATASETS.TRAIN for pair in flip_map_of(name, setting))
    if pairs:
        listed = ", ".join(f"{one} and {two}" for one, two in pairs)
        text = f"Mirrored pictures exchange the classes {listed}."
        log_first_n(logging.INFO, text, key="message", name=__name__)
    if setting != "auto":
        return
    names = (name for name in cfg.DATASETS.TRAIN if "thing_flip_map" not in vars(_metadata(name)))
    lonely = dict.fromkeys(c for name in names for c in one_sided(_metadata(name).get("thing_classes") or ()))
    if lonely:
        text = (
            f"Mirrored pictures show {', '.join(lonely)} under the wrong name, as no other class is its "
            "counterpart: name the pairs in INPUT.FLIP_CLASS_PAIRS, or set INPUT.RANDOM_FLIP to none."
        )
        log_first_n(logging.WARNING, text, key="message", name=__name__)


def _metadata(name: str) -> Metadata:
    """Return a dataset's metadata, without making some for a name that nobody knows."""
    return MetadataCatalog.get(name) if name in MetadataCatalog or scheme_of(name) else Metadata(name=name)
