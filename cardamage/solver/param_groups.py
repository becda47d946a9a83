"""Which learning rate and weight decay each parameter gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

__all__ = ["NORM_TYPES", "expand_param_groups", "get_default_optimizer_params", "reduce_param_groups"]

# The entries of a group that hold an item for each parameter; the others are its settings.
_MEMBERS = ("params", "param_names")

NORM_TYPES = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
"""Modules whose affine parameters take ``weight_decay_norm``."""


def get_default_optimizer_params(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float | None = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Sort the trainable parameters of a model into optimizer groups.

    A parameter that several modules share appears once, under the first of them. Groups with equal settings
    are merged, so the multi-tensor optimizers see few and long lists.

    Args:
        model: the model; parameters with ``requires_grad=False`` are left out.
        base_lr: learning rate of every group; None leaves it to the optimizer.
        weight_decay: weight decay of every group; None leaves it to the optimizer.
        weight_decay_norm: weight decay of the parameters of normalization layers.
        bias_lr_factor: factor on the learning rate of parameters named ``bias``.
        weight_decay_bias: weight decay of parameters named ``bias``.
        lr_factor_func: maps a full parameter name to a factor on its learning rate.
        overrides: settings by the last part of a parameter's name, e.g. ``{"embedding": {"lr": 0.01}}``.

    Returns:
        Groups for a ``torch.optim.Optimizer``, in the order in which their settings first occur.

    Raises:
        ValueError: if a learning-rate factor is given without ``base_lr``, or ``bias`` is overridden twice.
    """
    by_name = _with_bias(overrides or {}, base_lr, bias_lr_factor, weight_decay_bias)
    if lr_factor_func is not None and base_lr is None:
        raise ValueError("lr_factor_func needs base_lr")
    common = {"lr": base_lr, "weight_decay": weight_decay}
    common = {key: value for key, value in common.items() if value is not None}
    groups: list[dict[str, Any]] = []
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            settings: dict[str, Any] = dict(common)
            if weight_decay_norm is not None and isinstance(module, NORM_TYPES):
                settings["weight_decay"] = weight_decay_norm
            if lr_factor_func is not None:
                settings["lr"] *= lr_factor_func(f"{prefix}.{name}")
            settings.update(by_name.get(name, {}))
            groups.append({"params": [parameter], **settings})
    return reduce_param_groups(groups)


def _with_bias(
    overrides: Mapping[str, Mapping[str, float]],
    base_lr: float | None,
    lr_factor: float | None,
    weight_decay: float | None,
) -> dict[str, Mapping[str, float]]:
    """Add what the bias arguments ask for to the overrides by name."""
    bias: dict[str, float] = {}
    if lr_factor is not None and lr_factor != 1.0:
        if base_lr is None:
            raise ValueError("bias_lr_factor needs base_lr")
        bias["lr"] = base_lr * lr_factor
    if weight_decay is not None:
        bias["weight_decay"] = weight_decay
    if bias and "bias" in overrides:
        raise ValueError("'bias' is set by overrides and by the bias arguments: use one of them")
    return {**overrides, "bias": bias} if bias else dict(overrides)


def expand_param_groups(params: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each parameter a group of its own; of one listed twice the later settings win.

    Args:
        params: optimizer groups, each with ``params``, a list of tensors, and maybe their ``param_names``.

    Returns:
        Groups of one parameter, in the order in which the parameters first occur.
    """
    single: dict[Any, dict[str, Any]] = {}
    for group in params:
        settings = {key: value for key, value in group.items() if key not in _MEMBERS}
        names = group.get("param_names", [None] * len(group["params"]))
        for parameter, name in zip(group["params"], names, strict=True):
            own = single.setdefault(parameter, {"params": [parameter]})
            own.update(settings)
            if name is not None:
                own["param_names"] = [name]
    return list(single.values())


def reduce_param_groups(params: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge groups of equal settings; of a parameter listed twice the later settings win.

    Args:
        params: optimizer groups, as of :func:`expand_param_groups`.

    Returns:
        The fewest groups with the same meaning, each settings first and ``params`` last.
    """
    merged: dict[tuple[tuple[str, Any], ...], dict[str, list[Any]]] = {}
    for group in expand_param_groups(params):
        key = tuple((name, value) for name, value in group.items() if name not in _MEMBERS)
        lists = merged.setdefault(key, {})
        for name in _MEMBERS:
            if name in group:
                lists.setdefault(name, []).extend(group[name])
    return [{**dict(key), **lists} for key, lists in merged.items()]
