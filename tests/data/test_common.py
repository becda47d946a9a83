"""Dataset wrappers."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

from cardamage.data.common import (
    AspectRatioGroupedDataset,
    DatasetFromList,
    MapDataset,
    ToIterableDataset,
    aspect_groups,
    set_default_dataset_from_list_serialize_method,
)
from cardamage.errors import DataError


class Stream(IterableDataset[int]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.size))

    def __len__(self) -> int:
        return self.size


def even_or_none(item: int) -> int | None:
    return item if item % 2 == 0 else None


def nothing(item: int) -> None:
    return None


ITEMS: list[Any] = [{"a": 1}, [1, 2], "three", None, {"width": 3, "points": np.arange(4.0)}]


@pytest.mark.parametrize("serialize", [True, False, list])
def test_a_list_comes_out_as_it_went_in(serialize: Any) -> None:
    dataset = DatasetFromList(ITEMS, serialize=serialize)
    assert len(dataset) == 5
    assert [dataset[i] for i in range(4)] == ITEMS[:4]
    np.testing.assert_array_equal(dataset[-1]["points"], np.arange(4.0))
    assert [len(str(item)) for item in dataset] == [len(str(item)) for item in ITEMS]
    with pytest.raises(IndexError):
        dataset[5]


@pytest.mark.parametrize("serialize", [True, False])
def test_changing_an_item_leaves_the_list_alone(serialize: bool) -> None:
    dataset = DatasetFromList(ITEMS, serialize=serialize)
    dataset[0]["a"] = 2
    assert dataset[0] == {"a": 1}
    shared = DatasetFromList(ITEMS, copy=False, serialize=False)
    assert shared[0] is ITEMS[0]


def test_an_empty_list_is_an_empty_dataset() -> None:
    assert len(DatasetFromList([])) == 0


def test_serialize_must_be_a_bool_or_function() -> None:
    with pytest.raises(TypeError, match="serialize must be"):
        DatasetFromList([], serialize=3)  # type: ignore[arg-type]


def test_groups_are_wide_or_not() -> None:
    sizes = [(2, 1), (1, 2), (1, 1)]
    groups = aspect_groups([{"width": w, "height": h} for w, h in sizes])
    assert groups is not None
    assert groups.tolist() == [0, 1, 1]
    assert aspect_groups([{"width": 1, "height": 1}, {"width": 1}]) is None
    assert aspect_groups([1]) is None


def test_a_mapped_item_of_none_is_replaced_by_another() -> None:
    dataset = MapDataset(DatasetFromList(list(range(10))), even_or_none)
    random.seed(0)
    drawn = {dataset[3] for _ in range(200)}
    assert drawn == {0, 2, 4, 6, 8}
    assert [dataset[i] for i in (0, 2, 8)] == [0, 2, 8]
    assert len(dataset) == 10


def test_a_mapper_that_skips_everything_is_an_error() -> None:
    with pytest.raises(DataError, match="skipped all 10 samples"):
        MapDataset(list(range(10)), nothing)[0]


def test_an_iterable_stays_iterable_and_skips() -> None:
    dataset = MapDataset(Stream(5), even_or_none)
    assert isinstance(dataset, IterableDataset)
    assert list(dataset) == [0, 2, 4]
    assert len(dataset) == 5


def test_map_datasets_can_be_pickled() -> None:
    for source in (DatasetFromList(list(range(4))), Stream(4)):
        copied = pickle.loads(pickle.dumps(MapDataset(source, even_or_none)))
        assert len(copied) == 4
    assert copied is not None
    assert list(copied) == [0, 2]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("chunk", [1, 4])
def test_workers_share_the_indices_out(workers: int, chunk: int) -> None:
    stream = ToIterableDataset(list(range(100, 123)), SequentialSampler(range(23)), shard_chunk_size=chunk)
    assert len(stream) == 23
    got = list(DataLoader(stream, batch_size=None, num_workers=workers))
    assert sorted(got) == list(range(100, 123))
    batches = [b.tolist() for b in DataLoader(stream, batch_size=chunk, num_workers=workers)]
    if 23 % chunk == 0 or workers < 2:
        assert sum(batches, []) == list(range(100, 123))  # whole chunks keep the sampler's order


def test_a_stream_needs_indices() -> None:
    with pytest.raises(TypeError, match="by index"):
        ToIterableDataset(Stream(3), SequentialSampler(range(3)))
    with pytest.raises(TypeError, match="by index"):
        ToIterableDataset([1], [0])


def test_mapped_samples_are_grouped_by_shape() -> None:
    shapes = [(2, 1), (1, 2), (3, 1), (1, 1), (1, 5), (5, 1)]
    samples = [{"width": w, "height": h, "n": n} for n, (w, h) in enumerate(shapes)]
    batches = [[sample["n"] for sample in batch] for batch in AspectRatioGroupedDataset(samples, 2)]
    assert batches == [[0, 2], [1, 3]]


def test_unfinished_batches_wait_for_the_next_iteration() -> None:
    grouped = AspectRatioGroupedDataset([{"width": 2, "height": 1}, {"width": 1, "height": 2}] * 2, 3)
    assert list(grouped) == []
    assert [len(bucket) for bucket in grouped._buckets] == [2, 2]
    assert [len(batch) for batch in grouped] == [3, 3]
    grouped = AspectRatioGroupedDataset([{"width": 2, "height": 1}] * 3, 2)
    assert len(next(iter(grouped))) == 2
    assert grouped._buckets == [[]]


def test_the_storage_of_lists_can_be_set_for_a_while() -> None:
    with set_default_dataset_from_list_serialize_method(tuple):
        assert isinstance(DatasetFromList([1, 2])._lst, tuple)
        assert DatasetFromList([1, 2], serialize=False)._lst == [1, 2]
    assert not isinstance(DatasetFromList([1, 2])._lst, tuple)


def test_a_mapper_that_pickle_can_not_send_needs_cloudpickle() -> None:
    pytest.importorskip("cloudpickle")
    copied = pickle.loads(pickle.dumps(MapDataset(DatasetFromList([1, 2, 3]), lambda x: 2 * x)))
    assert [copied[i] for i in range(3)] == [2, 4, 6]
