"""Norms by name, and the one over all processes against one process that sees all pictures."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from cardamage.layers import NaiveSyncBatchNorm, get_norm
from cardamage.layers.batch_norm import LayerNorm

CHANNELS, SIZE = 3, (5, 4)
CASES = [("", (2, 2)), ("N", (1, 3)), ("N", (0, 2)), ("N", (2, 2))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pictures(count: int) -> torch.Tensor:
    """Draw pictures that differ in mean and spread, the same ones on every process."""
    generator = torch.Generator().manual_seed(7)
    return (
        torch.randn(count, CHANNELS, *SIZE, generator=generator) * 3
        + torch.arange(count)[:, None, None, None]
    )


def _train(norm: nn.BatchNorm2d, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    pictures = pictures.clone().requires_grad_()
    with torch.no_grad():
        assert norm.weight is not None
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([0.5, 0.0, 1.0]))
    out = norm(pictures)
    (out**3).sum().backward()
    assert pictures.grad is not None
    assert norm.weight.grad is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return {
        "out": out.detach(),
        "input_grad": pictures.grad,
        "weight_grad": norm.weight.grad,
        "mean": norm.running_mean,
        "var": norm.running_var,
    }


def _worker(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = []
    for mode, counts in CASES:
        start = sum(counts[:rank])
        pictures = _pictures(sum(counts))[start : start + counts[rank]]
        found.append(_train(NaiveSyncBatchNorm(CHANNELS, stats_mode=mode), pictures))
    with pytest.raises(ValueError, match="use naiveSyncBN_N"):
        NaiveSyncBatchNorm(CHANNELS)(_pictures(0))
    torch.save(found, Path(folder) / f"{rank}.pt")
    # Torch 2.6 may never end where gloo's threads still hold tensors: see engine/launching.py.
    time.sleep(0.3)
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(_free_port(), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for (_, counts), *found in zip(CASES, first, second, strict=True):
        expected = _train(nn.BatchNorm2d(CHANNELS), _pictures(sum(counts)))
        joined = {name: torch.cat([f[name] for f in found]) for name in ("out", "input_grad")}
        joined["weight_grad"] = found[0]["weight_grad"] + found[1]["weight_grad"]
        for name, value in joined.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-4)
        # torch's running variance is the unbiased one.
        values = sum(counts) * SIZE[0] * SIZE[1]
        biased = 0.9 + (expected["var"] - 0.9) * (values - 1) / values
        for one in found:
            torch.testing.assert_close(one["mean"], expected["mean"])
            torch.testing.assert_close(one["var"], biased, rtol=1e-4, atol=1e-4)


def test_one_process_is_a_plain_batch_norm() -> None:
    norm, plain = NaiveSyncBatchNorm(CHANNELS), nn.BatchNorm2d(CHANNELS)
    for mode in (True, False):
        assert torch.equal(norm.train(mode)(_pictures(2)), plain.train(mode)(_pictures(2)))
    assert norm.state_dict().keys() == plain.state_dict().keys()
    with pytest.raises(ValueError, match="stats_mode of NaiveSyncBatchNorm is '' or 'N'"):
        NaiveSyncBatchNorm(CHANNELS, stats_mode="mean")


def test_names_of_synchronized_norms() -> None:
    by_pictures = get_norm("naiveSyncBN_N", 4)
    assert isinstance(by_pictures, NaiveSyncBatchNorm)
    assert by_pictures._stats_mode == "N"
    equally = get_norm("naiveSyncBN", 4)
    assert isinstance(equally, NaiveSyncBatchNorm)
    assert equally._stats_mode == ""
    assert isinstance(get_norm("nnSyncBN", 4), nn.SyncBatchNorm)
    assert isinstance(get_norm("LN", 4), LayerNorm)
