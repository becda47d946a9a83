from __future__ import annotations

import pytest
import torch
from fvcore.nn import giou_loss
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss

from cardamage.modeling.losses import overlap_loss

REFERENCES = {"giou": giou_loss, "diou": distance_box_iou_loss, "ciou": complete_box_iou_loss}


def _boxes(generator: torch.Generator) -> torch.Tensor:
    low = torch.rand((60, 2), generator=generator, dtype=torch.float64) * 50
    return torch.cat([low, low + torch.rand((60, 2), generator=generator, dtype=torch.float64) * 40 + 0.5], 1)


@pytest.mark.parametrize("kind", list(REFERENCES))
def test_losses_and_gradients_equal_the_libraries(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    boxes, targets = _boxes(generator), _boxes(generator)
    targets[:5] = boxes[:5]
    targets[5] = boxes[5] + 100
    results = []
    for loss in (lambda a, b: overlap_loss(a, b, kind), lambda a, b: REFERENCES[kind](a, b)):
        leaf = boxes.clone().requires_grad_()
        value = loss(leaf, targets)
        value.sum().backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", list(REFERENCES))
def test_the_same_box_costs_nothing(kind: str) -> None:
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [3.0, 4.0, 50.0, 8.0]]])
    loss = overlap_loss(boxes, boxes, kind)
    assert loss.shape == (1, 2)
    assert loss.abs().max() < 1e-6
