"""What a run does before it builds anything."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import CfgNode, validate_cfg
from cardamage.data import prepare_datasets, resolve_num_classes
from cardamage.engine.scope import check_scope
from cardamage.errors import ConfigValueError, DataError, TrainingError
from cardamage.utils import comm
from cardamage.utils.collect_env import collect_env_info
from cardamage.utils.env import cpu_has_bfloat16, seed_all_rng
from cardamage.utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter
from cardamage.utils.files import atomic_write, ensure_writable_dir
from cardamage.utils.logger import FILE_ONLY, setup_logger

__all__ = [
    "amp_precision",
    "check_disk_space",
    "create_ddp_model",
    "default_setup",
    "default_writers",
    "prepare_classes",
    "resolve_device",
    "resolve_layout",
    "save_config",
]

logger = logging.getLogger(__name__)


def default_setup(cfg: CfgNode, args: argparse.Namespace | None = None) -> None:
    """Prepare a run: output folder, logs, ``config.yaml``, random seed, device, weights to start from.

    Args:
        cfg: the full config; MODEL.DEVICE becomes ``cpu`` where there is no GPU and the user didn't set it.
        args: the command's flags, for the log; ``eval_only``, ``resume`` and ``backend`` are read.

    Raises:
        CheckpointError: if MODEL.WEIGHTS can't be found or downloaded.
        ConfigValueError: if a value can't be used or is of something that is not here, or a GPU is asked for
            that isn't there.
        TrainingError: if the output folder can't be written.
    """
    validate_cfg(cfg)
    if getattr(args, "backend", None) != "detectron2":
        check_scope(cfg)
    rank = comm.get_rank()
    if cfg.OUTPUT_DIR:
        _make_output_dir(cfg.OUTPUT_DIR)
    setup_logger(cfg.OUTPUT_DIR or None, distributed_rank=rank, name="fvcore")
    setup_logger(cfg.OUTPUT_DIR or None, distributed_rank=rank)
    logger.info("Rank %d of %d", rank, comm.get_world_size(), extra=FILE_ONLY)
    logger.info("Environment:\n%s", collect_env_info(), extra=FILE_ONLY)
    if args is not None:
        logger.info("Command line arguments: %s", args, extra=FILE_ONLY)
    resolve_device(cfg)
    if getattr(args, "backend", None) != "detectron2":
        _check_precision(cfg)
    logger.info("Config:\n%s", cfg.dump(), extra=FILE_ONLY)
    save_config(cfg)
    # Ranks draw different numbers, each run of a seed the same ones.
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if cfg.FLOAT32_PRECISION and torch.cuda.is_available():
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        torch.backends.cudnn.allow_tf32 = cfg.FLOAT32_PRECISION != "highest"
    if cfg.MODEL.WEIGHTS:
        _find_weights(cfg, getattr(args, "resume", False))


def _find_weights(cfg: CfgNode, resume: bool) -> None:
    """Have the weights here before the data is read, unless a checkpoint of the folder takes their place."""
    checkpointer = DetectionCheckpointer(nn.Module(), cfg.OUTPUT_DIR)
    replaced = bool(resume and cfg.OUTPUT_DIR and checkpointer.has_checkpoint())
    if not comm.all_gather(replaced)[0]:
        checkpointer.locate(cfg.MODEL.WEIGHTS)


def _make_output_dir(folder: str) -> None:
    """Prove on process 0 that the folder takes files; all ranks stop together if it doesn't."""
    problem = ""
    if comm.is_main_process():
        try:
            ensure_writable_dir(folder)
        except TrainingError as error:
            problem = str(error)
    problem = comm.all_gather(problem)[0]
    if problem:
        raise TrainingError(problem)


def save_config(cfg: CfgNode) -> None:
    """Write ``config.yaml`` to the output folder, from process 0."""
    if comm.is_main_process() and cfg.OUTPUT_DIR:
        with atomic_write(Path(cfg.OUTPUT_DIR) / "config.yaml") as file:
            file.write(cfg.dump())


def resolve_device(cfg: CfgNode) -> None:
    """Fall back to the CPU where there is no GPU and the user didn't ask for one.

    Args:
        cfg: MODEL.DEVICE is set.

    Raises:
        ConfigValueError: if the user set a CUDA device and there is none.
    """
    if not str(cfg.MODEL.DEVICE).startswith("cuda") or torch.cuda.is_available():
        return
    if cfg.is_explicit("MODEL.DEVICE"):
        raise ConfigValueError(
            f"MODEL.DEVICE is {cfg.MODEL.DEVICE}, but torch finds no GPU: "
            "set MODEL.DEVICE cpu or leave it out."
        )
    _set_derived(cfg, "MODEL.DEVICE", "cpu")
    logger.info("No GPU was found: running on the CPU.")


