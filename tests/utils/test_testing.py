"""The helpers for tests tell apart what they should."""

from __future__ import annotations

import pytest
import torch

from cardamage.errors import AbsentError
from cardamage.structures import Boxes, Instances, ROIMasks
from cardamage.utils import testing
from cardamage.utils.testing import (
    assert_instances_allclose,
    get_model_no_weights,
    random_boxes,
    reload_script_model,
)


def _instances(shift: float = 0.0, **changes: object) -> Instances:
    fields: dict[str, object] = {
        "boxes": Boxes(torch.arange(8.0).view(2, 4) * 50 + shift),
        "scores": torch.tensor([10.0, 20.0]) + shift,
        "classes": torch.tensor([1, 2]),
        "masks": ROIMasks(torch.zeros(2, 3, 3)),
    }
    return Instances((4, 5), **{**fields, **changes})


def test_random_boxes_lie_inside_and_have_sides() -> None:
    boxes = random_boxes(1000, 30)
    assert boxes.shape == (1000, 4)
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 1 - 1e-5
    assert boxes.max() <= 30
    assert boxes.min() >= 1
    assert random_boxes(0).shape == (0, 4)


@pytest.mark.parametrize("same", [_instances(), _instances(1e-5), _instances(5e-5)])
def test_equal_instances_pass(same: Instances) -> None:
    assert_instances_allclose(_instances(), same)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (_instances(0.1), "field 'boxes'"),
        (_instances(scores=torch.tensor([10.0, 20.1])), "field 'scores'"),
        (_instances(classes=torch.tensor([1, 3])), "field 'classes'"),
        (_instances(masks=ROIMasks(torch.ones(2, 3, 3))), "field 'masks'"),
        (_instances(extra=torch.ones(2)), r"fields \["),
        (Instances((4, 6)), r"image sizes \(4, 5\) and \(4, 6\)"),
    ],
)
def test_different_instances_are_named(other: Instances, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^Traced: .*{message}"):
        assert_instances_allclose(_instances(), other, msg="Traced:")


def test_sizes_as_tensors_and_odd_fields() -> None:
    traced = Instances((torch.tensor(4), torch.tensor(5)), **_instances().get_fields())  # type: ignore[arg-type]
    assert_instances_allclose(_instances(), traced, size_as_tensor=True)
    assert_instances_allclose(_instances()[:0], _instances()[:0])
    odd = _instances(names=["a", "b"])
    with pytest.raises(ValueError, match="Field 'names' of type list can't be compared"):
        assert_instances_allclose(odd, odd)


def test_scripted_functions_are_reloaded() -> None:
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert reload_script_model(torch.jit.script(double))(torch.ones(2)).tolist() == [2, 2]


def test_a_zoo_config_becomes_a_model() -> None:
    model = get_model_no_weights("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")
    assert model.training
    assert "roi_heads.mask_head.deconv.weight" in model.state_dict()


def test_absent_helpers_say_so() -> None:
    with pytest.raises(AbsentError, match="LazyConfig"):
        testing.reload_lazy_config({})
