"""What is measured: the config of every side, its photos and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cardamage.benchmark.photo_files import PhotoFiles
from cardamage.config import CfgNode, get_cfg
from cardamage.config.exact import EXACT

__all__ = ["AMP", "PLAIN", "Pairs", "Quality", "Settings"]

Pairs = Sequence[Any]

PLAIN: tuple[Any, ...] = tuple(part for pair in EXACT.items() for part in pair)
"""Plain eager float32: the path that is held exact against recorded numbers."""

AMP: tuple[Any, ...] = ("SOLVER.AMP.ENABLED", True)
"""Training in lower precision."""

# Small enough that repeated steps on a few photos leave the weights sound.
_RATE = 1e-5


@dataclass(frozen=True)
class Quality:
    """A training to compare engines by.

    Attributes:
        config_file: the YAML.
        train: the dataset's name.
        test: the dataset's name.
        iterations: how long; the schedule is shortened with it.
        batch: photos of a step.
    """

    config_file: str = ""
    train: str = ""
    test: str = ""
    iterations: int = 800
    batch: int = 16

    def pairs(self, device: torch.device, opts: Sequence[str], output: Path) -> list[str]:
        """Return keys and values as a command's words; the user's are the last.

        Args:
            device: where it runs.
            opts: the user's keys and values.
            output: the run's folder.
        """
        count = self.iterations
        pairs = [
            *("MODEL.DEVICE", str(device)),
            *("DATASETS.TRAIN", (self.train,), "DATASETS.TEST", (self.test,)),
            *("SOLVER.IMS_PER_BATCH", self.batch, "SOLVER.MAX_ITER", count),
            *(
                "SOLVER.STEPS",
                (count * 3 // 4, count * 37 // 40),
                "SOLVER.WARMUP_ITERS",
                min(100, count // 4),
            ),
            *("SOLVER.CHECKPOINT_PERIOD", count, "TEST.EVAL_PERIOD", 0),
            *("OUTPUT_DIR", str(output), "SEED", 1),
            *opts,
        ]
        return [str(word) for word in pairs]


@dataclass
class Settings:
    """What all sections share.

    Attributes:
        config_file: the YAML.
        opts: the user's keys and values.
        device: where it runs.
        size: (height, width) of the network's input.
        batch: photos of a training step.
        inference_batches: photos of an inference.
        rounds: how often sides take turns.
        repeat: runs of a round; a GPU gets several, since it works behind the processor.
        warmup: runs before the first round.
        files: the photos.
        scratch: a folder for files that go away afterwards.
        weights: checkpoint that every side loads; empty makes one up.
        quality: what the section of that name trains.
        profile: folder for traces; None makes none.
    """

    config_file: str
    opts: list[str]
    device: torch.device
    size: tuple[int, int]
    batch: int
    inference_batches: list[int]
    rounds: int
    repeat: int
    warmup: int
    files: PhotoFiles
    scratch: Path
    weights: str = ""
    profile: Path | None = None
    quality: Quality = field(default_factory=lambda: Quality())

    def pairs(self, overrides: Pairs = (), output: str = "run") -> list[str]:
        """Return keys and values as a command's words: the photos, the sizes, the user's, then `overrides`.

        Args:
            overrides: keys and values that go over all others.
            output: name of the run's folder.
        """
        short, long = min(self.size), max(self.size)
        pairs = [
            *("MODEL.DEVICE", str(self.device)),
            *("MODEL.WEIGHTS", self.weights),
            *("DATASETS.TRAIN", (self.files.dataset,), "DATASETS.TEST", ()),
            *("INPUT.MIN_SIZE_TRAIN", (short,), "INPUT.MAX_SIZE_TRAIN", long),
            *("INPUT.MIN_SIZE_TEST", short, "INPUT.MAX_SIZE_TEST", long),
            *("SOLVER.IMS_PER_BATCH", self.batch, "SOLVER.BASE_LR", _RATE),
            *("OUTPUT_DIR", str(self.scratch / output), "SEED", 1),
            *self.opts,
            *overrides,
        ]
        return [str(word) for word in pairs]

    def config(self, overrides: Pairs = (), output: str = "run") -> CfgNode:
        """Return a config as ``train_net.py`` makes it of :meth:`pairs`."""
        cfg = get_cfg()
        cfg.merge_from_file(self.config_file)
        cfg.merge_from_list(self.pairs(overrides, output))
        return cfg
