"""Who waits for whom, told from the extremes: a loader far slower than the model, and the other way round."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.data import build_detection_train_loader
from cardamage.engine import SimpleTrainer, hooks
from cardamage.engine.hooks.loading import _advice
from cardamage.engine.loader_wait import LoaderWait
from cardamage.utils.events import CommonMetricPrinter

Tiny = Callable[..., Any]


def slow(record: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.01)
    return fast(record)


def fast(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "x": torch.rand(4)}


class SlowModel(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, batch: Any) -> Any:
        time.sleep(0.05)
        return self.inner(batch)


def _train(tiny: Tiny, mapper: Any, steps: int, watch: hooks.LoaderWatch | None = None) -> Any:
    model, _, optimizer = tiny()
    records = [{"file_name": str(n), "width": 2, "height": 1} for n in range(7)]
    loader = build_detection_train_loader(records, mapper=mapper, total_batch_size=2, seed=0)
    batches: Any = loader if mapper is slow else itertools.cycle([next(iter(loader))])
    trainer = SimpleTrainer(model if mapper is slow else SlowModel(model), batches, optimizer)
    watch = watch or hooks.LoaderWatch(trainer.loader_wait, 0, period=3)
    watch._wait = trainer.loader_wait
    writer = hooks.PeriodicWriter([CommonMetricPrinter()], 3)
    trainer.register_hooks([hooks.IterationTimer(), watch, writer])
    trainer.train(0, steps)
    return trainer


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_slow_loader_is_named_once(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="cardamage")
    trainer = _train(tiny, slow, 10)
    (told,) = _warnings(caplog)
    assert "In the last 3 iterations the model waited for the data loader" in told
    assert "DATALOADER.NUM_WORKERS, now 0; there are" in told
    shares = trainer.storage.history("data_share").values()
    assert [iteration for _, iteration in shares] == [2, 5, 8, 9]
    assert all(0.5 < share <= 1 for share, _ in shares)
    lines = [r.getMessage() for r in caplog.records if r.name == "cardamage.utils.events"]
    assert any("  data_share: 9" in line or "  data_share: 8" in line for line in lines)


def test_a_fast_loader_is_not(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    trainer = _train(tiny, fast, 9)
    assert _warnings(caplog) == []
    assert max(share for share, _ in trainer.storage.history("data_share").values()) < 0.2


def test_the_first_period_and_rests_are_not_judged(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    _train(tiny, slow, 5)
    assert _warnings(caplog) == []


def test_it_is_said_again_for_another_setting_only(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    first = _train(tiny, slow, 6)
    state = first.state_dict()["hooks"]["LoaderWatch"]
    for workers in (0, 1):
        caplog.clear()
        watch = hooks.LoaderWatch(LoaderWait(torch.device("cpu")), workers, period=3)
        watch.load_state_dict(state)
        _train(tiny, slow, 6, watch)
        assert len(_warnings(caplog)) == workers
    assert hooks.LoaderWatch(LoaderWait(torch.device("cpu")), 0).state_dict() == {}


def test_advice_fits_the_machine() -> None:
    assert _advice(0.456, 20, 2, 8) == (
        "In the last 20 iterations the model waited for the data loader 46% of the time: raise "
        "DATALOADER.NUM_WORKERS, now 2; there are 8 cores for this process."
    )
    assert "takes all of the 2 cores: store the photos" in _advice(0.5, 20, 2, 2)
    assert hooks.loading._cores() <= (os.cpu_count() or 1)


def test_nothing_counted_is_nothing_told() -> None:
    wait = LoaderWait(torch.device("cpu"))
    assert wait.take() is None
    with wait.waiting():
        time.sleep(0.01)
    taken = wait.take()
    assert taken is not None
    assert taken >= 0.01
    assert wait.take() is None
    with pytest.raises(StopIteration), wait.waiting():
        raise StopIteration


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_busy_gpu_does_not_wait() -> None:
    wait = LoaderWait(torch.device("cuda"))
    torch.cuda.synchronize()
    with wait.waiting():
        time.sleep(0.05)
    torch.cuda.synchronize()
    idle = wait.take()
    torch.cuda._sleep(2**30)
    with wait.waiting():
        time.sleep(0.05)
    torch.cuda.synchronize()
    busy = wait.take()
    assert idle is not None
    assert busy is not None
    assert idle > 0.04 > busy
