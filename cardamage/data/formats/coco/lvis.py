"""LVIS files (Gupta et al. 2019): COCO's format with more classes, and other keys for their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ....catalog import DatasetCatalog, MetadataCatalog
from ....errors import DataError
from ..shared.text_files import read_json
from .dataset_dicts import read_coco

__all__ = ["get_lvis_instances_meta", "load_lvis_json", "read_lvis", "register_lvis_instances"]

# Which classes an image was looked through for: what is found of others is neither right nor wrong.
_SEARCHED = ("not_exhaustive_category_ids", "neg_category_ids")


def load_lvis_json(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str],
    dataset_name: str | None = None,
    extra_annotation_keys: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Load an LVIS file, with Detectron2's signature.

    Args:
        json_file: the file.
        image_root: the folder of COCO's image folders (``train2017`` ...).
        dataset_name: where given, its metadata gets ``thing_classes``, ``class_image_count`` and
            ``thing_dataset_id_to_contiguous_id``.
        extra_annotation_keys: keys of annotations to carry over.

    Returns:
        Dataset dicts with contiguous category ids, and LVIS's ``not_exhaustive_category_ids`` and
        ``neg_category_ids``, which are the file's own.

    Raises:
        DataError: for a file that can't be used.
    """
    dicts, metadata = read_lvis(json_file, image_root, extra_annotation_keys)
    if dataset_name is not None:
        MetadataCatalog.get(dataset_name).replace(**metadata)
    return dicts


def register_lvis_instances(
    name: str, metadata: dict[str, Any], json_file: str | os.PathLike[str], image_root: str | os.PathLike[str]
) -> None:
    """Register an LVIS file under a name, as Detectron2 does; it is read when it is first used.

    Args:
        name: how configs call it.
        metadata: attributes for its metadata; may be empty.
        json_file: the file; it is also what the evaluation scores against.
        image_root: the folder of COCO's image folders.

    Raises:
        DataError: where the name is taken.
    """
    DatasetCatalog.register(name, lambda: load_lvis_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=os.fspath(json_file), image_root=os.fspath(image_root), evaluator_type="lvis", **metadata
    )


def get_lvis_instances_meta(dataset_name: str) -> dict[str, Any]:
    """Read the classes of an LVIS dataset from its file.

    Args:
        dataset_name: a registered one, or its beginning, such as ``lvis_v1``: the first whose file is there
            then counts.

    Returns:
        ``thing_classes``, ``thing_dataset_id_to_contiguous_id`` and, where the file counts them,
        ``class_image_count``.

    Raises:
        DataError: where no such file is there.
    """
    for name in DatasetCatalog.list():
        json_file = MetadataCatalog.get(name).get("json_file") if name.startswith(dataset_name) else None
        if json_file and os.path.isfile(json_file):
            return _metadata(read_json(json_file, "LVIS file")["categories"])
    raise DataError(
        f"The classes of {dataset_name!r} are read from its file, and none is there: set DETECTRON2_DATASETS "
        "to the folder that holds lvis, or register the file with register_lvis_instances."
    )


def read_lvis(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str],
    extra_annotation_keys: Sequence[str] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Read an LVIS file.

    Args:
        json_file: the file.
        image_root: the folder of COCO's image folders.
        extra_annotation_keys: keys of annotations to carry over.

    Returns:
        Dataset dicts, and metadata as :func:`get_lvis_instances_meta` gives it.

    Raises:
        DataError: for a file that can't be used.
    """
    searched: dict[Any, dict[str, Any]] = {}
    metadata: dict[str, Any] = {}

    def adapt(content: dict[str, Any]) -> None:
        """Turn LVIS's content into COCO's, in place, and keep aside what COCO has no place for."""
        for image in content["images"]:
            searched[image.get("id")] = {key: image.get(key, []) for key in _SEARCHED}
            url = image.get("coco_url")
            if url:
                image["file_name"] = "/".join(str(url).split("/")[-2:])
        for category in content["categories"]:
            category["name"] = _class_name(category)
        metadata.update(_metadata(content["categories"]))

    found = read_coco(json_file, image_root, extra_annotation_keys, adapt=adapt)
    for record in found.dicts:
        record.update(searched.get(record["image_id"], {}))
    metadata["thing_dataset_id_to_contiguous_id"] = found.contiguous_ids
    metadata["thing_classes"] = found.classes
    return found.dicts, metadata


def _metadata(categories: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ordered = sorted(categories, key=lambda category: category["id"])
    metadata: dict[str, Any] = {
        "thing_classes": [_class_name(category) for category in ordered],
        "thing_dataset_id_to_contiguous_id": {category["id"]: i for i, category in enumerate(ordered)},
    }
    if all("image_count" in category for category in ordered):
        keys = ("id", "image_count")
        metadata["class_image_count"] = [{key: category[key] for key in keys} for category in ordered]
    return metadata


def _class_name(category: dict[str, Any]) -> str:
    synonyms = category.get("synonyms")
    return str(synonyms[0] if synonyms else category.get("name", category.get("id")))
