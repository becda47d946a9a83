from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fvcore.nn import giou_loss
from torchvision.ops import box_iou, complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from cardamage.modeling.losses import box_quality, overlap_loss

KINDS = ["iou", "giou", "diou", "ciou"]
LIBRARIES = {
    "iou": lambda a, b: 1 - box_iou(a, b).diagonal(),
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 50, (count, 2))
    return np.concatenate([low, low + rng.uniform(0.5, 40, (count, 2))], axis=1)


def _pairs(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes of all kinds of overlap: the same, apart, touching, one within the other."""
    boxes, targets = _boxes(rng, count), _boxes(rng, count)
    if count > 8:
        targets[:3] = boxes[:3]
        targets[3] = boxes[3] + 100
        targets[4] = [boxes[4, 2], boxes[4, 1], boxes[4, 2] + 5, boxes[4, 3]]
        targets[5] = boxes[5] + [1, 1, 2, 3]
        targets[6] = boxes[6] + [-0.5, -1, 2, 3]
    return torch.from_numpy(boxes), torch.from_numpy(targets)


def _reference(kind: str, a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    sizes = [(x[2] - x[0], x[3] - x[1]) for x in (a, b)]
    union = sizes[0][0] * sizes[0][1] + sizes[1][0] * sizes[1][1] - inter
    iou = inter / union
    outer = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "giou":
        area = outer[0] * outer[1]
        return 1 - iou + (area - union) / area
    loss = 1 - iou
    if kind in ("diou", "ciou"):
        centres = [((x[0] + x[2]) / 2, (x[1] + x[3]) / 2) for x in (a, b)]
        loss += math.dist(*centres) ** 2 / (outer[0] ** 2 + outer[1] ** 2)
    if kind == "ciou":
        shape = (
            4
            / math.pi**2
            * (math.atan(sizes[0][0] / sizes[0][1]) - math.atan(sizes[1][0] / sizes[1][1])) ** 2
        )
        loss += 0 if shape == 0 else shape**2 / (1 - iou + shape)
    return loss


@pytest.mark.parametrize("count", [0, 1, 60, 10_000])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_against_plain_loops(rng: np.random.Generator, kind: str, count: int) -> None:
    boxes, targets = _pairs(rng, count)
    expected = [_reference(kind, a, b) for a, b in zip(boxes.tolist(), targets.tolist(), strict=True)]
    found = overlap_loss(boxes, targets, kind)
    assert found.shape == (count,)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_equal_the_libraries(rng: np.random.Generator, kind: str) -> None:
    boxes, targets = _pairs(rng, 60)
    results = []
    for loss in (lambda a, b: overlap_loss(a, b, kind), LIBRARIES[kind]):
        leaf = boxes.clone().requires_grad_()
        value = loss(leaf, targets)
        value.sum().backward()
        results.append((value.detach(), leaf.grad))
    # Where boxes touch or are the same there is no one gradient.
    smooth = torch.ones(60, dtype=torch.bool)
    smooth[:5] = kind != "iou"
    tolerance = 1e-6 if kind == "iou" else 1e-9
    torch.testing.assert_close(results[0][0], results[1][0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(results[0][1][smooth], results[1][1][smooth], rtol=tolerance, atol=tolerance)
    if kind == "giou":
        torch.testing.assert_close(results[0][0], giou_loss(boxes, targets), rtol=1e-9, atol=1e-9)


# CIoU's weight of the shapes has no gradient on purpose.
@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_gradients(rng: np.random.Generator, kind: str) -> None:
    boxes = torch.from_numpy(_boxes(rng, 6)).requires_grad_()
    targets = boxes.detach() + torch.from_numpy(rng.uniform(0.1, 3, (6, 4)))
    assert torch.autograd.gradcheck(lambda x: overlap_loss(x, targets, kind), boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_box_costs_nothing(kind: str) -> None:
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [3.0, 4.0, 50.0, 8.0]]])
    loss = overlap_loss(boxes, boxes, kind)
    assert loss.shape == (1, 2)
    assert loss.abs().max() < 1e-6


def test_quality_is_the_overlap_of_foreground(rng: np.random.Generator) -> None:
    boxes, targets = _pairs(rng, 40)
    foreground = torch.from_numpy(rng.random(40) < 0.5)
    boxes[~foreground] = float("nan")
    found = box_quality(boxes.requires_grad_(), targets, foreground)
    expected = box_iou(boxes.detach(), targets).diagonal()
    torch.testing.assert_close(found[foreground], expected[foreground], rtol=0, atol=1e-6)
    assert (found[~foreground] == 0).all()
    assert not found.requires_grad
