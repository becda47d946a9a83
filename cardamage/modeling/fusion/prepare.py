"""A trained model made fast for inference."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from cardamage.errors import ConfigValueError
from cardamage.utils.env import cpu_has_bfloat16
from cardamage.utils.heap import keep_freed_memory

from .overflow import Overflow
from .overrides import Overrides
from .plan import is_ours, plan_fusion

__all__ = ["FastInference", "inference_dtype", "prepare_for_inference"]

logger = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Tensor cores came with this one.
_FAST_HALF = (7, 0)


def prepare_for_inference(model: Any, cfg: Any) -> Any:
    """Return a model that finds what this one finds, faster, as ``TEST`` asks.

    The model itself, its weights and its mode stay as they are, and what is changed in it afterwards
    (weights, thresholds) counts at the next call.

    Args:
        model: a model on its device; in distributed training its wrapper. Anything that is no module is
            returned as it is.
        cfg: ``TEST`` is read.

    Returns:
        A :class:`FastInference`, or the model where the config asks for neither.

    Raises:
        ConfigValueError: a precision that is none, or that the device can't compute in.
    """
    if not isinstance(model, nn.Module) or isinstance(model, FastInference):
        return model
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    tensor = next((t for ts in (model.parameters(), model.buffers()) for t in ts), None)
    if tensor is None:
        return model
    dtype = inference_dtype(cfg.TEST.PRECISION, tensor.device, all(map(is_ours, model.modules())))
    if dtype == torch.float32 and not cfg.TEST.FUSE:
        return model
    return FastInference(model, dtype, tensor.device, cfg.TEST.FUSE, cfg.TEST.WINOGRAD)


def inference_dtype(precision: str, device: torch.device, ours: bool = True) -> torch.dtype:
    """Choose what to compute in.

    Args:
        precision: ``TEST.PRECISION``.
        device: where the model is.
        ours: whether all parts of it are this package's.

    Returns:
        For ``auto``: bfloat16 on processors that multiply it, float16 on GPUs with tensor cores, else
        float32; on processors float32, too, where parts of a user's own may not know bfloat16.

    Raises:
        ConfigValueError: a precision that is none, or float16 on a processor.
    """
    if precision != "auto":
        if precision not in PRECISIONS:
            raise ConfigValueError(
                f"TEST.PRECISION is {precision!r}; it must be one of auto, {', '.join(PRECISIONS)}."
            )
        if precision == "float16" and device.type == "cpu":
            raise ConfigValueError("TEST.PRECISION is float16, which needs a GPU: use bfloat16 or auto.")
        return PRECISIONS[precision]
    if device.type == "cpu":
        return torch.bfloat16 if ours and cpu_has_bfloat16() else torch.float32
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FAST_HALF:
        return torch.float16
    return torch.float32


class FastInference(nn.Module):
    """A model with fused parts and, if asked, in half precision; what it returns is float32 as ever.

    Where that fails, whatever the reason, it says so once and goes on with the model as it is; where numbers
    leave float16's range, which would lose detections without a word, in bfloat16.

    Attributes:
        module: the model itself.
        dtype: what is computed in.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        device: torch.device,
        fuse: bool = True,
        winograd: bool = True,
    ) -> None:
        """Plan nothing yet: the weights are prepared at the first call.

        Args:
            module: the model.
            dtype: what to compute in.
            device: where it is.
            fuse: whether to fold norms and fuse layers.
            winograd: whether fused 3x3 convolutions may take fewer products, where that pays.
        """
        super().__init__()
        self.module = module
        self.training = module.training
        self.dtype, self.device, self.fuse, self.winograd = dtype, device, fuse, winograd
        self.broken = False
        # Parts of a user's own take weights and features of one dtype: autocast sees to it, call by call.
        self._autocasts = dtype != torch.float32 and not (fuse and all(map(is_ours, module.modules())))
        self._overrides: Overrides | None = None
        self._prepared_from: tuple[Any, ...] | None = None

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        if self.broken or self.module.training:
            return self.module(*args, **kwargs)
        try:
            with self._fast() as overflow:
                result = self.module(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            result = self.module(*args, **kwargs)
            self.broken = True
            self._overrides = None
            logger.warning(
                "This model can't run with TEST.FUSE %s in %s, so it goes on as it is, slower: %s",
                self.fuse,
                str(self.dtype).removeprefix("torch."),
                str(error).strip().split("\n")[0],
            )
            return result
        if overflow is None or not overflow.seen():
            return result
        self._leave_float16()
        return self.forward(*args, **kwargs)

    @contextlib.contextmanager
    def _fast(self) -> Iterator[Overflow | None]:
        with contextlib.ExitStack() as stack:
            if self._autocasts:
                stack.enter_context(torch.autocast(self.device.type, dtype=self.dtype))
            overflow = None
            if self.fuse:
                overrides = self._current_overrides()
                stack.enter_context(overrides.applied())
                overflow = overrides.overflow
            if overflow is not None:
                overflow.clear()
            yield overflow

    def _leave_float16(self) -> None:
        """Go on in the precision that has float32's range; where that fails, too, in float32."""
        self.dtype, self._overrides = torch.bfloat16, None
        logger.warning(
            "This model's numbers leave float16's range, so it goes on in bfloat16: set TEST.PRECISION so."
        )

    def _current_overrides(self) -> Overrides:
        """Prepare weights at the first call, and whenever the model's have changed."""
        state = _fingerprint(self.module)
        if self._overrides is None or state != self._prepared_from:
            dtype = torch.float32 if self._autocasts else self.dtype
            if self.device.type == "cpu":
                # A map of a large photo takes as long to be cleared by the system as to be computed.
                keep_freed_memory()
            self._overrides = plan_fusion(self.module, dtype, self.device, self.winograd)
            self._prepared_from = state
        return self._overrides


def _fingerprint(model: nn.Module) -> tuple[Any, ...]:
    """Return what differs when a tensor of the model was replaced or written to."""
    marks: list[Any] = []
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for tensor in tensors.values():
                if tensor is not None:
                    version = 0 if tensor.is_inference() else tensor._version
                    marks += (id(tensor), tensor.data_ptr(), version)
    return tuple(marks)
