"""A run of ``train_net.py`` on Detectron2's engine."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.multiprocessing as mp
from detectron2.config import CfgNode as UpstreamNode
from detectron2.engine import default_setup as upstream_setup
from detectron2.engine import launch as upstream_launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm as upstream_comm

from cardamage.config import CfgNode, get_cfg, make_exact
from cardamage.engine import default_setup, launch
from cardamage.engine.best_metric import check_best_metric
from cardamage.engine.evaluating import prepare_evaluation
from cardamage.engine.launching import check_gpus, sentence_in
from cardamage.engine.setup import prepare_classes
from cardamage.errors import BackendError, ConfigValueError, LaunchError, TrainingError
from cardamage.evaluation import COCOEvaluator
from cardamage.utils import comm

from .checkpointing import ExchangeCheckpointer
from .config import refuse_own_parts, save_configs, to_upstream, without_effect
from .datasets import adopt_upstream, has_run_lengths, register_for_testing, register_for_training
from .trainer import RunPlan, trainer_class

__all__ = ["launch_processes", "main"]

logger = logging.getLogger(__name__)

Results = dict[str, Any]


def launch_processes(args: argparse.Namespace) -> None:
    """Run :func:`main` in the processes that the flags ask for, started by Detectron2's launcher.

    Under torchrun, which Detectron2's launcher doesn't know, this process is one of the job already.

    Args:
        args: the flags of ``train_net.py``.

    Raises:
        LaunchError: if the GPUs aren't there, or a process died.
    """
    where = (args.num_gpus, args.num_machines, args.machine_rank, args.dist_url)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        launch(main, *where, args=(args,))
        return
    if args.num_gpus > 1:
        check_gpus(args.num_gpus)
    if args.num_machines > 1 and args.dist_url == "auto":
        raise LaunchError("--dist-url auto works on one machine only: give tcp://HOST:PORT of machine 0.")
    try:
        upstream_launch(main, *where, args=(args,))
    except mp.ProcessRaisedException as error:
        sentence = sentence_in(str(error))
        if sentence is None:
            raise
        raise LaunchError(f"Rank {error.error_index} stopped: {sentence}") from None


def main(args: argparse.Namespace) -> Results | None:
    """Train, or evaluate with ``--eval-only``, in one process of the job.

    Args:
        args: the flags of ``train_net.py``.

    Returns:
        The results of an evaluation, on process 0.

    Raises:
        CardamageError: if the config, the data or the weights can't be used.
    """
    if comm.get_world_size() > 1 and upstream_comm._LOCAL_PROCESS_GROUP is None:
        upstream_comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    cfg = get_cfg()
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    if getattr(args, "exact", False):
        make_exact(cfg)
    cfg.merge_from_list(args.opts)
    if not cfg.OUTPUT_DIR:
        raise ConfigValueError("OUTPUT_DIR is empty, but Detectron2 writes files: set it to a folder.")
    if cfg.TEST.AUG.ENABLED:
        raise ConfigValueError(
            "TEST.AUG.ENABLED is True, but --backend detectron2 evaluates without test-time augmentation: "
            "set it False, and evaluate the weights with it by --eval-only without --backend."
        )
    refuse_own_parts(cfg)
    default_setup(cfg, args)
    adopt_upstream([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
    with _in_sentences():
        return _evaluate(cfg, args) if args.eval_only else _train(cfg, args)


def _train(cfg: CfgNode, args: argparse.Namespace) -> Results | None:
    if comm.get_world_size() > 1 and not str(cfg.MODEL.DEVICE).startswith("cuda"):
        raise LaunchError(
            "Detectron2 trains in several processes on GPUs only: start one process, or leave --backend out."
        )
    if cfg.DATALOADER.SAMPLER_TRAIN == "ClassAwareSampler":
        raise ConfigValueError(
            "DATALOADER.SAMPLER_TRAIN is ClassAwareSampler, which Detectron2 doesn't have: set it to "
            "TrainingSampler or RepeatFactorTrainingSampler, or leave --backend out."
        )
    classes = prepare_classes(cfg)
    check_best_metric(cfg, classes, lambda _, name: COCOEvaluator(name))
    for name in cfg.DATASETS.TRAIN:
        register_for_training(name, os.path.join(cfg.OUTPUT_DIR, "inference"), cfg.INPUT.FLIP_CLASS_PAIRS)
    plan = RunPlan(cfg, classes, _register_tests(cfg), _best_metric(cfg))
    trainer = trainer_class(plan)(_upstream_config(cfg, args))
    trainer.resume_or_load(resume=args.resume)
    results: Results | None = trainer.train()
    return results


def _evaluate(cfg: CfgNode, args: argparse.Namespace) -> Results | None:
    weights, classes = prepare_evaluation(cfg, args.resume)
    runner = trainer_class(RunPlan(cfg, classes, _register_tests(cfg)))
    upstream = _upstream_config(cfg, args)
    model = runner.build_model(upstream)
    ExchangeCheckpointer(model, cfg.OUTPUT_DIR, thing_classes=classes).load(weights, strict=True)
    results: Results = runner.test(upstream, model)
    if not comm.is_main_process():
        return None
    verify_results(upstream, results)
    return results


def _register_tests(cfg: CfgNode) -> dict[str, tuple[str, ...] | None]:
    folder = os.path.join(cfg.OUTPUT_DIR, "inference")
    return {name: register_for_testing(name, folder) for name in cfg.DATASETS.TEST}


def _upstream_config(cfg: CfgNode, args: argparse.Namespace) -> UpstreamNode:
    """Return Detectron2's config, with its log and ours set up and the config files written."""
    upstream = to_upstream(cfg)
    train = () if args.eval_only else cfg.DATASETS.TRAIN
    if cfg.MODEL.MASK_ON and cfg.INPUT.MASK_FORMAT == "polygon" and has_run_lengths(train):
        logger.info("Some masks are no polygons, which Detectron2 can't mix: INPUT.MASK_FORMAT is bitmask.")
        upstream.defrost()
        upstream.INPUT.MASK_FORMAT = "bitmask"
        upstream.freeze()
    # Both projects log what fvcore says; once is enough.
    logging.getLogger("fvcore").handlers.clear()
    upstream_setup(upstream, args)
    if comm.is_main_process():
        save_configs(cfg, cfg.OUTPUT_DIR)
    idle = without_effect(cfg)
    if idle:
        logger.warning("Without effect with --backend detectron2: %s.", ", ".join(idle))
    return upstream


def _best_metric(cfg: CfgNode) -> str:
    """Return the one name that Detectron2's hook looks for; empty where no best checkpoint is kept."""
    best, tests = cfg.TEST.BEST_CHECKPOINT, cfg.DATASETS.TEST
    if not best.ENABLED or not tests:
        return ""
    metric = str(best.METRIC)
    if "loss" in metric:
        return metric
    test = next((name for name in tests if metric.startswith(f"{name}/")), tests[0])
    bare = metric.removeprefix(f"{test}/")
    if not cfg.MODEL.MASK_ON and bare.startswith("segm/"):
        bare = "bbox/AP"
    return bare if len(tests) == 1 else f"{test}/{bare}"


@contextmanager
def _in_sentences() -> Iterator[None]:
    """Say in a sentence what Detectron2 raises for an installation or a training gone wrong."""
    try:
        yield
    except BackendError:
        raise
    except ImportError as error:
        raise BackendError(
            f"Detectron2 lacks something that this config needs: {_first_line(error)}; build it again, "
            "or leave --backend out."
        ) from error
    except FloatingPointError as error:
        raise TrainingError(
            f"Detectron2 stopped the training: {_first_line(error)}; lower SOLVER.BASE_LR."
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".!") if lines else type(error).__name__
