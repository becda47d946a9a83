"""Images are padded at the right and bottom."""

from __future__ import annotations

import pytest
import torch

from cardamage.structures import ImageList


def test_padding_and_back() -> None:
    images = [torch.rand(3, 5, 9), torch.rand(3, 8, 4)]
    batch = ImageList.from_tensors(images, 4, pad_value=7.0)
    assert batch.tensor.shape == (2, 3, 8, 12)
    assert batch.image_sizes == [(5, 9), (8, 4)]
    assert len(batch) == 2
    for image, got, padded in zip(images, (batch[0], batch[1]), batch.tensor, strict=True):
        assert torch.equal(got, image)
        assert padded.sum().item() == pytest.approx(
            image.sum().item() + 7 * (padded.numel() - image.numel()), rel=1e-5
        )
    assert batch.to(torch.float64).tensor.dtype == torch.float64


@pytest.mark.parametrize(
    ("divisibility", "constraints", "shape"),
    [
        (0, None, (5, 9)),
        (1, None, (5, 9)),
        (32, None, (32, 32)),
        (32, {"size_divisibility": 5}, (5, 10)),
        (0, {"square_size": 16}, (16, 16)),
        (32, {"square_size": 0, "size_divisibility": 0}, (5, 9)),
    ],
)
def test_sizes(divisibility: int, constraints: dict[str, int] | None, shape: tuple[int, int]) -> None:
    batch = ImageList.from_tensors([torch.ones(5, 9, dtype=torch.uint8)], divisibility, 0, constraints)
    assert batch.tensor.shape == (1, *shape)
    assert batch.tensor.dtype == torch.uint8


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        ImageList.from_tensors([])
    with pytest.raises(ValueError, match="all but height and width"):
        ImageList.from_tensors([torch.zeros(3, 2, 2), torch.zeros(1, 2, 2)])
    with pytest.raises(ValueError, match="5x9 does not fit into the square_size 8"):
        ImageList.from_tensors([torch.zeros(3, 5, 9)], padding_constraints={"square_size": 8})


def test_batches_in_torchscript() -> None:
    def pad(images: list[torch.Tensor]) -> ImageList:
        return ImageList.from_tensors(images, 8, 0.5)

    images = [torch.rand(3, 5, 9), torch.rand(3, 8, 4)]
    scripted = torch.jit.script(pad)(images)
    assert torch.equal(scripted.tensor, pad(images).tensor)
    assert scripted.image_sizes == [(5, 9), (8, 4)]
