"""Detectron's pasting, and the padding and stretching that go with it."""

from __future__ import annotations

import pytest
import torch

from cardamage.layers import paste_masks_in_image
from cardamage.layers.mask_ops import pad_masks, paste_mask_in_image_old, scale_boxes


def test_boxes_cover_their_first_to_their_last_pixel() -> None:
    pasted = paste_mask_in_image_old(torch.ones(4, 4), torch.tensor([1.9, 2.2, 4.7, 3.1]), 6, 7, 0.5)
    assert pasted.dtype == torch.uint8
    assert pasted.nonzero().tolist() == [[y, x] for y in (2, 3) for x in (1, 2, 3, 4)]


def test_a_gradient_is_interpolated() -> None:
    mask = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    # Six pixels over two cells: cells have their centres at pixels 1 and 4, between them the value grows.
    grey = paste_mask_in_image_old(mask, torch.tensor([0.0, 0, 5, 5]), 6, 6, -1)
    assert grey[3].tolist() == [0, 0, 85, 170, 255, 255]
    assert paste_mask_in_image_old(mask, torch.tensor([0.0, 0, 5, 5]), 6, 6, 0.5)[3].tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    "box", [[-30.0, -30, -20, -20], [50, 50, 70, 70], [-30, 5, -20, 9], [0, 40, 10, 50], [3, 25, 3, 25]]
)
def test_boxes_outside_draw_nothing(box: list[float]) -> None:
    assert not paste_mask_in_image_old(torch.ones(3, 3), torch.tensor(box), 20, 30, 0.5).any()


def test_what_sticks_out_is_cut_off() -> None:
    mask = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    whole = paste_mask_in_image_old(mask, torch.tensor([10.0, 10, 29, 24]), 40, 40, 0.5)
    cut = paste_mask_in_image_old(mask, torch.tensor([-5.0, -4, 14, 10]), 6, 9, 0.5)
    assert torch.equal(cut, whole[14:20, 15:24])


def test_padding_and_scaling_keep_cells_in_place() -> None:
    masks = torch.rand(3, 14, 14, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[3.0, 4.0, 31.0, 32.0], [-5, 0, 9, 28], [10, 10, 11.4, 38]])
    padded, scale = pad_masks(masks, 2)
    assert scale == 18 / 14
    assert padded.shape == (3, 18, 18)
    assert torch.equal(padded[:, 2:-2, 2:-2], masks)
    assert padded.sum().item() == pytest.approx(masks.sum().item())
    scaled = scale_boxes(boxes, scale)
    torch.testing.assert_close(scaled[0], torch.tensor([-1.0, 0.0, 35.0, 36.0]))
    pasted, other = (paste_masks_in_image(m, b, (40, 40)) for m, b in ((masks, boxes), (padded, scaled)))
    assert (pasted != other).float().mean() < 1e-3


def test_new_and_old_pasting_agree_but_for_the_edges() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")
    disk = (1.2 - (x * x + y * y).sqrt()).clamp(0, 1)[None]
    box = torch.tensor([[20.3, 10.7, 130.2, 140.9]])
    new = paste_masks_in_image(disk, box, (150, 160))[0]
    padded, scale = pad_masks(disk, 1)
    old = paste_mask_in_image_old(padded[0], scale_boxes(box, scale)[0], 150, 160, 0.5).bool()
    assert (new & old).sum() / (new | old).sum() > 0.97
