"""Running a function in every process of a job; imports nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

__all__ = ["DEFAULT_TIMEOUT", "launch"]

DEFAULT_TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others: longer than the main process takes to score a large test set."""


def launch(
    main_func: Callable[..., Any],
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: Sequence[Any] = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> Any:
    """Run a function in every process of a job.

    Under ``torchrun`` this process is one of the job already, and the other arguments are torchrun's business
    (gloo where there is no GPU). Otherwise a process is started for each GPU of this machine.

    Args:
        main_func: the function, called as ``main_func(*args)``.
        num_gpus_per_machine: GPUs of this machine to use.
        num_machines: machines of the job; launch on each of them.
        machine_rank: which of them this is, from 0.
        dist_url: where the processes meet, ``tcp://HOST:PORT``; ``auto`` on one machine finds a free port.
        args: the function's arguments.
        timeout: how long a process waits for the others before the job ends with an error.

    Returns:
        What the function returned, where it ran in this process.

    Raises:
        LaunchError: if the GPUs aren't there, the processes can't meet, or one of them died.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        from cardamage.engine.launching import run_under_torchrun

        return run_under_torchrun(main_func, args, timeout)
    if num_machines * num_gpus_per_machine <= 1:
        return main_func(*args)
    from cardamage.engine.launching import launch_processes

    launch_processes(main_func, num_gpus_per_machine, num_machines, machine_rank, dist_url, args, timeout)
    return None
