"""What an evaluator is, and running a model over a dataset for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from cardamage.errors import EvaluationError
from cardamage.utils import comm

from .progress import InferenceProgress

__all__ = ["DatasetEvaluator", "DatasetEvaluators", "inference_context", "inference_on_dataset"]

Callbacks = Mapping[str, Callable[[], Any]]


class DatasetEvaluator:
    """Takes a model's inputs and outputs batch by batch and turns them into numbers at the end.

    :func:`inference_on_dataset` calls :meth:`reset` once, :meth:`process` for each batch and
    :meth:`evaluate` once after the last.
    """

    def reset(self) -> None:
        """Forget everything seen so far."""

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Take one batch.

        Args:
            inputs: what the model was given, one mapping per image.
            outputs: what it returned, in the same order.
        """

    def evaluate(self) -> dict[str, Any] | None:
        """Return the results: ``{task: {metric: value}}``, or None outside the main process."""
        return None


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators behind one interface; their results are merged.

    Args:
        evaluators: the evaluators, called in this order.
    """

    def __init__(self, evaluators: Iterable[DatasetEvaluator]) -> None:
        self._evaluators = list(evaluators)

    def reset(self) -> None:
        """Reset each evaluator."""
        for evaluator in self._evaluators:
            evaluator.reset()

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        """Hand the batch to each evaluator."""
        for evaluator in self._evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> dict[str, Any]:
        """Merge all results.

        Raises:
            EvaluationError: two evaluators return the same task.
        """
        merged: dict[str, Any] = {}
        for evaluator in self._evaluators:
            results = evaluator.evaluate() or {}
            if not comm.is_main_process():
                continue
            for task, values in results.items():
                if task in merged:
                    raise EvaluationError(
                        f"Two evaluators return results for {task!r} (the second is "
                        f"{type(evaluator).__name__}); give them different tasks."
                    )
                merged[task] = values
        return merged


def inference_on_dataset(
    model: Callable[[Any], Any],
    data_loader: Iterable[Any],
    evaluator: DatasetEvaluator | Sequence[DatasetEvaluator] | None,
    callbacks: Callbacks | None = None,
) -> dict[str, Any]:
    """Run ``model`` over ``data_loader`` in eval mode without gradients and evaluate its outputs.

    A model with a ``mask_output`` attribute returns run-length masks while this runs, so memory doesn't grow
    with the size of the photos.

    Args:
        model: a module, or any function from a batch to outputs. A module's mode is restored afterwards.
        data_loader: batches to run; must have a length.
        evaluator: one evaluator, a list of them, or None to measure speed only.
        callbacks: functions called at ``on_start``, ``before_inference``, ``after_inference``, ``on_end``.

    Returns:
        What ``evaluator.evaluate()`` returns, or an empty dict in processes where that is None.

    Raises:
        EvaluationError: ``data_loader`` has no length.
    """
    if not isinstance(data_loader, Sized):
        raise EvaluationError(
            f"inference_on_dataset needs a data loader with a length, {type(data_loader).__name__} has none."
        )
    if evaluator is None or isinstance(evaluator, Sequence):
        evaluator = DatasetEvaluators(evaluator or [])
    evaluator.reset()
    with ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(inference_context(model))
            stack.enter_context(_mask_output(model, "rle"))
        stack.enter_context(torch.no_grad())
        _run_batches(model, data_loader, len(data_loader), evaluator, callbacks or {})
    results = evaluator.evaluate()
    return {} if results is None else results


def _run_batches(
    model: Callable[[Any], Any],
    data_loader: Iterable[Any],
    total: int,
    evaluator: DatasetEvaluator,
    callbacks: Callbacks,
) -> None:
    def call(name: str) -> None:
        if name in callbacks:
            callbacks[name]()

    progress = InferenceProgress(total)
    call("on_start")
    batches = iter(data_loader)
    try:
        while True:
            with progress.phase("data"):
                inputs = next(batches, None)
            if inputs is None:
                break
            with progress.phase("compute"):
                call("before_inference")
                outputs = model(inputs)
                call("after_inference")
                if torch.cuda.is_available():
                    torch.cuda.synchronize()  # else the time of the kernels is counted as the evaluator's
            with progress.phase("eval"):
                evaluator.process(inputs, outputs)
            progress.step()
        call("on_end")
    finally:
        progress.close()


@contextmanager
def inference_context(model: nn.Module) -> Iterator[None]:
    """Put ``model`` in eval mode inside the ``with`` block and back in its former mode after it."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _mask_output(model: nn.Module, kind: str) -> Iterator[None]:
    owner = getattr(model, "module", model)  # inside DistributedDataParallel
    if not hasattr(owner, "mask_output"):
        yield
        return
    before = owner.mask_output
    owner.mask_output = kind
    try:
        yield
    finally:
        owner.mask_output = before
