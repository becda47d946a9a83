"""What doesn't fit on a GPU is tried again, the last time with everything on the CPU."""

from __future__ import annotations

import logging

import pytest
import torch

from cardamage.structures import Boxes
from cardamage.utils.memory import retry_if_cuda_oom


class OnGpu:
    """Looks like a tensor on a GPU, on machines that have none."""

    device = torch.device("cuda")

    def to(self, device: str) -> str:
        return f"moved to {device}"


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_attempts(failures: int, caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    def greedy(a: object, *, b: object, c: object) -> object:
        seen.append((a, b, c))
        if len(seen) <= failures:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return "done"

    big, boxes = OnGpu(), Boxes(torch.zeros(1, 4))
    with caplog.at_level(logging.WARNING, "cardamage"):
        assert retry_if_cuda_oom(greedy)(big, b=boxes, c=3) == "done"
    assert len(seen) == failures + 1
    assert seen[0] == (big, boxes, 3)
    assert seen[-1] == (("moved to cpu" if failures == 2 else big), boxes, 3)
    assert ("greedy" in caplog.text) == (failures == 2)


def test_other_errors_and_a_full_cpu_are_not_hidden() -> None:
    def broken() -> None:
        raise RuntimeError("shapes differ")

    def always_full() -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(RuntimeError, match="shapes differ"):
        retry_if_cuda_oom(broken)()
    with pytest.raises(torch.cuda.OutOfMemoryError):
        retry_if_cuda_oom(always_full)()
    assert retry_if_cuda_oom(broken).__name__ == "broken"
