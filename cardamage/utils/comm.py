"""Talking between the processes of one job; every function also works in a single process.

Objects travel over a gloo group on the CPU, so that gathering results costs no GPU memory.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist

_local_group: dist.ProcessGroup | None = None


def _in_job() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Return the number of processes of the job."""
    return dist.get_world_size() if _in_job() else 1


def get_rank() -> int:
    """Return this process's number in the job, from 0."""
    return dist.get_rank() if _in_job() else 0


def is_main_process() -> bool:
    """Tell whether this is process 0, the one that writes files."""
    return get_rank() == 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Group the processes of each machine; every process calls it once, after ``init_process_group``.

    Args:
        num_workers_per_machine: how many processes each machine runs.

    Raises:
        ValueError: the job's size is not a multiple of it.
    """
    global _local_group
    world = get_world_size()
    if world % num_workers_per_machine:
        raise ValueError(f"{world} processes can't be split into machines of {num_workers_per_machine}.")
    for start in range(0, world, num_workers_per_machine):
        # Each process takes part in the making of every group, also of those it is not in.
        group = dist.new_group(list(range(start, start + num_workers_per_machine)))
        if start <= get_rank() < start + num_workers_per_machine:
            _local_group = cast(dist.ProcessGroup, group)


def get_local_process_group() -> dist.ProcessGroup:
    """Return the group of this machine's processes.

    Raises:
        RuntimeError: :func:`create_local_process_group` was not called.
    """
    if _local_group is None:
        raise RuntimeError("There is no group of local processes: call create_local_process_group first.")
    return _local_group


def get_local_rank() -> int:
    """Return this process's number on its machine, from 0: the index of its GPU."""
    if not _in_job():
        return 0
    if _local_group is not None:
        return dist.get_rank(group=_local_group)
    return int(os.environ.get("LOCAL_RANK", get_rank()))


def get_local_size() -> int:
    """Return the number of processes on this machine."""
    if not _in_job():
        return 1
    if _local_group is not None:
        return dist.get_world_size(group=_local_group)
    return int(os.environ.get("LOCAL_WORLD_SIZE", get_world_size()))


def synchronize() -> None:
    """Wait until every process of the job is here."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == "nccl":
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


def all_gather(data: Any, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Collect an object from each process.

    Args:
        data: anything that can be pickled.
        group: the processes; all of them by default, over gloo.

    Returns:
        The objects in the order of ranks, on every process.
    """
    group, world = _group_and_size(group)
    if world == 1:
        return [data]
    gathered: list[Any] = [None] * world
    dist.all_gather_object(gathered, data, group=group)
    return gathered


def gather(data: Any, dst: int = 0, group: dist.ProcessGroup | None = None) -> list[Any]:
    """Collect an object from each process on one of them.

    Args:
        data: anything that can be pickled.
        dst: the rank that receives.
        group: the processes; all of them by default, over gloo.

    Returns:
        The objects in the order of ranks on ``dst``, an empty list elsewhere.
    """
    group, world = _group_and_size(group)
    if world == 1:
        return [data]
    gathered: list[Any] | None = [None] * world if dist.get_rank() == dst else None
    dist.gather_object(data, gathered, dst=dst, group=group)
    return gathered if gathered is not None else []


def shared_random_seed() -> int:
    """Return a random number below 2**31 that is the same on every process: process 0's draw from numpy."""
    return all_gather(int(np.random.randint(2**31)))[0]


def reduce_dict(input_dict: Mapping[str, torch.Tensor], average: bool = True) -> dict[str, torch.Tensor]:
    """Add up, or average, scalar tensors over the processes.

    Args:
        input_dict: 0-d tensors under the same keys on every process.
        average: divide by the number of processes.

    Returns:
        A dict of the same keys; only process 0's values are the reduced ones.
    """
    world = get_world_size()
    if world == 1 or not input_dict:
        return dict(input_dict)
    with torch.no_grad():
        names = sorted(input_dict)
        values = torch.stack([input_dict[name].detach() for name in names])
        dist.reduce(values, dst=0)
        if average and get_rank() == 0:
            values = values / world
    return dict(zip(names, values, strict=True))


@functools.lru_cache(maxsize=1)
def _gloo_group() -> dist.ProcessGroup | None:
    """Return a gloo group of all processes; None stands for the default group."""
    return cast(dist.ProcessGroup, dist.new_group(backend="gloo")) if dist.get_backend() == "nccl" else None


def _group_and_size(group: dist.ProcessGroup | None) -> tuple[dist.ProcessGroup | None, int]:
    if get_world_size() == 1:
        return group, 1
    group = _gloo_group() if group is None else group
    return group, dist.get_world_size(group=group)
