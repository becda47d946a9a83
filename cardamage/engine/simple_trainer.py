"""One model, one optimizer, one source of data."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from cardamage.engine.loader_wait import LoaderWait
from cardamage.engine.loss_buffer import LossBuffer
from cardamage.engine.rng import preserve_rng
from cardamage.engine.trainer_base import TrainerBase
from cardamage.engine.worker_errors import next_batch
from cardamage.errors import ConfigValueError, TrainingError
from cardamage.utils.events import get_event_storage

__all__ = ["AMPTrainer", "SimpleTrainer"]


class SimpleTrainer(TrainerBase):
    """Takes a batch, computes the losses and their gradients, and steps the optimizer.

    Losses reach the storage averaged over the ranks. A loss that isn't finite stops the training before the
    optimizer's step, with ``async_write_metrics`` before the next checkpoint.

    Attributes:
        read_period: the iterations whose losses ``async_write_metrics`` reads together.
        prefetch_device: where a loader that can do so (``prefetch_to``) copies its batches ahead; None leaves
            them where they are.
        loader_wait: how long the model waited for batches.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        gather_metric_period: int = 1,
        zero_grad_before_forward: bool = False,
        async_write_metrics: bool = False,
    ) -> None:
        """Put the model into training mode and keep the parts.

        Args:
            model: maps a batch to a dict of 0-d losses, or to one loss.
            data_loader: endless batches.
            optimizer: over the model's parameters.
            gather_metric_period: of how many iterations one's losses are read and kept.
            zero_grad_before_forward: whether gradients are dropped before the forward rather than before the
                backward pass.
            async_write_metrics: whether losses are read some iterations later, so that no step waits for the
                device.
        """
        super().__init__()
        model.train()
        self.model = model
        self.data_loader = data_loader
        self.optimizer = optimizer
        self.gather_metric_period = gather_metric_period
        self.zero_grad_before_forward = zero_grad_before_forward
        self.async_write_metrics = async_write_metrics
        self.read_period = 20
        self.prefetch_device: torch.device | None = None
        self.loader_wait = LoaderWait(_device_of(model))
        self._losses = LossBuffer()
        self._data_loader_iter_obj: Iterator[Any] | None = None

    def run_step(self) -> None:
        """Train on one batch.

        Raises:
            TrainingError: if the model isn't in training mode, the data ends, or a loss isn't finite.
        """
        data, data_time = self._next_batch()
        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        losses, total = self._forward(data)
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        self._backward(total)
        self.after_backward()
        self._write_metrics(losses, data_time, images=_image_files(data))
        self._step_optimizer()

    def _next_batch(self) -> tuple[Any, float]:
        if not self.model.training:
            raise TrainingError("The model is in eval mode: call model.train() before training.")
        start = time.perf_counter()
        with self.loader_wait.waiting():
            data = next_batch(self._data_loader_iter)
        return data, time.perf_counter() - start

    def _forward(self, data: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        output = self.model(data)
        if isinstance(output, torch.Tensor):
            return {"total_loss": output}, output
        return output, functools.reduce(torch.add, output.values())

    def _backward(self, total: torch.Tensor) -> None:
        total.backward()

    def _step_optimizer(self) -> None:
        self.optimizer.step()

    @property
    def _data_loader_iter(self) -> Iterator[Any]:
        if self._data_loader_iter_obj is None:
            if self.prefetch_device is not None and hasattr(self.data_loader, "prefetch_to"):
                self.data_loader.prefetch_to(self.prefetch_device)
            # Torch's loaders draw a random number here; a resumed training must not draw one more.
            with preserve_rng():
                self._data_loader_iter_obj = iter(self.data_loader)
        return self._data_loader_iter_obj

    def reset_data_loader(self, data_loader_builder: Callable[[], Iterable[Any]]) -> None:
        """Replace the data loader.

        Args:
            data_loader_builder: makes the new one; the old one is gone by then.
        """
        del self.data_loader
        self._data_loader_iter_obj = None
        self.data_loader = data_loader_builder()

    def _write_metrics(
        self,
        loss_dict: Mapping[str, torch.Tensor],
        data_time: float,
        prefix: str = "",
        iter: int | None = None,
        images: Iterable[str] = (),
    ) -> None:
        """Note the losses of a step; subclasses with a ``run_step`` of their own call this."""
        iteration = self.iter if iter is None else iter
        done = iteration + 1
        if done % self.gather_metric_period == 0:
            self._losses.add(iteration, loss_dict, data_time, list(images), prefix)
        if not self.async_write_metrics or done % self.read_period == 0 or done == self.max_iter:
            self._losses.flush()

    @staticmethod
    def write_metrics(
        loss_dict: Mapping[str, torch.Tensor], data_time: float, cur_iter: int, prefix: str = ""
    ) -> None:
        """Put losses into the present storage now, averaged over the ranks, which call this together.

        Args:
            loss_dict: 0-d tensors by name, the same names on all ranks.
            data_time: seconds spent waiting for data.
            cur_iter: the iteration they are of.
            prefix: what goes before ``total_loss``.

        Raises:
            LossError: if a loss isn't finite on any rank.
        """
        losses = LossBuffer()
        losses.add(cur_iter, loss_dict, data_time, prefix=prefix)
        losses.flush()

    def prepare_checkpoint(self) -> None:
        """Read the losses of all steps done, which stops a training gone wrong before it is saved.

        Raises:
            TrainingError: if a loss isn't finite.
        """
        self._losses.flush()

    def state_dict(self) -> dict[str, Any]:
        """Return the loop's and the optimizer's state."""
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])


