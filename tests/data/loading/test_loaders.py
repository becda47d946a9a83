"""Loaders: the same batches for any number of workers, any first batch, and errors that stay readable."""

from __future__ import annotations

import itertools
import multiprocessing
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, RandomSampler, Sampler, SequentialSampler

from cardamage.data.build import (
    build_batch_data_loader,
    build_detection_test_loader,
    build_detection_train_loader,
)
from cardamage.data.loading.loaders import StreamLoader, TrainLoader
from cardamage.data.samplers import TrainingSampler
from cardamage.errors import ConfigValueError, DataError

SIZES = [(30, 20), (20, 30), (25, 25), (40, 10), (10, 40)]
RECORDS = [
    {"file_name": f"{n}.png", "image_id": n, "width": SIZES[n % 5][0], "height": SIZES[n % 5][1]}
    for n in range(23)
]


def noisy(record: dict[str, Any]) -> dict[str, Any]:
    """A mapper that draws from every generator."""
    drawn = torch.tensor([np.random.rand(), random.random(), torch.rand(()).item()])
    return {**record, "drawn": drawn}


def picky(record: dict[str, Any]) -> dict[str, Any] | None:
    return None if record["image_id"] % 3 else noisy(record)


def broken(record: dict[str, Any]) -> dict[str, Any]:
    if record["image_id"] == 4:
        raise DataError("The image 4.png is cut short; copy it again.")
    return record


class Indexed(Dataset[dict[str, Any]]):
    """A user's own dataset, which does not tell sizes beforehand."""

    def __len__(self) -> int:
        return len(RECORDS)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return RECORDS[index]


class Endless(IterableDataset[dict[str, Any]]):
    def __iter__(self) -> Iterator[dict[str, Any]]:
        return itertools.cycle(RECORDS)


def _train(mapper: Any = noisy, **kwargs: Any) -> Any:
    kwargs = {"dataset": RECORDS, "total_batch_size": 4, "seed": 3, **kwargs}
    return build_detection_train_loader(mapper=mapper, **kwargs)


def _flat(batches: list[Any]) -> list[list[tuple[Any, ...]]]:
    return [[(s["image_id"], *s["drawn"].tolist()) for s in batch] for batch in batches]


def _first(loader: Any, count: int) -> Any:
    return _flat(list(itertools.islice(loader, count)))


@pytest.mark.parametrize("mapper", [noisy, picky])
@pytest.mark.parametrize("grouping", [True, False])
def test_batches_do_not_depend_on_workers(grouping: bool, mapper: Any) -> None:
    batches = [
        _first(_train(mapper, aspect_ratio_grouping=grouping, num_workers=workers), 12)
        for workers in (0, 1, 2)
    ]
    assert batches[0] == batches[1] == batches[2]
    assert len({sample[1:] for batch in batches[0] for sample in batch}) == 48  # each sample draws its own


@pytest.mark.parametrize("grouping", [True, False])
def test_batches_are_the_sampler_stream_in_groups(grouping: bool) -> None:
    stream = iter(TrainingSampler(23, seed=3))
    wanted: list[list[int]] = []
    buckets: dict[bool, list[int]] = {}
    while len(wanted) < 10:
        index = next(stream)
        record = RECORDS[index]
        bucket = buckets.setdefault(grouping and record["width"] > record["height"], [])
        bucket.append(index)
        if len(bucket) == 4:
            wanted.append(bucket[:])
            bucket.clear()
    got = _first(_train(aspect_ratio_grouping=grouping), 10)
    assert [[sample[0] for sample in batch] for batch in got] == wanted


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("grouping", [True, False])
@pytest.mark.parametrize("begin", ["start_batch", "skip", "load_state_dict"])
def test_resuming_gives_the_batches_that_would_have_come(begin: str, grouping: bool, workers: int) -> None:
    whole = _train(aspect_ratio_grouping=grouping)
    wanted = _first(whole, 13)
    assert whole.state_dict() == {"batches": 13}
    options = {"aspect_ratio_grouping": grouping, "num_workers": workers}
    if begin == "start_batch":
        rest = _train(start_batch=7, **options)
    else:
        rest = _train(**options)
        rest.skip(7) if begin == "skip" else rest.load_state_dict({"batches": 7})
    assert rest.state_dict() == {"batches": 7}
    assert _first(rest, 6) == wanted[7:]
    assert rest.state_dict() == {"batches": 13}


def test_a_new_pass_begins_where_the_loader_was_told_to() -> None:
    loader = _train(start_batch=2)
    assert _first(loader, 3) == _first(loader, 3)


def test_states_are_checked() -> None:
    with pytest.raises(ValueError, match="before its first batch"):
        _train().skip(-1)
    with pytest.raises(DataError, match="needs 'batches'"):
        _train().load_state_dict({"epoch": 3})


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_step_keeps_its_own_random_state(workers: int) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    wanted = torch.rand(3).tolist(), np.random.rand(3).tolist()
    torch.manual_seed(0)
    np.random.seed(0)
    _first(_train(num_workers=workers), 3)
    for _ in build_detection_test_loader(RECORDS, mapper=noisy, num_workers=workers):
        pass
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist()) == wanted


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("grouping", [True, False])
@pytest.mark.parametrize("kind", ["indexed", "list", "endless", "test"])
def test_a_data_error_arrives_as_its_sentence(kind: str, grouping: bool, workers: int) -> None:
    if kind == "test":
        loader = build_detection_test_loader(RECORDS, mapper=broken, num_workers=workers)
    else:
        dataset: Any = {"indexed": Indexed(), "list": RECORDS, "endless": Endless()}[kind]
        loader = _train(broken, dataset=dataset, aspect_ratio_grouping=grouping, num_workers=workers)
    with pytest.raises(DataError) as caught:
        for _ in itertools.islice(loader, 30):
            pass
    assert str(caught.value) == "The image 4.png is cut short; copy it again."
    assert not multiprocessing.active_children()  # though the error still holds its traceback


