"""Helpers for tests of models and structures, under Detectron2's names."""

from __future__ import annotations

import io
from typing import Any

import torch

from cardamage.absent import absent_names

__all__ = ["assert_instances_allclose", "get_model_no_weights", "random_boxes", "reload_script_model"]

# Boxes lie in the hundreds of pixels, where a relative difference is an absolute one of as many times.
_BOX_MAGNITUDE = 100


def get_model_no_weights(config_path: str) -> torch.nn.Module:
    """Build a model-zoo config's model with random weights, on the GPU where there is one.

    Args:
        config_path: as in the model zoo, ``COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml``.
    """
    from cardamage.model_zoo import get_config
    from cardamage.modeling import build_model

    cfg = get_config(config_path)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    return build_model(cfg)


def random_boxes(num_boxes: int, max_coord: float = 100, device: torch.device | str = "cpu") -> torch.Tensor:
    """Draw boxes whose sides are at least one pixel.

    Args:
        num_boxes: how many.
        max_coord: no coordinate reaches this.
        device: where to draw them.

    Returns:
        float32 (num_boxes, 4), each x0, y0, x1, y1.
    """
    numbers = torch.rand(num_boxes, 4, device=device) * (max_coord * 0.5)
    corner, sides = numbers.clamp_(min=1).chunk(2, dim=1)
    return torch.cat((corner, corner + sides), dim=1)


def assert_instances_allclose(
    input: Any, other: Any, *, rtol: float = 1e-5, msg: str = "", size_as_tensor: bool = False
) -> None:
    """Check that two ``Instances`` have the same size, fields and values.

    Args:
        input: the one.
        other: the other.
        rtol: how far floats may differ: boxes and masks in boxes by 100 times this, others by this times the
            largest magnitude of their field; and each value by torch's own relative 1e-5.
        msg: what the message of a failure begins with.
        size_as_tensor: compare the image sizes as tensors, which traced models give.

    Raises:
        AssertionError: they differ.
        ValueError: a field is neither boxes, masks in boxes nor a tensor.
    """
    start = f"{msg.rstrip()} " if msg else "The instances differ: "
    sizes = [
        torch.as_tensor(i.image_size).tolist() if size_as_tensor else i.image_size for i in (input, other)
    ]
    _check(sizes[0] == sizes[1], f"{start}image sizes {sizes[0]} and {sizes[1]}.")
    names = [sorted(i.get_fields()) for i in (input, other)]
    _check(names[0] == names[1], f"{start}fields {names[0]} and {names[1]}.")
    for name in names[0]:
        first, second = input.get(name), other.get(name)
        _check(_close(name, first, second, rtol), f"{start}field '{name}'.")


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _close(name: str, first: Any, second: Any, rtol: float) -> bool:
    if type(first).__name__ in ("Boxes", "ROIMasks"):
        return torch.allclose(first.tensor, second.tensor, atol=_BOX_MAGNITUDE * rtol)
    if not isinstance(first, torch.Tensor):
        raise ValueError(f"Field '{name}' of type {type(first).__name__} can't be compared: it is no tensor.")
    if not first.dtype.is_floating_point or not first.numel():
        return torch.equal(first, second)
    return torch.allclose(first, second, atol=first.abs().max().item() * rtol)


def reload_script_model(module: Any) -> Any:
    """Save a TorchScript module or function to memory and load it back."""
    stream = io.BytesIO()
    torch.jit.save(module, stream)
    stream.seek(0)
    return torch.jit.load(stream)


__getattr__ = absent_names(__name__)
