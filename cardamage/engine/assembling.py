"""Parts of the trainer of most runs that nobody overrides."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cardamage.anchors.warning import unreached_boxes
from cardamage.config import CfgNode
from cardamage.engine.setup import amp_precision
from cardamage.engine.simple_trainer import AMPTrainer, SimpleTrainer
from cardamage.modeling.regions import compile_model

__all__ = ["build_loop", "compile_for_training", "plot_curves", "warn_of_anchors"]

logger = logging.getLogger(__name__)

# Iterations that make up for a first compilation, which takes about a minute.
_WORTH_COMPILING = 1000


def compile_for_training(cfg: CfgNode, model: nn.Module) -> bool:
    """Have the model compile itself where ``MODEL.COMPILE`` asks for it.

    ``auto`` is on NVIDIA GPUs that Triton knows, in runs of 1000 iterations or more.

    Args:
        cfg: MODEL.COMPILE and SOLVER.MAX_ITER are read.
        model: the model on its device, not its DDP wrapper.

    Returns:
        Whether it is compiled.
    """
    wanted = cfg.MODEL.COMPILE
    if wanted == "auto":
        wanted = cfg.SOLVER.MAX_ITER >= _WORTH_COMPILING and _can_compile(next(model.parameters()).device)
    return bool(wanted) and compile_model(model)


def _can_compile(device: torch.device) -> bool:
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)


def build_loop(
    cfg: CfgNode, model: nn.Module, data_loader: Any, optimizer: torch.optim.Optimizer
) -> SimpleTrainer:
    """Return the loop that runs the steps.

    Args:
        cfg: SOLVER.AMP, DATALOADER.PREFETCH_DEVICE and WRITER_PERIOD are read.
        model: the model, on its device.
        data_loader: endless batches.
        optimizer: over the model's parameters.
    """
    # On a GPU, reading each step's losses would make the processor wait for it.
    on_gpu = next(model.parameters()).is_cuda
    precision = amp_precision(cfg, on_gpu)
    parts = (model, data_loader, optimizer)
    if precision is None:
        loop = SimpleTrainer(*parts, async_write_metrics=on_gpu)
    else:
        loop = AMPTrainer(*parts, precision=precision, async_write_metrics=on_gpu)
    loop.read_period = max(1, cfg.WRITER_PERIOD)
    if cfg.DATALOADER.PREFETCH_DEVICE and on_gpu:
        loop.prefetch_device = next(model.parameters()).device
    return loop


def warn_of_anchors(cfg: CfgNode, model: nn.Module, data_loader: Any) -> None:
    """Log a warning where the model's anchors reach too few of the training boxes.

    Args:
        cfg: the full config.
        model: the model.
        data_loader: its training batches.
    """
    sentence = unreached_boxes(cfg, model, data_loader)
    if sentence is not None:
        logger.warning("%s", sentence)


def plot_curves(folder: Path) -> None:
    """Draw ``curves.png`` from a run's ``metrics.json``, where its writers made one.

    Args:
        folder: the output folder.
    """
    if not (folder / "metrics.json").is_file():
        return
    # Matplotlib takes a second to import.
    from cardamage.visualization.plots import plot_training

    plot_training(folder / "metrics.json", folder / "curves.png")
