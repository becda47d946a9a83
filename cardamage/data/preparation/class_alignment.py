"""Before a run: a config's datasets read, their classes brought together by name, their files looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...catalog import DatasetCatalog, Metadata, MetadataCatalog
from ...config import CfgNode
from ...errors import ConfigError, DataError
from ...utils.suggest import did_you_mean
from ..images.checks import check_new_images

__all__ = ["prepare_datasets", "resolve_num_classes"]

logger = logging.getLogger(__name__)

Record = dict[str, Any]
_WEIGHTS = "the weights"


def prepare_datasets(cfg: CfgNode, thing_classes: Sequence[str] | None = None) -> list[str]:
    """Read all datasets of a config and make them agree on their classes.

    The class list that counts is the longest of the TRAIN sets' (the first of equals), or of the TEST sets'
    where there are no TRAIN sets. Every other set's ids are mapped onto it by name, whatever the order; a set
    may lack classes. In TRAIN sets for a mask model, boxes without outline are left out. Unless
    INPUT.CHECK_IMAGES is off, every image file is looked at.

    Args:
        cfg: DATASETS, MODEL.MASK_ON and INPUT.CHECK_IMAGES are read.
        thing_classes: the class list that counts instead, such as that of the weights to evaluate.

    Returns:
        The class names by contiguous id; empty where no set has names and NUM_CLASSES is explicit.

    Raises:
        ConfigError: where no dataset is named.
        DataError: for a dataset that can't be read, objects of a class the others lack, and files that can't
            be used.
    """
    train, test = list(cfg.DATASETS.TRAIN), list(cfg.DATASETS.TEST)
    names = list(dict.fromkeys(train + test))
    if not names:
        raise ConfigError("No dataset is named; set DATASETS.TRAIN and DATASETS.TEST.")
    for name in names:
        _restore(name)
    sets = {name: _load(name) for name in names}
    named = [found for found in sets.values() if found.classes is not None]
    if len(named) < len(sets):
        classes = _without_names(cfg, [name for name in names if sets[name].classes is None])
        _count_objects(cfg, [sets[name] for name in dict.fromkeys(train)], cfg.MODEL.ROI_HEADS.NUM_CLASSES)
        return classes
    if thing_classes is not None:
        reference = _Set(_WEIGHTS, [], Metadata(thing_classes=list(thing_classes)))
    else:
        reference = max((sets[name] for name in train or test), key=lambda found: len(found.classes or ()))
    for found in sets.values():
        _check_ids(found)
        _align(found, reference)
    if cfg.MODEL.MASK_ON:
        for name in dict.fromkeys(train):
            _leave_out_boxes(sets[name])
    _count_objects(cfg, [sets[name] for name in dict.fromkeys(train)], len(reference.classes or ()))
    if cfg.INPUT.CHECK_IMAGES:
        check_new_images([record for found in sets.values() for record in found.dicts])
    return list(reference.classes or ())


def resolve_num_classes(cfg: CfgNode, thing_classes: Sequence[str]) -> None:
    """Set MODEL.ROI_HEADS.NUM_CLASSES to the data's count, unless the user set it.

    Args:
        cfg: is changed.
        thing_classes: class names of the data; where empty, nothing is done.

    Raises:
        ConfigError: where the user set another count.
    """
    count = len(thing_classes)
    configured = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if count in (0, configured):
        return
    if cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES"):
        sets = ", ".join(cfg.DATASETS.TRAIN or cfg.DATASETS.TEST)
        raise ConfigError(
            f"MODEL.ROI_HEADS.NUM_CLASSES is {configured}, but the data ({sets}) has {count} classes "
            f"({', '.join(thing_classes)}): set it to {count}, or leave the key out and it "
            "follows from the data."
        )
    cfg.set_derived("MODEL.ROI_HEADS.NUM_CLASSES", count)


@dataclass
class _Set:
    name: str
    dicts: list[Record]
    metadata: Metadata

    @property
    def classes(self) -> list[str] | None:
        return self.metadata.get("thing_classes")


@dataclass
class _Original:
    """A catalog entry as it was before it was aligned; no loader for an ad-hoc name."""

    loader: Callable[[], list[Record]] | None
    metadata: dict[str, Any]
    wrapper: Callable[[], list[Record]]


_originals: dict[str, _Original] = {}


def _load(name: str) -> _Set:
    dicts = DatasetCatalog.get(name)
    return _Set(name, dicts if isinstance(dicts, list) else [], MetadataCatalog.get(name))


def _without_names(cfg: CfgNode, unnamed: Sequence[str]) -> list[str]:
    if cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES"):
        return []
    raise DataError(
        f"Dataset {unnamed[0]!r} has no class names; set MetadataCatalog.get({unnamed[0]!r}).thing_classes, "
        "or set MODEL.ROI_HEADS.NUM_CLASSES."
    )


def _check_ids(found: _Set) -> None:
    count = len(found.classes or ())
    for record in found.dicts:
        for index, annotation in enumerate(record.get("annotations", ())):
            category = annotation["category_id"]
            if not 0 <= category < count:
                raise DataError(
                    f"{record.get('file_name')}, annotation {index}: its category {category} "
                    f"is not among the {count} classes of dataset {found.name!r} (0 to {count - 1})."
                )


def _align(found: _Set, reference: _Set) -> None:
    """Map a set's ids onto the reference's by name, in the catalog."""
    own, wanted = found.classes or [], reference.classes or []
    if own == wanted:
        return
    ids = {name: index for index, name in enumerate(wanted)}
    used = {a["category_id"] for record in found.dicts for a in record.get("annotations", ())}
    for index, name in enumerate(own):
        if name in ids:
            continue
        if index in used:
            raise DataError(_disagreement(name, found, reference))
        logger.warning("Class %r of %s is unknown to %s and never used.", name, found.name, reference.name)
    mapping = {index: ids[name] for index, name in enumerate(own) if name in ids}

    def mapped(dicts: list[Record]) -> list[Record]:
        for record in dicts:
            for annotation in record.get("annotations", ()):
                annotation["category_id"] = mapping[annotation["category_id"]]
        return dicts

    _wrap(found, mapped)
    pairs = vars(found.metadata).get("thing_flip_map")
    # The file's own ids and classes no longer fit: the evaluation scores against the mapped dicts.
    found.metadata.replace(
        thing_classes=list(wanted),
        thing_colors=reference.metadata.get("thing_colors"),
        thing_flip_map=None if pairs is None else [pair for pair in pairs if ids.keys() >= set(pair)],
        thing_dataset_id_to_contiguous_id=None,
        json_file=None,
    )


def _disagreement(name: str, found: _Set, reference: _Set) -> str:
    known = reference.classes or []
    hint = did_you_mean(name, known) or "; rename the class, or take its objects out."
    if reference.name == _WEIGHTS:
        other = "the weights have"
    else:
        other = f"dataset {reference.name!r} has"
    return (
        f"Dataset {found.name!r} has objects of class {name!r}, "
        f"but {other} the classes {', '.join(known)}{hint}"
    )


def _leave_out_boxes(found: _Set) -> None:
    total = sum(len(record.get("annotations", ())) for record in found.dicts)
    boxes = sum("segmentation" not in a for record in found.dicts for a in record.get("annotations", ()))
    if boxes == 0:
        return
    if boxes == total:
        raise DataError(
            f"All {total} objects of dataset {found.name!r} are boxes without outlines, so masks can't be "
            "learned; draw outlines, or set MODEL.MASK_ON to False."
        )
    logger.warning(
        "%s: %d of %d objects are boxes without outline and are left out.", found.name, boxes, total
    )

    def outlined(dicts: list[Record]) -> list[Record]:
        for record in dicts:
            annotations = record.get("annotations", ())
            record["annotations"] = [a for a in annotations if "segmentation" in a]
            if len(record["annotations"]) < len(annotations):
                # It shows objects even if none is left, so it is no background.
                record["objects_left_out"] = len(annotations) - len(record["annotations"])
        return dicts

    _wrap(found, outlined)


def _count_objects(cfg: CfgNode, sets: Sequence[_Set], num_classes: int) -> None:
    """Note in the metadata how many objects of each class there are, where the losses are to know."""
    if cfg.MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS == "none":
        return
    for found in sets:
        annotations = (a for record in found.dicts for a in record.get("annotations", ()))
        ids = [a["category_id"] for a in annotations if not a.get("iscrowd", 0)]
        counts = np.bincount(np.asarray(ids, dtype=np.int64), minlength=num_classes).tolist()
        found.metadata.replace(class_instance_count=counts if found.dicts else None)


def _wrap(found: _Set, change: Callable[[list[Record]], list[Record]]) -> None:
    """Let the catalog return a set's dicts changed, until :func:`_restore` brings back what was there."""
    name = found.name
    loader = DatasetCatalog.data.get(name)
    before = loader or _ad_hoc_loader(name)

    def wrapper() -> list[Record]:
        return change(before())

    original = _originals.setdefault(name, _Original(loader, found.metadata.as_dict(), wrapper))
    original.wrapper = wrapper
    DatasetCatalog[name] = wrapper
    change(found.dicts)


def _ad_hoc_loader(name: str) -> Callable[[], list[Record]]:
    from ...catalog.schemes import find_ad_hoc

    def load() -> list[Record]:
        dataset = find_ad_hoc(name)
        assert dataset is not None
        return dataset.load()

    return load


def _restore(name: str) -> None:
    original = _originals.pop(name, None)
    # Registered anew since then, it is not ours to bring back.
    if original is None or DatasetCatalog.data.get(name) is not original.wrapper:
        return
    if original.loader is None:
        DatasetCatalog.pop(name, None)
    else:
        DatasetCatalog[name] = original.loader
    metadata = MetadataCatalog.get(name)
    metadata.replace(**{key: original.metadata.get(key) for key in {*metadata.as_dict(), *original.metadata}})
