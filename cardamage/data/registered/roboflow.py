"""Roboflow's exports as they are unpacked: ``roboflow:FOLDER`` and ``roboflow:FOLDER#SPLIT``.

The folder holds ``train``, ``valid`` and ``test``. The COCO formats have the pictures of each beside its
``_annotations.coco.json``; the YOLO formats in its ``images``, with ``labels``, and a ``data.yaml`` for all.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...catalog import AdHocDataset
from ...errors import DataError
from ...utils.suggest import did_you_mean

__all__ = ["find_roboflow"]

_COCO_FILE = "_annotations.coco.json"
_ALIASES = {"val": "valid", "validation": "valid"}


def find_roboflow(rest: str) -> AdHocDataset:
    """Read one split of an export.

    Args:
        rest: the folder; after a ``#`` the split, which is ``train`` where none is named, ``val`` for
            ``valid``.

    Raises:
        DataError: where the folder is no export in one of the formats, or hasn't the split.
    """
    folder, split = os.path.expanduser(rest), ""
    # Folders may have the sign in their names.
    if "#" in folder and not os.path.isdir(folder):
        folder, _, split = folder.rpartition("#")
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"The folder {root} of a Roboflow export does not exist; unpack the download there.")
    wanted = _ALIASES.get(split, split) or "train"
    files = {file.parent.name: file for file in sorted(root.glob(f"*/{_COCO_FILE}"))}
    if files:
        return _coco(files, wanted, root)
    return _yolo(root, wanted)


def _coco(files: dict[str, Path], split: str, root: Path) -> AdHocDataset:
    from ..formats.coco import read_coco

    # Who renames the folder of an export's validation pictures calls it val.
    file = files.get(split) or files.get({"valid": "val"}.get(split, split))
    if file is None:
        hint = did_you_mean(split, files) or f"; it has {', '.join(files)}."
        raise DataError(f"The Roboflow export {root} has no split {split!r}{hint}")
    found = read_coco(file, file.parent)
    metadata = {
        "thing_classes": found.classes,
        "thing_dataset_id_to_contiguous_id": found.contiguous_ids,
        "evaluator_type": "coco",
    }
    return AdHocDataset(found.dicts, metadata)


def _yolo(root: Path, split: str) -> AdHocDataset:
    from ..formats.yolo import load_yolo

    file = root / "data.yaml"
    if not file.is_file():
        raise DataError(
            f"The folder {root} is no Roboflow export that can be read: it has neither SPLIT/{_COCO_FILE} "
            "nor data.yaml. Download the version as 'COCO Segmentation' or 'YOLOv8'."
        )
    dicts, classes = load_yolo(file, split)
    return AdHocDataset(dicts, {"thing_classes": classes, "evaluator_type": "coco"})
