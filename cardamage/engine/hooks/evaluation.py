"""Measuring the model during training."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import nn

from cardamage.engine.rng import preserve_rng
from cardamage.engine.trainer_base import HookBase
from cardamage.errors import EvaluationError
from cardamage.evaluation import flatten_results_dict
from cardamage.utils import comm
from cardamage.utils.events import EventStorage

__all__ = ["EvalHook", "PreciseBN", "ValidationLoss"]

logger = logging.getLogger(__name__)


class EvalHook(HookBase):
    """Runs an evaluation every ``eval_period`` iterations and after the last, and stores its numbers.

    Register it on all ranks. The evaluation doesn't touch the training's random numbers. A training killed
    between a checkpoint and the evaluation of the same iteration makes up for it when it is resumed.
    """

    def __init__(
        self,
        eval_period: int,
        eval_function: Callable[[], Mapping[str, Any] | None],
        eval_after_train: bool = True,
    ) -> None:
        """Set what to run and when.

        Args:
            eval_period: iterations between evaluations; 0 for none but the last.
            eval_function: returns a nested dict of numbers, or None.
            eval_after_train: whether to evaluate after the last iteration.
        """
        self._period = eval_period
        self._func: Callable[[], Mapping[str, Any] | None] | None = eval_function
        self._eval_after_train = eval_after_train
        self._last = 0

    def _do_eval(self) -> None:
        assert self._func is not None
        with preserve_rng():
            results = self._func()
        if results:
            self.trainer.storage.put_scalars(**_as_numbers(results), smoothing_hint=False)
        self._last = min(self.trainer.iter + 1, self.trainer.max_iter)
        # Ranks take different time; let them start the next step together.
        comm.synchronize()

    def _is_due(self, done: int) -> bool:
        return self._period > 0 and done > 0 and done % self._period == 0 and done < self.trainer.max_iter

    def before_train(self) -> None:
        """Make up for an evaluation that the checkpoint doesn't know of."""
        done = self.trainer.start_iter
        if self._is_due(done) and self._last != done:
            logger.info("Evaluating iteration %d, which the checkpoint lacks.", done - 1)
            with self.trainer.at_last_step():
                self._do_eval()

    def after_step(self) -> None:
        """Evaluate if it is time; the last one waits for the end of training."""
        if self._is_due(self.trainer.iter + 1):
            self._do_eval()

    def after_train(self) -> None:
        """Evaluate after a training that ran to its end."""
        if self._eval_after_train and self.trainer.iter >= self.trainer.max_iter:
            self._do_eval()
        # It likely holds the trainer.
        self._func = None

    def state_dict(self) -> dict[str, Any]:
        """Return how many iterations were done at the last evaluation."""
        return {"last": self._last} if self._period > 0 else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue."""
        self._last = int(state_dict["last"])


def _as_numbers(results: Mapping[str, Any]) -> dict[str, float]:
    if not isinstance(results, Mapping):
        raise EvaluationError(f"An evaluation must return a dict of numbers, not {type(results).__name__}.")
    numbers = {}
    for name, value in flatten_results_dict(results).items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError) as error:
            raise EvaluationError(
                f"An evaluation must return numbers; '{name}' is {type(value).__name__}."
            ) from error
    return numbers


class ValidationLoss(HookBase):
    """Computes the training losses on validation data, as ``validation_loss`` and ``validation/<loss>``."""

    def __init__(self, period: int, model: nn.Module, data_loader: Iterable[Any]) -> None:
        """Set what to run and when.

        Args:
            period: iterations between runs; 0 for after the last only.
            model: the model under training.
            data_loader: a finite loader of batches with annotations.
        """
        self._period = period
        self._model = model
        self._data_loader = data_loader

    def after_step(self) -> None:
        """Run if it is time."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self._period > 0 and done % self._period == 0):
            losses = self.compute()
            self.trainer.storage.put_scalars(**losses, smoothing_hint=False)

    @torch.no_grad()
    def compute(self) -> dict[str, float]:
        """Return the mean of each loss over the batches and, as ``validation_loss``, their sum.

        The model's running statistics and the random numbers are as before.
        """
        buffers = {name: value.clone() for name, value in self._model.named_buffers()}
        sums: dict[str, torch.Tensor] = {}
        count = 0
        with preserve_rng(), EventStorage():
            for batch in self._data_loader:
                for name, value in self._model(batch).items():
                    sums[name] = sums.get(name, torch.zeros_like(value)) + value
                count += 1
        for name, buffer in self._model.named_buffers():
            buffer.copy_(buffers[name])
        reduced = [comm.all_gather((count, {name: float(value) for name, value in sums.items()}))]
        total = max(1, sum(n for n, _ in reduced[0]))
        names = {name: None for _, losses in reduced[0] for name in losses}
        means = {
            f"validation/{n}": sum(losses.get(n, 0.0) for _, losses in reduced[0]) / total for n in names
        }
        return {**means, "validation_loss": sum(means.values())}


class PreciseBN(HookBase):
    """Replaces the running statistics of batch norms by true means over some batches.

    See Wu and Johnson, "Rethinking Batch in BatchNorm", 2021.
    """

    def __init__(self, period: int, model: nn.Module, data_loader: Iterable[Any], num_iter: int) -> None:
        """Set what to run and when.

        Args:
            period: iterations between runs; 0 for after the last only.
            model: the model; its batch norms must be in training mode when this runs.
            data_loader: endless batches.
            num_iter: how many of them to average over.
        """
        self._period = period
        self._model = model
        self._data_loader = data_loader
        self._num_iter = num_iter
        self._batches: Iterator[Any] | None = None
        self._disabled = not get_bn_modules(model)
        if self._disabled:
            logger.info("PreciseBN is off: the model has no batch norm in training mode.")

    def after_step(self) -> None:
        """Run if it is time."""
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self._period > 0 and done % self._period == 0):
            self.update_stats()

    def update_stats(self) -> None:
        """Compute the statistics now."""
        if self._disabled:
            return
        logger.info("Computing precise batch-norm statistics over %d batches.", self._num_iter)
        # What the model notes meanwhile is no training event.
        with preserve_rng(), EventStorage():
            if self._batches is None:
                self._batches = iter(self._data_loader)
            update_bn_stats(self._model, itertools.islice(self._batches, self._num_iter), self._num_iter)