def _device_of(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _image_files(data: Any) -> list[str]:
    """Return the files of a batch of dataset dicts, as far as they are named."""
    if not isinstance(data, (list, tuple)):
        return []
    return [str(item["file_name"]) for item in data if isinstance(item, Mapping) and "file_name" in item]


class AMPTrainer(SimpleTrainer):
    """A :class:`SimpleTrainer` whose forward pass runs in lower precision.

    float16 (CUDA) scales the loss so that small gradients survive; bfloat16 (CUDA and CPU) needs no scaling.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[Any],
        optimizer: torch.optim.Optimizer,
        gather_metric_period: int = 1,
        zero_grad_before_forward: bool = False,
        grad_scaler: torch.amp.GradScaler | None = None,
        precision: torch.dtype = torch.float16,
        log_grad_scaler: bool = False,
        async_write_metrics: bool = False,
    ) -> None:
        """Keep the parts.

        Args:
            model: as in :class:`SimpleTrainer`, on one device.
            data_loader: as in :class:`SimpleTrainer`.
            optimizer: as in :class:`SimpleTrainer`.
            gather_metric_period: as in :class:`SimpleTrainer`.
            zero_grad_before_forward: as in :class:`SimpleTrainer`.
            grad_scaler: scales the loss; None makes one for float16.
            precision: ``torch.float16`` or ``torch.bfloat16``.
            log_grad_scaler: whether the scale goes into the storage.
            async_write_metrics: as in :class:`SimpleTrainer`.

        Raises:
            ConfigValueError: for float16 on the CPU.
            ValueError: for a model on several devices in one process.
        """
        several = isinstance(model, DistributedDataParallel) and len(model.device_ids or []) > 1
        if several or isinstance(model, DataParallel):
            raise ValueError("AMPTrainer takes a model on one device a process")
        super().__init__(
            model, data_loader, optimizer, gather_metric_period, zero_grad_before_forward, async_write_metrics
        )
        self.device_type = next(model.parameters()).device.type
        if precision is torch.float16 and self.device_type == "cpu":
            raise ConfigValueError("SOLVER.AMP.DTYPE is float16, which needs a GPU: use bfloat16 or auto.")
        if grad_scaler is None:
            grad_scaler = torch.amp.GradScaler(self.device_type, enabled=precision is torch.float16)
        self.grad_scaler = grad_scaler
        self.precision = precision
        self.log_grad_scaler = log_grad_scaler

    def _forward(self, data: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        with torch.autocast(self.device_type, dtype=self.precision):
            return super()._forward(data)

    def _backward(self, total: torch.Tensor) -> None:
        self.grad_scaler.scale(total).backward()
        if self.log_grad_scaler:
            get_event_storage().put_scalar("[metric]grad_scaler", self.grad_scaler.get_scale())

    def _step_optimizer(self) -> None:
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the loop's, the optimizer's and the scaler's state."""
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        super().load_state_dict(state_dict)
        # Empty where the training so far was in bfloat16, which needs no scale.
        if state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
