"""Losses of the last steps, read from the device together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from cardamage.errors import LossError
from cardamage.utils import comm
from cardamage.utils.events import get_event_storage

__all__ = ["LossBuffer"]


@dataclass
class _Step:
    iteration: int
    losses: dict[str, torch.Tensor]
    data_time: float
    images: list[str]
    prefix: str


class LossBuffer:
    """Collects the losses of some steps, averages them over the ranks and puts them into the storage.

    Reading a loss waits for the device, so it is done for several steps at once. A loss that isn't finite
    stops the training, naming the iteration and the images.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._steps: list[_Step] = []

    def add(
        self,
        iteration: int,
        losses: Mapping[str, torch.Tensor],
        data_time: float,
        images: Sequence[str] = (),
        prefix: str = "",
    ) -> None:
        """Take the losses of a step.

        Args:
            iteration: the iteration.
            losses: 0-d tensors by name, the same names on all ranks.
            data_time: seconds spent waiting for data.
            images: the files of the batch.
            prefix: what goes before ``total_loss``.

        Raises:
            LossError: if a loss of earlier steps, read since this one has other names, isn't finite.
        """
        detached = {name: value.detach() for name, value in losses.items()}
        if self._steps and list(detached) != list(self._steps[0].losses):
            self.flush()
        self._steps.append(_Step(iteration, detached, data_time, list(images), prefix))

    def flush(self) -> None:
        """Read what was collected; with several ranks all of them call this together.

        Raises:
            LossError: if a loss isn't finite on any rank.
        """
        if not self._steps:
            return
        steps, self._steps = self._steps, []
        own = torch.stack([torch.stack(list(step.losses.values())) for step in steps]).float()
        times = torch.tensor([step.data_time for step in steps], dtype=torch.float32)
        mean, slowest = _over_ranks(own, times)
        rows, waits = mean.tolist(), slowest.tolist()
        storage = get_event_storage()
        for index, (step, row, wait) in enumerate(zip(steps, rows, waits, strict=True)):
            losses = dict(zip(step.losses, row, strict=True))
            total = sum(losses.values())
            if not math.isfinite(total):
                _stop(step, losses, bool(own[index].isfinite().all()))
            storage.put_scalar("rank_data_time", step.data_time, cur_iter=step.iteration)
            storage.put_scalar("data_time", wait, cur_iter=step.iteration)
            storage.put_scalar(f"{step.prefix}total_loss", total, cur_iter=step.iteration)
            if len(losses) > 1:
                storage.put_scalars(cur_iter=step.iteration, **losses)


def _over_ranks(losses: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses' mean and the times' maximum over all ranks."""
    world = comm.get_world_size()
    if world == 1:
        return losses, times
    losses, times = losses.clone(), times.to(losses.device)
    dist.all_reduce(losses)
    dist.all_reduce(times, op=dist.ReduceOp.MAX)
    return losses / world, times


def _stop(step: _Step, losses: Mapping[str, float], own_is_finite: bool) -> None:
    """Raise the error that names the images, those of the ranks whose loss broke."""
    broken = comm.all_gather([] if own_is_finite else step.images)
    images = [name for names in broken for name in names]
    values = ", ".join(f"{name} {value:g}" for name, value in losses.items() if not math.isfinite(value))
    raise LossError(
        f"The loss is not finite at iteration {step.iteration} ({values or 'sum of finite losses'}), on the "
        f"images {', '.join(images) if images else '(unnamed)'}: look at their annotations, "
        "lower SOLVER.BASE_LR, or set SOLVER.CLIP_GRADIENTS.ENABLED True."
    )
