"""Giving names to datasets that lie below one root folder, where they are if they are there.

A set may lie in one of several folders: unpacking an archive puts a folder around it, or it doesn't.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...catalog import DatasetCatalog, MetadataCatalog
from ...errors import DataError

__all__ = ["Read", "Records", "dataset_root", "register_coco_set", "register_set"]

Records = list[dict[str, Any]]
Read = Callable[[str], tuple[Records, dict[str, Any]]]
"""Reads the set in a folder: the dicts, and metadata that the files tell."""


def dataset_root() -> str:
    """Return the folder of the built-in datasets, as the environment says now."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def register_coco_set(
    name: str,
    folders: Sequence[str],
    json_file: str,
    image_roots: Sequence[str],
    known: Mapping[str, Any],
    root: str | None = None,
    scored_file: bool = True,
) -> None:
    """Register a set in COCO's format; the file's classes count, whatever is known of them.

    Args:
        name: of the dataset.
        folders: see :func:`register_set`.
        json_file: below the folder.
        image_roots: below the folder; the first that holds a file counts.
        known: metadata that needs no reading; colors are dropped where the file's classes are not as many.
        root: see :func:`register_set`.
        scored_file: whether the evaluation scores against the file as it is.
    """

    def read(at: str) -> tuple[Records, dict[str, Any]]:
        """Read the file in the folder where the set was found; colors that don't fit are taken back."""
        from ..formats.coco import read_coco

        images = _image_root(at, image_roots)
        found = read_coco(os.path.join(at, json_file), images)
        told: dict[str, Any] = {
            "thing_classes": found.classes,
            "thing_dataset_id_to_contiguous_id": found.contiguous_ids,
            "image_root": images,
        }
        if len(known.get("thing_colors", found.classes)) != len(found.classes):
            told["thing_colors"] = None
        return found.dicts, told

    paths = {"image_root": image_roots[0], **({"json_file": json_file} if scored_file else {})}
    register_set(name, folders, json_file, read, {**known, "evaluator_type": "coco"}, paths, root)


def _image_root(at: str, places: Sequence[str]) -> str:
    folders = [os.path.join(at, place) for place in places]
    return next((folder for folder in folders if _holds_pictures(folder)), folders[0])


def _holds_pictures(folder: str) -> bool:
    if not os.path.isdir(folder):
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith((".jpg", ".jpeg", ".png")) for entry in entries)


def register_set(
    name: str,
    folders: Sequence[str],
    needed: str,
    read: Read,
    known: Mapping[str, Any],
    paths: Mapping[str, str],
    root: str | None = None,
) -> None:
    """Register one set unless its name is there already. Nothing is read before it is used.

    Args:
        name: of the dataset.
        folders: below the root, where the set may lie; the first that has what is needed counts.
        needed: a file or folder below the set's folder, without which the set isn't there.
        read: gets the set's folder.
        known: metadata that needs no reading.
        paths: metadata that are paths below the set's folder.
        root: folder that holds the sets; by default what :func:`dataset_root` says when the set is loaded.
    """
    if name in DatasetCatalog:
        return

    def folder(at: str) -> str:
        places = [os.path.join(at, place) for place in folders]
        return next((place for place in places if os.path.exists(os.path.join(place, needed))), places[0])

    def placed(at: str) -> dict[str, str]:
        return {key: os.path.join(at, place) for key, place in paths.items()}

    def load() -> Records:
        """Look for the root anew, as the environment may have been set after the registration."""
        at = folder(root or dataset_root())
        if not os.path.exists(os.path.join(at, needed)):
            top = os.path.join(folders[0], needed).split("/")[0]
            raise DataError(
                f"Dataset {name!r} is not there: {os.path.join(at, needed)} does not exist. Set "
                f"DETECTRON2_DATASETS to the folder that holds {top}; datasets/README.md says how to get it."
            )
        dicts, told = read(at)
        MetadataCatalog.get(name).replace(**{**placed(at), **told})
        return dicts

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        **{key: _own(value) for key, value in known.items()},
        **placed(os.path.join(root or dataset_root(), folders[0])),
    )


def _own(value: Any) -> Any:
    """A list of one's own for what is kept as tuples, as pairs, names and colors are."""
    if not isinstance(value, tuple):
        return value
    return [list(one) if isinstance(one, tuple) and isinstance(one[0], int) else one for one in value]
