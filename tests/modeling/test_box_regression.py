from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cardamage.errors import ConfigValueError
from cardamage.modeling.box_regression import Box2BoxTransform, Box2BoxTransformLinear, box_regression_loss


def _boxes(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    corner = rng.uniform(0, 50, (*shape, 2))
    return torch.from_numpy(np.concatenate([corner, corner + rng.uniform(1, 60, (*shape, 2))], axis=-1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(0,), (1,), (4, 5)])
def test_deltas_against_the_definition_and_back(seed: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    source, target = _boxes(rng, *shape), _boxes(rng, *shape)
    transform = Box2BoxTransform((10.0, 5.0, 2.0, 4.0))
    deltas = transform.get_deltas(source, target)
    for s, t, d in zip(source.view(-1, 4), target.view(-1, 4), deltas.view(-1, 4), strict=True):
        w, h = s[2] - s[0], s[3] - s[1]
        expected = [
            10 * ((t[0] + t[2]) / 2 - (s[0] + s[2]) / 2) / w,
            5 * ((t[1] + t[3]) / 2 - (s[1] + s[3]) / 2) / h,
            2 * math.log((t[2] - t[0]) / w),
            4 * math.log((t[3] - t[1]) / h),
        ]
        np.testing.assert_allclose(d.numpy(), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(transform.apply_deltas(deltas, source), target)
    float32 = transform.apply_deltas(deltas.float(), source.float())
    torch.testing.assert_close(float32.double(), target, rtol=1e-4, atol=1e-3)


def test_growth_is_clamped_and_classes_are_separate() -> None:
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    box = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    deltas = torch.tensor([[0.0, 0.0, 100.0, 100.0, 0.5, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[-492.0, -492.0, 508.0, 508.0, 8.0, 0.0, 24.0, 16.0]])
    torch.testing.assert_close(transform.apply_deltas(deltas, box), expected)
    assert transform.apply_deltas(deltas.bfloat16(), box).dtype == torch.float32


@pytest.mark.parametrize("normalize", [False, True])
def test_linear_transform_and_back(normalize: bool) -> None:
    rng = np.random.default_rng(0)
    target = _boxes(rng, 6)
    center = (target[:, :2] + target[:, 2:]) / 2
    source = torch.cat([center - 4, center + 4], dim=1)
    transform = Box2BoxTransformLinear(normalize)
    deltas = transform.get_deltas(source, target)
    assert (deltas > 0).all()
    torch.testing.assert_close(transform.apply_deltas(deltas, source), target)


@pytest.mark.parametrize("kind", ["smooth_l1", "l1", "iou", "giou", "diou", "ciou"])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_background_rows_may_hold_anything(kind: str, beta: float) -> None:
    rng = np.random.default_rng(1)
    source, target = _boxes(rng, 4).float(), _boxes(rng, 4).float()
    deltas = torch.from_numpy(rng.normal(0, 0.3, (4, 4))).float().requires_grad_()
    foreground = torch.tensor([True, False, True, False])
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    alone = box_regression_loss(
        transform,
        source[foreground],
        deltas[foreground],
        target[foreground],
        foreground[foreground],
        kind,
        beta,
    )
    (expected,) = torch.autograd.grad(alone, deltas)
    for rubbish in (0.0, float("nan"), float("inf")):
        dirty_source, dirty_target = source.clone(), target.clone()
        dirty_source[~foreground] = rubbish
        dirty_target[~foreground] = rubbish
        loss = box_regression_loss(transform, dirty_source, deltas, dirty_target, foreground, kind, beta)
        torch.testing.assert_close(loss, alone)
        torch.testing.assert_close(torch.autograd.grad(loss, deltas)[0], expected)


def test_smooth_l1_in_closed_form() -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    deltas = torch.tensor([[0.1, -0.2, 1.0, -2.0]])
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    used = torch.tensor([True])
    assert box_regression_loss(transform, box, deltas, box, used).item() == pytest.approx(3.3)
    smooth = box_regression_loss(transform, box, deltas, box, used, beta=0.5).item()
    assert smooth == pytest.approx(0.1**2 + 0.2**2 + (1.0 - 0.25) + (2.0 - 0.25))
    assert box_regression_loss(transform, box, deltas, box, used, "l1", beta=0.5).item() == pytest.approx(3.3)
    with pytest.raises(ConfigValueError, match="BBOX_REG_LOSS_TYPE"):
        box_regression_loss(transform, box, deltas, box, used, kind="l3")
