"""Shared memory comes back when, and only when, nobody looks at it any more."""

from __future__ import annotations

import gc
import multiprocessing
from typing import Any

import pytest
import torch

from cardamage.data.build import build_detection_train_loader
from cardamage.data.loading import slabs


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "_own", [])
    monkeypatch.setattr(slabs, "_seen", {})


def _in_use(slab: slabs.Slab) -> bool:
    return bool(slab.memory[0])


def test_memory_is_used_again_when_the_last_view_is_gone() -> None:
    first = slabs.take(1000)
    first.values[:4] = torch.arange(4, dtype=torch.uint8)
    view = slabs.borrow(first)[1:4].view(3, 1)
    second = slabs.take(1000)
    assert second.number != first.number
    assert view.tolist() == [[1], [2], [3]]
    assert _in_use(first)
    del view
    assert not _in_use(first)
    assert slabs.take(2000).number == first.number
    assert len(slabs._own) == 2


def test_what_is_too_small_is_given_up() -> None:
    small, kept = slabs.take(10), slabs.take(10)
    slabs.borrow(small)
    large = slabs.take(3 * 2**20)
    assert len(large.values) >= 3 * 2**20
    assert [slab.number for slab in slabs._own] == [kept.number, large.number]
    slabs.borrow(large)
    slabs.borrow(kept)
    assert slabs.take(5).number == kept.number  # the least that fits


def _drop(values: Any, pipe: Any) -> None:
    """In a forked process: end its copies of the values."""
    values.clear()
    gc.collect()
    pipe.send(len(slabs._own))
    slabs.take(10)
    pipe.send(len(slabs._own))


def test_a_forked_process_releases_nothing() -> None:
    slab = slabs.take(10)
    held = [slabs.borrow(slab)]
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_drop, args=(held, there))
    process.start()
    assert here.recv() == 1
    assert here.recv() == 1  # one of its own, in place of its parent's
    process.join()
    assert _in_use(slab)
    held.clear()
    assert not _in_use(slab)


def fill(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "image": torch.full((3, 50, 60), record["image_id"], dtype=torch.uint8)}


@pytest.mark.parametrize("keep", [1, 30])
def test_batches_that_are_kept_keep_their_values(keep: int) -> None:
    records = [{"file_name": str(n), "image_id": n, "width": 60, "height": 50} for n in range(40)]
    loader = build_detection_train_loader(records, mapper=fill, total_batch_size=2, num_workers=2, seed=0)
    kept: list[Any] = []
    batches = iter(loader)
    for _ in range(30):
        kept = [*kept, next(batches)][-keep:]
        for sample in (sample for batch in kept for sample in batch):
            assert sample["image"].min() == sample["image"].max() == sample["image_id"]
    # Two workers with two batches ahead each, and what is held here.
    assert len(slabs._seen) <= 2 * 3 + keep
    batches.close()
    assert slabs._seen == {}
    assert kept[-1][0]["image"].max() == kept[-1][0]["image_id"]


def test_slabs_of_dead_processes_are_let_go() -> None:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    slab = slabs.take(10)
    slabs.borrow(slab._replace(worker=process.pid))
    slabs.borrow(slab._replace(number=5))
    assert [one.worker for one in slabs._seen.values()] == [slab.worker]
    slabs.forget([slab.worker])
    assert slabs._seen == {}
