"""Instances keep their fields in step."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from cardamage.structures import Boxes, Instances, PolygonMasks


def _three() -> Instances:
    masks = PolygonMasks([[[0, 0, i, 0, i, i]] for i in (1, 2, 3)])
    boxes = Boxes(torch.arange(12.0).view(3, 4))
    return Instances(
        (5, 6), boxes=boxes, scores=torch.tensor([0.1, 0.9, 0.5]), names=["a", "b", "c"], masks=masks
    )


def test_fields_are_attributes() -> None:
    instances = _three()
    assert instances.image_size == (5, 6)
    assert instances.has("boxes")
    assert not instances.has("classes")
    instances.classes = torch.zeros(3)
    assert set(instances.get_fields()) == {"boxes", "scores", "names", "masks", "classes"}
    instances.remove("classes")
    with pytest.raises(AttributeError, match="no field 'classes'"):
        _ = instances.classes
    with pytest.raises(KeyError):
        instances.get("classes")


def test_lengths_must_agree() -> None:
    instances = _three()
    with pytest.raises(ValueError, match="Field 'classes' has 2 entries, but there are 3 instances"):
        instances.classes = torch.zeros(2)


@pytest.mark.parametrize(
    ("item", "names"),
    [
        (0, ["a"]),
        (-1, ["c"]),
        (np.int64(1), ["b"]),
        (slice(1, None), ["b", "c"]),
        (torch.tensor([True, False, True]), ["a", "c"]),
        (torch.tensor([2, 0]), ["c", "a"]),
        (torch.tensor([], dtype=torch.int64), []),
        ([1, 1], ["b", "b"]),
    ],
)
def test_indexing_selects_in_every_field(item: object, names: list[str]) -> None:
    chosen = _three()[item]
    assert chosen.names == names
    assert len(chosen.boxes) == len(chosen.scores) == len(chosen.masks) == len(chosen) == len(names)


def test_index_out_of_range() -> None:
    with pytest.raises(IndexError, match="Instance 3 was asked for, but there are 3"):
        _three()[3]


def test_cat_joins_every_kind_of_field() -> None:
    joined = Instances.cat([_three(), _three()[:1]])
    assert joined.names == ["a", "b", "c", "a"]
    assert joined.boxes.tensor.shape == (4, 4)
    assert len(joined.masks) == 4
    with pytest.raises(ValueError, match="different sizes"):
        Instances.cat([_three(), Instances((1, 1), names=["x"])])
    with pytest.raises(ValueError, match="at least one"):
        Instances.cat([])
    with pytest.raises(ValueError, match="no `cat`"):
        Instances.cat([Instances((1, 1), odd={1: 2})] * 2)


def test_to_copy_pickle_and_text() -> None:
    instances = _three().to("cpu")
    for clone in (copy.deepcopy(instances), pickle.loads(pickle.dumps(instances))):
        assert torch.equal(clone.scores, instances.scores)
    assert str(instances).startswith("Instances(num_instances=3, image_height=5, image_width=6")
    assert "num_instances=0" in repr(Instances((1, 1)))


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="no length"):
        len(Instances((1, 1)))
    with pytest.raises(NotImplementedError, match="not iterable"):
        iter(_three())
