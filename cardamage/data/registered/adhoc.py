"""Dataset names that need no registration: they say what to read and where it is.

- ``labelme:FOLDER``
- ``coco:FILE.json`` or ``coco:FILE.json@IMAGE_FOLDER``
- ``via:FILE.json`` or ``via:FILE.json@IMAGE_FOLDER``
- ``yolo:data.yaml`` or ``yolo:data.yaml#SPLIT`` (``train`` by default)
- ``images:FOLDER``: photos without objects, for DATASETS.BACKGROUND, see :mod:`.photos`
- ``roboflow:FOLDER`` or ``roboflow:FOLDER#SPLIT`` (likewise), see :mod:`.roboflow`

``~`` is the home folder. The formats are read when such a name is first used.
"""

from __future__ import annotations

import os
from typing import Any

from ...catalog import AdHocDataset, register_scheme

__all__ = ["register_schemes"]


def register_schemes() -> None:
    """Make these kinds of names known to the catalogs."""
    register_scheme("labelme", _labelme)
    register_scheme("coco", _coco)
    register_scheme("via", _via)
    register_scheme("yolo", _yolo)
    register_scheme("roboflow", _roboflow)
    register_scheme("images", _images)


def _labelme(rest: str) -> AdHocDataset:
    from ..formats.labelme import load_labelme

    return _found(*load_labelme(os.path.expanduser(rest)))


def _coco(rest: str) -> AdHocDataset:
    from ..formats.coco import read_coco

    dataset = read_coco(*_file_and_root(rest))
    return _found(dataset.dicts, dataset.classes, thing_dataset_id_to_contiguous_id=dataset.contiguous_ids)


def _via(rest: str) -> AdHocDataset:
    from ..formats.via import load_via

    return _found(*load_via(*_file_and_root(rest)))


def _yolo(rest: str) -> AdHocDataset:
    from ..formats.yolo import load_yolo

    path, _, split = rest.partition("#")
    return _found(*load_yolo(os.path.expanduser(path), split or "train"))


def _roboflow(rest: str) -> AdHocDataset:
    from .roboflow import find_roboflow

    return find_roboflow(rest)


def _images(rest: str) -> AdHocDataset:
    from .photos import load_photos

    # No classes: whatever the others have, none of it is here.
    return AdHocDataset(load_photos(os.path.expanduser(rest)))


def _file_and_root(rest: str) -> tuple[str, str | None]:
    """Split at the ``@`` that follows a file; folders and files may have one in their names."""
    whole = os.path.expanduser(rest)
    splits = [(whole, None), *((whole[:i], whole[i + 1 :]) for i, char in enumerate(whole) if char == "@")]
    # Where there is no such file, the message names what stands before the last one.
    path, root = next((split for split in splits if os.path.isfile(split[0])), splits[-1])
    return path, None if root is None else os.path.expanduser(root)


def _found(dicts: list[dict[str, Any]], classes: list[str], **metadata: Any) -> AdHocDataset:
    # No json_file: what is scored against are these dicts, with what the checks dropped and clipped.
    return AdHocDataset(dicts, {"thing_classes": classes, "evaluator_type": "coco", **metadata})
