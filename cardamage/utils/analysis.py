"""Counting a model's operations, activations and parameters with fvcore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fvcore.nn
import torch
from fvcore.nn import activation_count, parameter_count, parameter_count_table
from torch import nn

__all__ = [
    "FlopCountAnalysis",
    "activation_count_operators",
    "find_unused_parameters",
    "flop_count_operators",
    "parameter_count",
    "parameter_count_table",
]

# Elementwise operations, reductions and sorting, which cost little beside convolutions and matrix products.
# fvcore would warn of each that it can't count.
_UNCOUNTED = tuple(
    "aten::add aten::add_ aten::argmax aten::argsort aten::batch_norm aten::constant_pad_nd aten::div "
    "aten::div_ aten::exp aten::log2 aten::max_pool2d aten::meshgrid aten::mul aten::mul_ aten::neg "
    "aten::nonzero_numpy aten::reciprocal aten::repeat_interleave aten::rsub aten::sigmoid aten::sigmoid_ "
    "aten::softmax aten::sort aten::sqrt aten::sub torchvision::nms".split()
)
_GIGA = 1e9


class FlopCountAnalysis(fvcore.nn.FlopCountAnalysis):
    """fvcore's counts, for models that take and give more than tensors.

    What a detector computes depends on what it finds: average over pictures where that matters.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        """Choose what to count.

        Args:
            model: counted in the mode it is in; see :func:`flop_count_operators`.
            inputs: its argument, or the tuple of its arguments; tensors may be nested in lists, tuples and
                dicts.
        """
        adapter = _TensorsOnly(model, inputs)
        super().__init__(adapter, adapter.tensors)
        self.set_op_handle(**dict.fromkeys(_UNCOUNTED))


def flop_count_operators(model: nn.Module, inputs: list[dict[str, Any]]) -> dict[str, float]:
    """Count the multiply-adds of a model in evaluation, by kind of operation.

    Args:
        model: a detector, or any module.
        inputs: as the model takes, ``[{"image": tensor, ...}, ...]``.

    Returns:
        Billions by the operations' names: ``conv``, ``addmm``, ...
    """
    with _evaluating(model):
        counts = FlopCountAnalysis(model, inputs).by_operator()
    return {name: count / _GIGA for name, count in counts.items()}


def activation_count_operators(
    model: nn.Module, inputs: list[dict[str, Any]], **kwargs: Any
) -> dict[str, float]:
    """Count the numbers that the operations of a model in evaluation put out, by kind of operation.

    Args:
        model: a detector, or any module.
        inputs: as the model takes, ``[{"image": tensor, ...}, ...]``.
        **kwargs: for ``fvcore.nn.activation_count``.

    Returns:
        Millions by the operations' names.
    """
    handles = {**dict.fromkeys(_UNCOUNTED), **kwargs.pop("supported_ops", {})}
    with _evaluating(model):
        adapter = _TensorsOnly(model, inputs)
        counts, _ = activation_count(adapter, adapter.tensors, supported_ops=handles, **kwargs)
    return dict(counts)


def find_unused_parameters(model: nn.Module, inputs: Any) -> list[str]:
    """List the parameters that a model's losses don't depend on; distributed training would wait for them.

    Args:
        model: in training mode; gives a loss or a dict of losses. Its gradients are dropped.
        inputs: its argument, or the tuple of its arguments.

    Returns:
        The names of parameters.

    Raises:
        ValueError: the model is in evaluation mode.
    """
    if not model.training:
        raise ValueError("Unused parameters show in training only: call model.train() first.")
    model.zero_grad(set_to_none=True)
    losses = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    torch.autograd.backward(list(losses.values()) if isinstance(losses, Mapping) else losses)
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    model.zero_grad(set_to_none=True)
    return unused


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


class _TensorsOnly(nn.Module):
    """Stands before a model and exchanges tensors alone, which is what tracing can follow."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()
        self.model = model
        self._inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self.tensors = tuple(_tensors(self._inputs))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arguments = _with_tensors(self._inputs, iter(tensors))
        with torch.no_grad():
            return tuple(_tensors(self.model(*arguments), inside_objects=True))


def _tensors(value: Any, inside_objects: bool = False) -> Iterator[torch.Tensor]:
    """Yield the tensors in lists, tuples and dicts; if asked, also those that other objects hold."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    if isinstance(value, Mapping):
        value = list(value.values())
    elif inside_objects and hasattr(value, "__dict__"):
        value = list(vars(value).values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, inside_objects)


def _with_tensors(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """Rebuild lists, tuples and dicts with other tensors, in the order of :func:`_tensors`."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, (list, tuple)):
        return type(value)(_with_tensors(item, tensors) for item in value)
    if isinstance(value, Mapping):
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    return value
