"""Which device is taken, and that settings of the process are put back."""

from __future__ import annotations

import pytest
import torch

from cardamage.benchmark.device import BackendFlags, check_device, precision_of, timed
from cardamage.errors import ConfigValueError


def test_auto_is_a_gpu_only_where_there_is_one() -> None:
    assert check_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert check_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["mps", "gpu", "", "meta"])
def test_another_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigValueError, match="use cpu, cuda or cuda:NUMBER"):
        check_device(name)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(ConfigValueError, match=f"torch finds {count} GPUs: use --device cpu"):
        check_device(f"cuda:{count}")


def test_a_turn_is_as_many_runs_as_asked_for() -> None:
    runs: list[int] = []
    seconds = timed(lambda: runs.append(1), torch.device("cpu"), repeat=5)()
    assert len(runs) == 5
    assert seconds >= 0


def test_flags_hold_for_the_side_they_were_read_for() -> None:
    before = BackendFlags.now()
    try:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = not before.benchmark
        fast = BackendFlags.now()
        before.apply()
        assert BackendFlags.now() == before
        fast.apply()
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.benchmark is not before.benchmark
    finally:
        before.apply()


def test_precision_is_autocast_s_or_float32() -> None:
    ones = torch.ones(2, 2)
    for dtype, found in ((torch.bfloat16, torch.bfloat16), (None, torch.float32)):
        with precision_of(torch.device("cpu"), dtype):
            assert (ones @ ones).dtype is found
