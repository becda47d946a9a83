"""Which kernels carry out an optimizer's step: the result is the same but for rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["keep_kernel", "kernel_choice"]


def kernel_choice(wanted: bool | str, groups: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Choose between one kernel for everything, and one an operation for many parameters at a time.

    With float16's ``GradScaler``, the first also is what keeps the host from waiting for the device: it skips
    a step with infinite gradients by itself.

    Args:
        wanted: ``SOLVER.FUSED``; ``auto`` takes the one kernel on GPUs.
        groups: the optimizer's parameter groups.

    Returns:
        Arguments of ``torch.optim.SGD``.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    on_gpu = all(parameter.device.type == "cuda" for parameter in parameters)
    known = all(parameter.is_floating_point() for parameter in parameters)
    if known and (on_gpu if wanted == "auto" else wanted):
        return {"fused": True}
    return {"foreach": True}


def keep_kernel(optimizer: torch.optim.Optimizer) -> None:
    """Keep the choice when the state of another optimizer is loaded, which brings its own along.

    Momentum comes to lie in memory as its parameter does, whatever the layout of the training it is from.

    Args:
        optimizer: SGD, from :func:`kernel_choice`.
    """
    chosen = [{name: group.get(name) for name in ("fused", "foreach")} for group in optimizer.param_groups]

    def after_load(optimizer: torch.optim.Optimizer) -> None:
        for group, choice in zip(optimizer.param_groups, chosen, strict=True):
            group.update(choice)
        _match_layouts(optimizer)

    optimizer.register_load_state_dict_post_hook(after_load)
    if any(choice["fused"] for choice in chosen):
        optimizer.register_step_pre_hook(_make_momentum)


def _match_layouts(optimizer: torch.optim.Optimizer) -> None:
    """Lay momentum out as its parameter: a fused kernel pairs them by their places in memory."""
    for parameter, state in optimizer.state.items():
        momentum = state.get("momentum_buffer")
        if momentum is not None and momentum.stride() != parameter.stride():
            state["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)


def _make_momentum(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """Let momentum begin at zero, which is what a first step without momentum amounts to.

    Torch allocates it without values for the first step, and keeps these where that step is skipped because
    float16's scale was too large.
    """
    for group in optimizer.param_groups:
        if group["momentum"] == 0:
            continue
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter.grad)
