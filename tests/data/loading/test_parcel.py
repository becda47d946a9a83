"""A batch comes out of a parcel as it went in, whatever it holds."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.data.loading.parcel import Parcel, pack_masks
from cardamage.structures import BitMasks, Boxes, Instances, PolygonMasks


def _sample(number: int, objects: int = 2, bitmasks: bool = False) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(number)
    height, width = 5 + number, 7
    corners = np.random.default_rng(number).uniform(0, 5, (objects, 8))
    masks: Any = PolygonMasks([[corner] for corner in corners])
    if bitmasks:
        masks = BitMasks(torch.rand(objects, height, width, generator=generator) < 0.5)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    boxes = Boxes(torch.rand(objects, 4, generator=generator))
    classes = torch.arange(objects)
    instances = Instances((height, width), gt_boxes=boxes, gt_classes=classes, gt_masks=masks)
    return {"file_name": f"{number}.jpg", "image": image, "instances": instances, "image_id": number}


def _assert_same(found: Any, wanted: Any) -> None:
    assert [sample["file_name"] for sample in found] == [sample["file_name"] for sample in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one["image"], other["image"])
        first, second = one["instances"], other["instances"]
        assert first.image_size == second.image_size
        assert torch.equal(first.gt_boxes.tensor, second.gt_boxes.tensor)
        assert torch.equal(first.gt_classes, second.gt_classes)
        size = second.image_size
        if isinstance(second.gt_masks, PolygonMasks):
            drawn = [BitMasks.from_polygon_masks(i.gt_masks, *size).tensor for i in (first, second)]
        else:
            drawn = [first.gt_masks.tensor, second.gt_masks.tensor]
        assert torch.equal(*drawn)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("bitmasks", [False, True])
def test_batches_come_back(bitmasks: bool, shared: bool) -> None:
    samples = [_sample(n, objects, bitmasks) for n, objects in enumerate((2, 0, 3))]
    parcel = Parcel.pack(
        pack_masks([_sample(n, objects, bitmasks) for n, objects in enumerate((2, 0, 3))]), shared
    )
    assert parcel.buffer.is_shared() == shared
    _assert_same(parcel.unpack(), samples)


def test_what_goes_to_the_device() -> None:
    """The meta device has no values, but tells where tensors are."""
    for bitmasks in (False, True):
        parcel = Parcel.pack(pack_masks([_sample(1, bitmasks=bitmasks), _sample(2, bitmasks=bitmasks)]))
        parcel.send(torch.device("meta"))
        for sample in parcel.unpack():
            instances = sample["instances"]
            masks = instances.gt_masks
            heavy = masks.tensor if bitmasks else masks.packed[0].edges
            assert {sample["image"].device.type, heavy.device.type} == {"meta"}
            assert {instances.gt_boxes.device.type, instances.gt_classes.device.type} == {"cpu"}
    assert sample["image"].shape == (3, 7, 7)


def test_a_batch_has_one_table_on_its_way_too() -> None:
    found = Parcel.pack(pack_masks([_sample(1), _sample(2, 3)])).unpack()
    first, second = (sample["instances"].gt_masks.packed for sample in found)
    assert first[0] is second[0]
    assert (first[1], second[1], len(first[0])) == (0, 2, 5)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_any_tensor_and_any_batch() -> None:
    twice = torch.arange(3)
    batch = {
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 4),
        "bool": torch.tensor([True, False]),
        "turned": torch.arange(6.0).view(2, 3).t(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "spread": torch.ones(1, 2).expand(3, 2),
        "complex": torch.tensor([1 + 2j]).conj(),
        "sparse": torch.eye(2).to_sparse(),
        "learned": torch.ones(2, requires_grad=True),
        "array": np.arange(4),
        "again": [twice, twice],
    }
    found = Parcel.pack(batch).unpack()
    for name in ("scalar", "empty", "bool", "turned", "half", "spread", "complex"):
        assert torch.equal(found[name], batch[name]), name  # type: ignore[arg-type]
        assert found[name].dtype == batch[name].dtype  # type: ignore[attr-defined]
    assert torch.equal(found["sparse"].to_dense(), torch.eye(2))
    assert found["learned"].requires_grad
    assert found["array"].tolist() == [0, 1, 2, 3]
    assert found["again"][0] is found["again"][1]
    assert Parcel.pack(None).unpack() is None


def test_boxes_do_not_hold_on_to_pictures() -> None:
    sample = Parcel.pack([{**_sample(1), "image": torch.zeros(3, 100, 100, dtype=torch.uint8)}]).unpack()[0]
    assert sample["instances"].gt_boxes.tensor.untyped_storage().nbytes() < 30000


def _send(pipe: Any) -> None:
    pipe.send(Parcel.pack(pack_masks([_sample(1), _sample(2)]), shared=True))
    pipe.recv()


def test_between_processes() -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_send, args=(there,))
    process.start()
    parcel = here.recv()
    here.send(None)
    process.join()
    assert process.exitcode == 0
    _assert_same(parcel.unpack(), [_sample(1), _sample(2)])


def test_custom_batches_are_left_alone() -> None:
    for batch in ({"image": torch.ones(2)}, [1, None, "a"], [{"instances": 3}], ()):
        assert pack_masks(batch) is batch
    mixed = [_sample(1), _sample(2, bitmasks=True), {"image": "no tensor"}]
    pack_masks(mixed)
    assert mixed[0]["instances"].gt_masks.packed is not None
