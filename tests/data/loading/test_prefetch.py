"""Batches on a device, copied ahead: the same ones in the same order, and errors in their place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset

from cardamage.data.build import build_detection_test_loader, build_detection_train_loader
from cardamage.data.loading.parcel import Parcel
from cardamage.data.loading.prefetch import hand_out
from cardamage.errors import DataError

META = torch.device("meta")
RECORDS = [{"image_id": n, "file_name": f"{n}.png", "width": 8 - n % 2 * 4, "height": 6} for n in range(13)]


def read(record: dict[str, Any]) -> dict[str, Any]:
    if record["image_id"] == 40:
        raise DataError("The image 40.png is cut short; copy it again.")
    return {**record, "image": torch.full((3, 2, 2), record["image_id"]), "seen": torch.ones(1)}


def broken(record: dict[str, Any]) -> dict[str, Any]:
    return read({**record, "image_id": 40 if record["image_id"] == 4 else record["image_id"]})


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(RECORDS)


def _ids(batches: Any) -> list[list[int]]:
    return [[sample["image_id"] for sample in batch] for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("grouping", [False, True])
@pytest.mark.parametrize("kind", ["list", "stream"])
def test_the_same_batches_on_the_device(kind: str, grouping: bool, workers: int) -> None:
    dataset: Any = RECORDS if kind == "list" else Stream()
    options = {"total_batch_size": 2, "aspect_ratio_grouping": grouping, "num_workers": workers, "seed": 1}
    loaders = [build_detection_train_loader(dataset, mapper=read, **options) for _ in range(2)]
    wanted = list(itertools.islice(loaders[0], 5))
    loaders[1].prefetch_to(META)
    loaders[1].skip(2)
    found = list(itertools.islice(loaders[1], 3))
    assert _ids(found) == _ids(wanted[2:])
    assert loaders[1].state_dict() == {"batches": 5}  # what was copied ahead doesn't count
    assert {sample["image"].device for batch in found for sample in batch} == {META}
    assert {sample["seen"].device.type for batch in found for sample in batch} == {"cpu"}
    loaders[1].prefetch_to(None)
    assert {s["image"].device.type for s in next(iter(loaders[1]))} == {"cpu"}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_after_the_batches_before_it(workers: int) -> None:
    loader = build_detection_test_loader(RECORDS, mapper=broken, batch_size=2, num_workers=workers)
    loader.prefetch_to(META)
    batches = iter(loader)
    assert _ids([next(batches), next(batches)]) == [[0, 1], [2, 3]]
    with pytest.raises(DataError, match="40.png is cut short"):
        next(batches)


def test_one_batch_ahead_and_no_more() -> None:
    asked: list[int] = []

    def batches() -> Iterator[Any]:
        for number in range(4):
            asked.append(number)
            yield Parcel.pack([{"image": torch.ones(1), "image_id": number}])

    ahead = []
    for batch in hand_out(batches(), META):
        ahead.append(len(asked) - batch[0]["image_id"] - 1)
    assert ahead == [0, 1, 1, 0]
    assert list(hand_out(iter(()), META)) == []


def test_on_the_host_nothing_is_done_ahead() -> None:
    asked: list[int] = []
    batches = (asked.append(number) or [number] for number in range(3))  # type: ignore[func-returns-value]
    handed = hand_out(batches, torch.device("cpu"))
    assert [next(handed), list(asked)] == [[0], [0]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_on_a_gpu(workers: int, pinned: bool) -> None:
    options = {"mapper": read, "total_batch_size": 2, "num_workers": workers, "seed": 1}
    loader = build_detection_train_loader(RECORDS, pin_memory=pinned, **options)
    host = next(iter(loader))[0]["image"]
    assert host.is_pinned() == pinned
    loader.prefetch_to(torch.device("cuda"))
    for batch in itertools.islice(loader, 30):
        for sample in batch:
            assert sample["image"].is_cuda
            assert sample["image"].flatten().tolist() == [sample["image_id"]] * 12
            assert not sample["seen"].is_cuda
