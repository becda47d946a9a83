"""What to predict with, and on."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from cardamage.catalog import Metadata, MetadataCatalog
from cardamage.checkpoint import checkpoint_thing_classes, num_classes_of, read_checkpoint
from cardamage.config import CfgNode
from cardamage.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "find_inputs", "setup_prediction"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jfif"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg"})


def setup_prediction(cfg: CfgNode, weights: str, threshold: float) -> Metadata:
    """Set a config's weights and score threshold, and let the number of classes follow the weights.

    Args:
        cfg: modified: ``MODEL.WEIGHTS``, ``MODEL.ROI_HEADS.SCORE_THRESH_TEST`` and, unless the user set them,
            ``MODEL.ROI_HEADS.NUM_CLASSES`` and, without a GPU, ``MODEL.DEVICE``.
        weights: a checkpoint.
        threshold: lowest score of a detection, 0 to 1.

    Returns:
        Metadata with ``thing_classes``: the checkpoint's own names, else those of the first test or train
        dataset; without either, classes go by their number.

    Raises:
        CheckpointError: the file can't be read.
    """
    checkpoint = read_checkpoint(weights)
    names = checkpoint_thing_classes(checkpoint)
    count = len(names) if names else num_classes_of(checkpoint["model"])
    cfg.MODEL.WEIGHTS = weights
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = float(threshold)
    if not torch.cuda.is_available() and not cfg.is_explicit("MODEL.DEVICE"):
        cfg.MODEL.DEVICE = "cpu"
    if count and not cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES"):
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = count
    metadata = Metadata(name="predictions")
    names = names or _dataset_classes(cfg)
    if names and len(names) == cfg.MODEL.ROI_HEADS.NUM_CLASSES:
        metadata.thing_classes = names
    return metadata


def _dataset_classes(cfg: CfgNode) -> list[str] | None:
    for name in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        try:
            classes = MetadataCatalog.get(name).get("thing_classes")
        except DataError:  # the photos a model was trained on needn't be here
            continue
        if classes:
            return list(classes)
    return None


def find_inputs(patterns: str | Sequence[str], skip: Path | None = None) -> list[Path]:
    """Find pictures and videos.

    Args:
        patterns: files, folders (searched with all folders below, by the files' endings) or glob patterns.
        skip: a folder whose files don't count, such as the output of an earlier run.

    Returns:
        The files in order, each once. A file named outright is taken whatever its ending.

    Raises:
        DataError: a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        files = [file for match in matches for file in _files_of(Path(match), skip)]
        if not files:
            raise DataError(f"No picture or video matches {pattern!r}; give a file, a folder or a pattern.")
        found.update(dict.fromkeys(files))
    return list(found)


def _files_of(path: Path, skip: Path | None) -> list[Path]:
    if not path.is_dir():
        return [path]
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in known and not f.name.startswith("."))
    if skip is None:
        return [file for file in files if file.is_file()]
    skip = skip.resolve()
    return [file for file in files if file.is_file() and skip not in file.resolve().parents]
