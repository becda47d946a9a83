"""Starting the processes of a job."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from cardamage.errors import CardamageError, LaunchError
from cardamage.utils import comm

__all__ = ["check_gpus", "explain_lost_rank", "launch_processes", "run_under_torchrun", "sentence_in"]

_GLOO_PAUSE = 0.3  # seconds

_LOST_PEER = (
    "closed by peer",
    "reset by peer",
    "Connection refused",
    "Timed out",
    "timed out",
    "Broken pipe",
)


def launch_processes(
    main_func: Callable[..., Any],
    num_gpus_per_machine: int,
    num_machines: int,
    machine_rank: int,
    dist_url: str | None,
    args: Sequence[Any],
    timeout: timedelta,
) -> None:
    """Start this machine's processes of a job and wait for them; arguments as of :func:`launch.launch`.

    Raises:
        LaunchError: if the GPUs aren't there, the processes can't meet, or one of them died.
    """
    # One process on each of several machines may go without GPUs; more than one asks for them.
    if num_gpus_per_machine > 1:
        check_gpus(num_gpus_per_machine)
    if dist_url in (None, "auto"):
        if num_machines > 1:
            raise LaunchError("--dist-url auto works on one machine only: give tcp://HOST:PORT of machine 0.")
        dist_url = f"tcp://127.0.0.1:{_free_port()}"
    world_size = num_machines * num_gpus_per_machine
    where = (world_size, num_gpus_per_machine, machine_rank, dist_url)
    _spawn(num_gpus_per_machine, (main_func, *where, tuple(args), timeout))


def _spawn(count: int, arguments: tuple[Any, ...]) -> None:
    """Run :func:`_worker` in new processes and wait for them."""
    context: Any = mp.start_processes(_worker, arguments, count, join=False, start_method="spawn")
    with _forwarding_sigterm(context.pids()):
        _join(context)


def check_gpus(wanted: int) -> None:
    """Make sure that this machine has as many GPUs as asked for.

    Args:
        wanted: how many.

    Raises:
        LaunchError: if it has fewer.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found == 0:
        raise LaunchError(
            f"--num-gpus {wanted} was asked for, but no GPU was found on this machine: leave --num-gpus out "
            f"to train on the CPU, or start CPU processes with torchrun --nproc-per-node {wanted}."
        )
    if found < wanted:
        raise LaunchError(
            f"--num-gpus {wanted} was asked for, but this machine has {found}: use --num-gpus {found}."
        )


def _join(context: Any) -> None:
    """Wait for the processes; one that dies takes the others with it."""
    try:
        while not context.join():
            pass
    except mp.ProcessExitedException as error:
        if error.exit_code == 128 + signal.SIGTERM:
            raise SystemExit(error.exit_code) from None
        how = (
            f"was killed by {error.signal_name}" if error.signal_name else f"left with code {error.exit_code}"
        )
        raise LaunchError(
            f"Rank {error.error_index} {how}, so the job was ended: see its lines above, "
            "then go on with --resume."
        ) from None
    except mp.ProcessRaisedException as error:
        sentence = sentence_in(str(error))
        if sentence is None:
            raise
        raise LaunchError(f"Rank {error.error_index} stopped: {sentence}") from None


def sentence_in(message: str) -> str | None:
    """Return the words of a CardamageError in a worker's traceback, None for other errors."""
    last = message.strip().splitlines()[-1]
    name, _, sentence = last.partition(": ")
    return sentence if name.startswith("cardamage.errors.") else None


@contextmanager
def _forwarding_sigterm(processes: Sequence[int]) -> Iterator[None]:
    """Pass SIGTERM on to the processes, which save a checkpoint, instead of dying and leaving them behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def forward(number: int, frame: FrameType | None) -> None:
        for process in processes:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue

    previous = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def run_under_torchrun(main_func: Callable[..., Any], args: Sequence[Any], timeout: timedelta) -> Any:
    """Run a function in this process as one of a job that torchrun started; see :func:`launch.launch`."""
    if int(os.environ["WORLD_SIZE"]) == 1:
        return main_func(*args)
    per_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    with _process_group(per_machine, local_rank, timeout, init_method="env://"):
        return main_func(*args)


def _worker(
    local_rank: int,
    main_func: Callable[..., Any],
    world_size: int,
    per_machine: int,
    machine_rank: int,
    dist_url: str,
    args: tuple[Any, ...],
    timeout: timedelta,
) -> None:
    rank = machine_rank * per_machine + local_rank
    with _process_group(
        per_machine, local_rank, timeout, init_method=dist_url, world_size=world_size, rank=rank
    ):
        main_func(*args)


@contextmanager
def _process_group(per_machine: int, local_rank: int, timeout: timedelta, **where: Any) -> Iterator[None]:
    """Be in the job's process group for the length of a ``with`` block."""
    has_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= per_machine
    if has_gpus:
        torch.cuda.set_device(local_rank)
    try:
        dist.init_process_group("nccl" if has_gpus else "gloo", timeout=timeout, **where)
    except Exception as error:
        raise LaunchError(
            f"The processes could not meet at {where['init_method']} ({_first_line(error)}): check that the "
            "address is reachable and no earlier job still holds the port."
        ) from error
    comm.create_local_process_group(per_machine)
    comm.synchronize()
    with explain_lost_rank():
        yield
        comm.synchronize()
    # Torch 2.6 destroys the group with the interpreter's lock held, and waits for gloo's threads, which need
    # that lock to let go of their last tensors: without a pause for them, one run in a few never ends.
    time.sleep(_GLOO_PAUSE)
    dist.destroy_process_group()


@contextmanager
def explain_lost_rank() -> Iterator[None]:
    """Turn the errors of talking to a dead rank into one sentence.

    Raises:
        LaunchError: if the block failed since another rank didn't answer.
    """
    try:
        yield
    except CardamageError:
        raise
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or any(words in str(error) for words in _LOST_PEER)
        if not lost or comm.get_world_size() == 1:
            raise
        raise LaunchError(
            f"Rank {comm.get_rank()} lost another rank of the job ({_first_line(error)}), so it ends: "
            "see that rank's lines, then go on with --resume."
        ) from error


def _first_line(error: BaseException) -> str:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return line[-120:].rstrip(". ")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