class Backwards(Sampler[int]):
    """A user's own endless sampler of plain integers."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from reversed(range(23))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_users_own_sampler_works(workers: int) -> None:
    loader = _train(sampler=Backwards(), aspect_ratio_grouping=False, num_workers=workers)
    got = _first(loader, 6)
    assert [s[0] for b in got for s in b] == [*range(22, -1, -1), 22]
    assert got[0][0][1:] != got[5][3][1:]  # the same image, augmented anew


def test_a_finite_sampler_ends_and_may_keep_its_last_batch() -> None:
    loader = _train(sampler=SequentialSampler(range(23)), aspect_ratio_grouping=False)
    assert [len(batch) for batch in loader] == [4] * 5
    assert len(loader) == 5
    data: Any = [noisy(record) for record in RECORDS]
    kept = build_batch_data_loader(data, SequentialSampler(data), 4, drop_last=False)
    assert [len(batch) for batch in kept] == [4] * 5 + [3]
    with pytest.raises(ConfigValueError, match="drop_last must be True"):
        build_batch_data_loader(data, SequentialSampler(data), 4, aspect_ratio_grouping=True, drop_last=False)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [Indexed, Endless])
@pytest.mark.parametrize("grouping", [True, False])
def test_streams_are_batched_and_grouped_too(grouping: bool, kind: Any, workers: int) -> None:
    loader = _train(dataset=kind(), aspect_ratio_grouping=grouping, num_workers=workers)
    assert isinstance(loader, StreamLoader) == (kind is Endless or grouping)
    batches = list(itertools.islice(loader, 8))
    assert all(len(batch) == 4 for batch in batches)
    if grouping:
        assert all(len({s["width"] > s["height"] for s in batch}) == 1 for batch in batches)
    if workers == 0:
        loader.skip(3)
        ids = [[s["image_id"] for s in batch] for batch in itertools.islice(loader, 5)]
        assert ids == [[s["image_id"] for s in batch] for batch in batches[3:]]


@pytest.mark.parametrize("grouping", [True, False])
@pytest.mark.parametrize("dataset", [RECORDS, Endless()])
def test_a_collate_function_makes_the_batch(dataset: Any, grouping: bool) -> None:
    loader = _train(dataset=dataset, aspect_ratio_grouping=grouping, collate_fn=len)
    assert list(itertools.islice(loader, 3)) == [4, 4, 4]


def test_an_iterable_has_no_sampler_and_an_index_has_one() -> None:
    with pytest.raises(TypeError, match="must be None"):
        _train(dataset=Endless(), sampler=TrainingSampler(4))
    with pytest.raises(TypeError, match="must be None"):
        build_detection_test_loader(Endless(), mapper=None, sampler=TrainingSampler(4))
    with pytest.raises(TypeError, match="torch Sampler; got range"):
        _train(sampler=range(4))


@pytest.mark.parametrize(("total", "single"), [(0, None), (-4, None), (None, None), (4, 4)])
def test_batch_sizes_are_checked(total: int | None, single: int | None) -> None:
    with pytest.raises(ConfigValueError, match="batch"):
        _train(total_batch_size=total, single_gpu_batch_size=single)


@pytest.mark.parametrize("workers", [0, 2])
def test_inference_goes_once_through_everything(workers: int) -> None:
    loader = build_detection_test_loader(RECORDS, mapper=noisy, num_workers=workers)
    assert len(loader) == 23
    assert [[s["image_id"] for s in batch] for batch in loader] == [[n] for n in range(23)]
    pairs = build_detection_test_loader(RECORDS, mapper=None, batch_size=2, sampler=RandomSampler(range(23)))
    assert sorted(s["image_id"] for batch in pairs for s in batch) == list(range(23))
    assert len(pairs) == 12


def test_an_abandoned_loader_ends_its_workers() -> None:
    before = set(multiprocessing.active_children())
    stream = iter(_train(num_workers=2))
    next(stream)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    del stream
    for process in started:
        process.join(timeout=20)
        assert not process.is_alive()
    for _ in _train(num_workers=2):
        break
    assert set(multiprocessing.active_children()) <= before


def test_spawned_workers_give_the_same() -> None:
    loader = _train(num_workers=1, multiprocessing_context="spawn")
    assert isinstance(loader, TrainLoader)
    assert _first(loader, 3) == _first(_train(), 3)


def test_many_workers_are_nothing_to_warn_of(recwarn: pytest.WarningsRecorder) -> None:
    next(iter(_train(num_workers=(multiprocessing.cpu_count() or 1) + 1)))
    assert [str(warning.message) for warning in recwarn] == []
