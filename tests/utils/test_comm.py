"""Two real gloo processes talk to each other; one alone needs no group."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from cardamage.utils import comm


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _worker(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    assert comm.get_local_rank() == rank
    comm.create_local_process_group(2)
    sums = comm.reduce_dict({"b": torch.tensor(rank + 1.0), "a": torch.tensor(10.0)}, average=False)
    result = {
        "who": (comm.get_rank(), comm.get_world_size(), comm.is_main_process()),
        "local": (comm.get_local_rank(), comm.get_local_size()),
        "all": comm.all_gather({"rank": rank}),
        "one": comm.gather("x" * rank, dst=1),
        "mean": {k: v.item() for k, v in comm.reduce_dict({"loss": torch.tensor(rank * 2.0)}).items()},
        "sum": {k: v.item() for k, v in sums.items()},
        "seed": comm.shared_random_seed(),
    }
    comm.synchronize()
    torch.save(result, Path(folder) / f"{rank}.pt")
    with pytest.raises(ValueError, match="2 processes can't be split into machines of 3"):
        comm.create_local_process_group(3)
    dist.destroy_process_group()


def test_two_processes(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(_free_port(), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["who"] == (0, 2, True)
    assert second["who"] == (1, 2, False)
    assert (first["local"], second["local"]) == ((0, 2), (1, 2))
    assert first["all"] == second["all"] == [{"rank": 0}, {"rank": 1}]
    assert (first["one"], second["one"]) == ([], ["", "x"])
    assert first["mean"] == {"loss": 1.0}
    assert first["sum"] == {"a": 20.0, "b": 3.0}
    assert first["seed"] == second["seed"]


def test_one_process_needs_no_group() -> None:
    assert (comm.get_rank(), comm.get_world_size(), comm.get_local_rank(), comm.get_local_size()) == (
        0,
        1,
        0,
        1,
    )
    assert comm.is_main_process()
    assert comm.all_gather(3) == comm.gather(3) == [3]
    assert comm.reduce_dict({"loss": torch.tensor(2.0)})["loss"].item() == 2
    assert 0 <= comm.shared_random_seed() < 2**31
    comm.synchronize()
    with pytest.raises(RuntimeError, match="call create_local_process_group first"):
        comm.get_local_process_group()
