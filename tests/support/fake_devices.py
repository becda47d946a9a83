"""Tensors without values on devices that are not there: they show where a program would wait."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

__all__ = ["needs_fake_devices"]


def _has_fake_devices() -> bool:
    """Older torch asks for a driver even so."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            torch.add(torch.arange(2, device="cuda"), torch.ones(2).to("cuda"))
    except (RuntimeError, AssertionError):
        return False
    return True


needs_fake_devices = pytest.mark.skipif(
    not _has_fake_devices(), reason="this torch has no devices without values"
)
