"""The trainer of most runs: everything from a config."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from fvcore.nn.precise_bn import get_bn_modules
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import CfgNode
from cardamage.data import build_detection_test_loader, build_detection_train_loader
from cardamage.engine import hooks
from cardamage.engine.assembling import build_loop, compile_for_training, plot_curves, warn_of_anchors
from cardamage.engine.best_metric import check_best_metric, fallback_metrics
from cardamage.engine.resume import RunState, check_finite_weights
from cardamage.engine.scope import check_scope
from cardamage.engine.setup import (
    check_disk_space,
    create_ddp_model,
    default_writers,
    prepare_classes,
    resolve_device,
    resolve_layout,
    save_config,
)
from cardamage.engine.simple_trainer import AMPTrainer
from cardamage.engine.testing import test_datasets
from cardamage.engine.trainer_base import HookBase, TrainerBase
from cardamage.errors import ConfigValueError
from cardamage.evaluation import DatasetEvaluator, verify_results
from cardamage.modeling import build_model
from cardamage.solver import ModelEMA, auto_scale_workers, build_lr_scheduler, build_optimizer
from cardamage.utils import comm
from cardamage.utils.events import EventWriter
from cardamage.utils.files import ensure_writable_dir
from cardamage.utils.logger import FILE_ONLY, setup_logger
from cardamage.utils.writers import rollback_metrics

__all__ = ["DefaultTrainer"]

logger = logging.getLogger(__name__)

_SHARED_HOOK = "LRScheduler"


class DefaultTrainer(TrainerBase):
    """Builds model, optimizer, schedule, data and hooks from a config, and trains.

    Override its ``build_*`` methods for other parts::

        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        trainer.train()

    Where ``SOLVER.EMA`` is on, evaluation uses the averaged weights, and they are what ``model`` of every
    checkpoint holds.

    Attributes:
        cfg: the config in use: scaled to the workers, with class count, seed and device resolved.
        model: the model, wrapped for DDP where there are several processes.
        optimizer: its optimizer.
        scheduler: the learning-rate schedule.
        data_loader: the training batches.
        checkpointer: what saves.
        ema: the averaged weights, or None.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build everything.

        Args:
            cfg: the full config, left as it is.

        Raises:
            CardamageError: if the config, the data or the output folder can't be used.
        """
        super().__init__()
        if not cfg.OUTPUT_DIR:
            raise ConfigValueError(
                "OUTPUT_DIR is empty, but a training writes checkpoints and metrics: set it to a folder."
            )
        check_scope(cfg)
        if not logging.getLogger("cardamage").handlers:
            setup_logger()
        cfg = self.auto_scale_workers(cfg, comm.get_world_size()).clone()
        cfg.defrost()
        resolve_device(cfg)
        resolve_layout(cfg)
        if comm.is_main_process():
            ensure_writable_dir(cfg.OUTPUT_DIR)
        self.thing_classes = prepare_classes(cfg)
        check_best_metric(cfg, self.thing_classes, self.build_evaluator)
        if cfg.SEED < 0:
            # The order of the data must be known to be taken up again.
            cfg.set_derived("SEED", comm.shared_random_seed())
        cfg.freeze()
        self.cfg = cfg
        save_config(cfg)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        self.ema = ModelEMA(model, cfg.SOLVER.EMA.DECAY) if cfg.SOLVER.EMA.ENABLED else None
        compile_for_training(cfg, model)
        model = create_ddp_model(model, broadcast_buffers=False)
        self._trainer = build_loop(cfg, model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self._run_state = RunState(cfg.SEED)
        parts: dict[str, Any] = {"optimizer": optimizer, "scheduler": self.scheduler}
        if self.ema is not None:
            parts["ema"] = self.ema
        self.checkpointer = DetectionCheckpointer(
            model, cfg.OUTPUT_DIR, thing_classes=self.thing_classes, **parts, trainer=weakref.proxy(self)
        )
        self.max_iter = cfg.SOLVER.MAX_ITER
        self._last_eval_results: dict[str, Any] = {}
        self.register_hooks(self.build_hooks())
        self._closing_hooks = self._build_closing_hooks()

    # ------------------------------------------------------------------ running
    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint in OUTPUT_DIR, or load ``MODEL.WEIGHTS``.

        Args:
            resume: whether to look for a checkpoint. All of the training's state comes back from it.

        Raises:
            CheckpointError: if a file can't be read or doesn't fit.
        """
        resumed = resume and self.checkpointer.has_checkpoint()
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if resumed:
            self.start_iter = self.iter + 1
            logger.info("Going on with iteration %d of %d.", self.start_iter, self.max_iter)
        elif resume:
            logger.info("There is no checkpoint in '%s': starting at iteration 0.", self.cfg.OUTPUT_DIR)

    def train(self) -> dict[str, Any] | None:  # type: ignore[override]
        """Train from ``start_iter`` to the end.

        Returns:
            The results of the last evaluation, on process 0.

        Raises:
            TrainingError: if the training can't go on.
        """
        self._prepare_folder()
        if self._run_state.saved_seed not in (None, self.cfg.SEED):
            self._take_seed(int(self._run_state.saved_seed or 0))
        if self.start_iter > 0 and hasattr(self.data_loader, "skip"):
            self.data_loader.skip(self.start_iter)
        # Behind those that were registered since: a checkpoint on SIGTERM is to know what they did.
        self.register_hooks(self._closing_hooks)
        self._closing_hooks = []
        super().train(self.start_iter, self.max_iter)
        if not comm.is_main_process():
            return None
        if len(self.cfg.TEST.EXPECTED_RESULTS):
            verify_results(self.cfg, self._last_eval_results)
        return self._last_eval_results

    def _prepare_folder(self) -> None:
        """Bring the output folder to where this training starts."""
        if not comm.is_main_process():
            return
        weights = sum(value.numel() * value.element_size() for value in self.model.state_dict().values())
        check_disk_space(self.cfg.OUTPUT_DIR, weights * (3 if self.ema is not None else 2))
        metrics = Path(self.cfg.OUTPUT_DIR) / "metrics.json"
        if self.start_iter > 0:
            rollback_metrics(metrics, self.start_iter)
            return
        # A kill before the first checkpoint must not be followed by resuming an older training.
        self.checkpointer.untag()
        if metrics.is_file():
            os.replace(metrics, metrics.with_name("metrics.previous.json"))
        warn_of_anchors(self.cfg, self.model, self.data_loader)

    def _take_seed(self, seed: int) -> None:
        """Go on with the data order of the checkpoint's training."""
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.set_derived("SEED", seed)
        cfg.freeze()
        self.cfg = cfg
        save_config(cfg)
        self._trainer.reset_data_loader(lambda: self.build_train_loader(cfg))

    def before_train(self) -> None:
        """Call the hooks' ``before_train``, then bring the random numbers of a resumed training back."""
        super().before_train()
        self._run_state.restore_rng()

    def before_step(self) -> None:
        """Call the hooks' ``before_step``, with the inner loop where this one is."""
        # Subclasses with a run_step of their own, or another list of hooks, use it as it is then.
        loop = self._trainer
        loop.iter, loop.max_iter, loop._hooks = self.iter, self.max_iter, self._hooks
        super().before_step()

    def run_step(self) -> None:
        """Train on one batch."""
        self._trainer.run_step()

    def prepare_checkpoint(self) -> None:
        """Make sure that what is saved is sound and complete; all ranks together.

        Raises:
            TrainingError: if a loss or a weight isn't finite.
        """
        self._trainer.prepare_checkpoint()
        check_finite_weights(self.model, self.iter, self.checkpointer.get_checkpoint_file())
        self._run_state.collect_rng()

    def state_dict(self) -> dict[str, Any]:
        """Return the loop's state, the ranks' random numbers, the seed and the loss scaler.

        Detectron2's trainer, too, resumes from it: ``_trainer`` is where it looks for the optimizer's state,
        and ``hooks`` has only what its hooks of the same name understand.
        """
        state = {**super().state_dict(), **self._run_state.state_dict()}
        # Evaluations at the end of training count as its last iteration.
        state["iteration"] = min(self.iter, self.max_iter - 1)
        state["own_hooks"] = {key: value for key, value in state["hooks"].items() if key != _SHARED_HOOK}
        state["hooks"] = {key: value for key, value in state["hooks"].items() if key == _SHARED_HOOK}
        inner = {"iteration": state["iteration"], "optimizer": self.optimizer.state_dict()}
        if isinstance(self._trainer, AMPTrainer):
            inner["grad_scaler"] = self._trainer.grad_scaler.state_dict()
        return {**state, "_trainer": inner}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict`, or Detectron2's, returned."""
        hooks = {**state_dict.get("hooks", {}), **state_dict.get("own_hooks", {})}
        super().load_state_dict({**state_dict, "hooks": hooks})
        self._run_state.load_state_dict(state_dict)
        inner = state_dict.get("_trainer", {})
        if "optimizer" in inner:
            self.optimizer.load_state_dict(inner["optimizer"])
        scaler = state_dict.get("grad_scaler", inner.get("grad_scaler"))
        if scaler and isinstance(self._trainer, AMPTrainer):
            self._trainer.grad_scaler.load_state_dict(scaler)

    # ------------------------------------------------------------------ parts
    def build_hooks(self) -> list[HookBase | None]:
        """Return the hooks; process 0's end with the writers, so that what goes before them is written."""
        cfg = self.cfg
        on_gpu = next(self.model.parameters()).is_cuda
        period = cfg.TEST.EVAL_PERIOD
        result: list[HookBase | None] = [
            hooks.IterationTimer(),
            hooks.LoaderWatch(
                self._trainer.loader_wait, cfg.DATALOADER.NUM_WORKERS, max(20, cfg.WRITER_PERIOD)
            ),
            hooks.LRScheduler(),
            hooks.EMAHook(self.ema) if self.ema is not None else None,
            self._precise_bn(),
            # Before the evaluation: if that fails, the checkpoint is there to find out why.
            hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD),
            hooks.EvalHook(period, self._evaluate),
        ]
        if cfg.TEST.BEST_CHECKPOINT.ENABLED and cfg.DATASETS.TEST:
            best = cfg.TEST.BEST_CHECKPOINT
            others = fallback_metrics(cfg)
            result.append(
                hooks.BestCheckpointer(
                    period, self.checkpointer, best.METRIC, best.MODE, fallback_metrics=others
                )
            )
        if not comm.is_main_process():
            return result
        bar = hooks.ProgressBar(cfg.WRITER_PERIOD if on_gpu else 1)
        return [*result, bar, hooks.PeriodicWriter(self.build_writers(), cfg.WRITER_PERIOD)]

    def _build_closing_hooks(self) -> list[HookBase]:
        """Return the hooks that go behind all others."""
        on_gpu = next(self.model.parameters()).is_cuda
        stop = hooks.StopOnSignal(self.checkpointer, 10 if on_gpu else 1)
        if not comm.is_main_process():
            return [stop]
        output = Path(self.cfg.OUTPUT_DIR)
        return [hooks.PlotHook(lambda: plot_curves(output)), stop]

    def _precise_bn(self) -> HookBase | None:
        if not self.cfg.TEST.PRECISE_BN.ENABLED or not get_bn_modules(self.model):
            return None
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATALOADER.NUM_WORKERS = 0
        loader = self.build_train_loader(cfg)
        return hooks.PreciseBN(cfg.TEST.EVAL_PERIOD, self.model, loader, cfg.TEST.PRECISE_BN.NUM_ITER)

    def _evaluate(self) -> dict[str, Any]:
        with self.averaged_weights():
            self._last_eval_results = self.test(self.cfg, self.model)
        return self._last_eval_results

    def averaged_weights(self) -> AbstractContextManager[Any]:
        """Return a context in which the model has the averaged weights, where ``SOLVER.EMA`` is on."""
        return nullcontext() if self.ema is None else self.ema.applied()

    def build_writers(self) -> list[EventWriter]:
        """Return the writers of process 0."""
        return default_writers(self.cfg.OUTPUT_DIR, self.max_iter)

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Return the model of the config, on its device."""
        model = build_model(cfg)
        logger.info("Model:\n%s", model, extra=FILE_ONLY)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of the config."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        """Return the learning-rate schedule of the config."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        """Return endless training batches."""
        return build_detection_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Return the batches of a test dataset."""
        return build_detection_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """Return the evaluator of a test dataset.

        Raises:
            NotImplementedError: unless a subclass overrides it.
        """
        raise NotImplementedError("Override build_evaluator to have DefaultTrainer evaluate.")

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    ) -> dict[str, Any]:
        """Evaluate a model on the datasets of ``DATASETS.TEST``.

        Args:
            cfg: the full config.
            model: the model, weights loaded.
            evaluators: one for each dataset; None builds them.

        Returns:
            Results by dataset, or those of the only one. Empty on processes other than 0.

        Raises:
            EvaluationError: if there aren't as many evaluators as datasets.
        """
        return test_datasets(cls, cfg, model, evaluators)

    auto_scale_workers = staticmethod(auto_scale_workers)

    @property
    def model(self) -> nn.Module:
        """The model under training."""
        return self._trainer.model

    @model.setter
    def model(self, value: nn.Module) -> None:
        self._trainer.model = value

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer."""
        return self._trainer.optimizer

    @optimizer.setter
    def optimizer(self, value: torch.optim.Optimizer) -> None:
        self._trainer.optimizer = value

    @property
    def data_loader(self) -> Any:
        """The training batches."""
        return self._trainer.data_loader

    @data_loader.setter
    def data_loader(self, value: Any) -> None:
        self._trainer.data_loader = value
