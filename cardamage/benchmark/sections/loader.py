"""The loader: from JPEG files to batches, in one process on one core."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
import torch

from cardamage.benchmark.machine import is_importable
from cardamage.benchmark.measuring import build_sides, measure, quiet
from cardamage.benchmark.report import Section
from cardamage.benchmark.settings import PLAIN, Settings
from cardamage.benchmark.sides.apart import apart
from cardamage.benchmark.sides.lineup import Lineup
from cardamage.benchmark.sides.side import Side
from cardamage.config import CfgNode
from cardamage.data import build_detection_train_loader
from cardamage.engine.setup import prepare_classes

__all__ = ["run"]

_SINGLE = ("DATALOADER.NUM_WORKERS", 0)

Pairs = Sequence[Any]


def run(settings: Settings) -> list[Section]:
    """Measure the training loaders over the same files, with the config's augmentation."""
    batches = max(1, len(settings.files.records) // settings.batch)
    with quiet(), _one_thread():
        lineup: Lineup = {
            "cardamage": ("own", partial(_own, "cardamage", settings, batches, _SINGLE)),
            "cardamage, exact": (
                "own",
                partial(_own, "cardamage, exact", settings, batches, (*PLAIN, *_SINGLE)),
            ),
        }
        if is_importable("detectron2"):
            # Apart: the memory that our mapper lets its process keep makes Detectron2's faster, too.
            lineup["Detectron2"] = ("peer", partial(apart, partial(_detectron2, settings, batches)))
        lineup["decode and resize only"] = ("floor", partial(_floor, settings, batches))
        sides, failed = build_sides(lineup, settings)
        rows = measure(sides, settings, "loader")
    for row in rows:
        row.memory = None
    height, width = settings.files.size
    title = f"Loader on one core, JPEG of {height} x {width} -> {settings.size[0]} x {settings.size[1]}"
    return [Section("loader", title, "img", [*rows, *failed])]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Leave one core to everything, as a worker process of a loader does."""
    torch_threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv_threads)


def _draining(loader: Any, batches: int) -> Callable[[], None]:
    stream = iter(loader)

    def drain() -> None:
        for _ in range(batches):
            next(stream)

    return drain


def _config(settings: Settings, keys: Pairs) -> CfgNode:
    # Without the model's checkpoint: nothing is computed here.
    cfg = settings.config(keys)
    prepare_classes(cfg)
    return cfg


def _own(name: str, settings: Settings, batches: int, keys: Pairs) -> Side:
    loader = build_detection_train_loader(_config(settings, keys))
    return Side(name, _draining(loader, batches), batches * settings.batch)


def _detectron2(settings: Settings, batches: int) -> Side:
    from cardamage.benchmark.sides.theirs_detectron2 import build_loader

    logging.getLogger("detectron2").setLevel(logging.WARNING)
    loader = build_loader(_config(settings, _SINGLE), str(settings.scratch))
    return Side("Detectron2", _draining(loader, batches), batches * settings.batch, "peer")


def _floor(settings: Settings, batches: int) -> Side:
    """Decode the whole picture and resize it, both in native code, and nothing else."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2 import functional as transforms

    files = [record["file_name"] for record in settings.files.records]
    count = batches * settings.batch

    def decode() -> None:
        for place in range(count):
            picture = decode_jpeg(read_file(files[place % len(files)]), ImageReadMode.RGB)
            transforms.resize(picture, list(settings.size), antialias=True)

    return Side("decode and resize only", decode, count, "floor")
