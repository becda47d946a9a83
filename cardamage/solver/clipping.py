"""Gradient clipping as part of the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from cardamage.config import CfgNode
from cardamage.errors import ConfigValueError

__all__ = ["GradientClipType", "maybe_add_gradient_clipping"]

Parameters = list[torch.Tensor]
Clipper = Callable[[Parameters], None]


class GradientClipType(Enum):
    """What is bounded: every element, the norm of each gradient, or that of all gradients together."""

    VALUE = "value"
    NORM = "norm"
    FULL_MODEL = "full_model"


def _make_clipper(cfg: CfgNode) -> Clipper:
    """Return a function that clips the gradients of a list of parameters in place."""
    kind, limit, norm_type = cfg.CLIP_TYPE, float(cfg.CLIP_VALUE), float(cfg.NORM_TYPE)

    def by_value(parameters: Parameters) -> None:
        clip_grad_value_(parameters, limit)

    def by_norm(parameters: Parameters) -> None:
        _clip_each_norm(parameters, limit, norm_type)

    def by_full_norm(parameters: Parameters) -> None:
        clip_grad_norm_(parameters, limit, norm_type)

    kinds: dict[GradientClipType, Clipper] = {
        GradientClipType.VALUE: by_value,
        GradientClipType.NORM: by_norm,
        GradientClipType.FULL_MODEL: by_full_norm,
    }
    try:
        return kinds[GradientClipType(kind)]
    except ValueError:
        known = ", ".join(known.value for known in kinds)
        raise ConfigValueError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {kind!r}, which is not a way to clip: use one of {known}."
        ) from None


def _clip_each_norm(parameters: Parameters, limit: float, norm_type: float) -> None:
    """Do what ``clip_grad_norm_`` does with each gradient alone, for all of them at once."""
    together: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            together.setdefault((parameter.grad.device, parameter.grad.dtype), []).append(parameter.grad)
    for gradients in together.values():
        norms = torch.stack(torch._foreach_norm(gradients, norm_type))
        factors = (limit / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, factors.unbind())


def _unscale(optimizer: torch.optim.Optimizer) -> None:
    """Divide by the scale that a fused optimizer is told by its ``GradScaler`` and would divide by later."""
    scale = getattr(optimizer, "grad_scale", None)
    if scale is None:
        return
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    torch._foreach_mul_(gradients, scale.double().reciprocal().to(scale.dtype))
    optimizer.grad_scale = None  # type: ignore[attr-defined]


def maybe_add_gradient_clipping(cfg: CfgNode, optimizer: Any) -> Any:
    """Make an optimizer clip the gradients before each of its steps, where the config asks for it.

    The clipping runs inside ``step``, so a ``GradScaler`` has unscaled the gradients by then.

    Args:
        cfg: the full config; ``SOLVER.CLIP_GRADIENTS`` is read.
        optimizer: an optimizer, or a class of optimizers.

    Returns:
        The optimizer (now clipping), or a subclass of the given class; with clipping off the argument itself.

    Raises:
        ConfigValueError: if ``CLIP_TYPE`` is unknown.
    """
    if not cfg.SOLVER.CLIP_GRADIENTS.ENABLED:
        return optimizer
    clip = _make_clipper(cfg.SOLVER.CLIP_GRADIENTS)
    if isinstance(optimizer, type):
        return _clipping_class(optimizer, clip)
    _attach(optimizer, clip)
    return optimizer


def _attach(optimizer: torch.optim.Optimizer, clip: Clipper) -> None:
    def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        _unscale(optimizer)
        clip([parameter for group in optimizer.param_groups for parameter in group["params"]])

    optimizer.register_step_pre_hook(before_step)


def _clipping_class(base: type[torch.optim.Optimizer], clip: Clipper) -> type[torch.optim.Optimizer]:
    def init(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        _attach(self, clip)

    return type(f"{base.__name__}WithGradientClip", (base,), {"__init__": init})