def _check_precision(cfg: CfgNode) -> None:
    """Let an evaluation's precision be known to be possible before the training, not after it."""
    if cfg.TEST.PRECISION == "float16" and str(cfg.MODEL.DEVICE).startswith("cpu"):
        raise ConfigValueError("TEST.PRECISION is float16, which needs a GPU: use bfloat16 or auto.")


def resolve_layout(cfg: CfgNode) -> None:
    """Train with channels last on the CPU where ``MODEL.CHANNELS_LAST`` is ``auto``: float32, too, is faster.

    The numbers are the same but for rounding.

    Args:
        cfg: MODEL.CHANNELS_LAST is set; MODEL.DEVICE is what the training will be on.
    """
    if cfg.MODEL.CHANNELS_LAST == "auto" and str(cfg.MODEL.DEVICE) == "cpu":
        _set_derived(cfg, "MODEL.CHANNELS_LAST", True)


def amp_precision(cfg: CfgNode, on_gpu: bool) -> torch.dtype | None:
    """Return the precision of a training's forward pass, or None for that of the weights.

    Args:
        cfg: SOLVER.AMP is read. ``auto`` is bfloat16 where the device has it, else float16 on a GPU.
        on_gpu: where the model is.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    if cfg.SOLVER.AMP.DTYPE != "auto":
        return {"float16": torch.float16, "bfloat16": torch.bfloat16}[cfg.SOLVER.AMP.DTYPE]
    if on_gpu:
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if cpu_has_bfloat16():
        return torch.bfloat16
    logger.info("Training in float32: this processor would emulate bfloat16, which is slower.")
    return None


def prepare_classes(
    cfg: CfgNode, eval_only: bool = False, weights_classes: Sequence[str] | None = None
) -> list[str]:
    """Read the datasets and let MODEL.ROI_HEADS.NUM_CLASSES follow from them.

    Args:
        cfg: DATASETS is read; NUM_CLASSES is set unless the user set it.
        eval_only: whether the training sets may be missing: class names then come from the test sets.
        weights_classes: the names of the weights to evaluate. Where given, they count, and only the test sets
            are read.

    Returns:
        The class names; [] where the config names no datasets.

    Raises:
        ConfigError: if the user's NUM_CLASSES isn't the data's.
        DataError: if a dataset can't be used.
    """
    if not cfg.DATASETS.TRAIN and not cfg.DATASETS.TEST:
        return []
    if weights_classes is not None:
        classes = prepare_datasets(_test_only(cfg), weights_classes)
    else:
        try:
            classes = prepare_datasets(cfg)
        except DataError as error:
            if not eval_only or not cfg.DATASETS.TRAIN or not cfg.DATASETS.TEST:
                raise
            classes = prepare_datasets(_test_only(cfg))
            logger.warning(
                "Classes are those of the test data, since the training data can't be read: %s", error
            )
    frozen = cfg.is_frozen()
    cfg.defrost()
    resolve_num_classes(cfg, classes)
    if frozen:
        cfg.freeze()
    return list(classes)


def _test_only(cfg: CfgNode) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = ()
    return cfg


def _set_derived(cfg: CfgNode, key: str, value: Any) -> None:
    frozen = cfg.is_frozen()
    cfg.defrost()
    cfg.set_derived(key, value)
    if frozen:
        cfg.freeze()


def check_disk_space(folder: str, needed: int) -> None:
    """Refuse to start a training whose first checkpoint won't fit on the disk.

    Args:
        folder: the output folder.
        needed: the size of a checkpoint in bytes.

    Raises:
        TrainingError: if there is less space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"The output folder '{folder}' has {free / 2**20:.0f} MiB free, but a checkpoint takes about "
            f"{needed / 2**20:.0f} MiB: free some space or set OUTPUT_DIR elsewhere."
        )


def default_writers(output_dir: str, max_iter: int | None = None) -> list[EventWriter]:
    """Return the writers of a run: log lines, ``metrics.json`` and TensorBoard.

    Args:
        output_dir: where the files go.
        max_iter: the iteration that the time left is counted to.
    """
    os.makedirs(output_dir, exist_ok=True)
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(os.path.join(output_dir, "metrics.json")),
        TensorboardXWriter(output_dir),
    ]


def create_ddp_model(model: nn.Module, *, fp16_compression: bool = False, **kwargs: Any) -> nn.Module:
    """Wrap a model for training in several processes; a job of one gets it back as it is.

    Args:
        model: the model, on this process's device.
        fp16_compression: whether gradients travel in float16.
        kwargs: of ``DistributedDataParallel``.
    """
    if comm.get_world_size() == 1:
        return model
    if "device_ids" not in kwargs and next(model.parameters()).is_cuda:
        kwargs["device_ids"] = [comm.get_local_rank()]
    wrapped = DistributedDataParallel(model, **kwargs)
    if fp16_compression:
        from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

        wrapped.register_comm_hook(state=None, hook=default_hooks.fp16_compress_hook)
    return wrapped
