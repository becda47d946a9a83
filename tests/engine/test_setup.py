"""What a run decides before it builds anything."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.config import get_cfg
from cardamage.engine.setup import amp_precision, default_setup, resolve_layout
from cardamage.errors import ConfigValueError
from cardamage.utils import env


@pytest.mark.parametrize(
    ("dtype", "on_gpu", "expected"),
    [
        ("bfloat16", True, torch.bfloat16),
        ("bfloat16", False, torch.bfloat16),
        ("float16", True, torch.float16),
    ],
)
def test_amp_precision_follows_the_key(dtype: str, on_gpu: bool, expected: torch.dtype) -> None:
    cfg = get_cfg()
    cfg.SOLVER.AMP.DTYPE = dtype
    assert amp_precision(cfg, on_gpu) is None
    cfg.SOLVER.AMP.ENABLED = True
    assert amp_precision(cfg, on_gpu) is expected


@pytest.mark.parametrize(("has_it", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_prefers_bfloat16(
    has_it: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    cfg = get_cfg()
    cfg.SOLVER.AMP.ENABLED = True
    assert amp_precision(cfg, on_gpu=True) is expected


@pytest.mark.parametrize("has_it", [True, False])
def test_auto_on_a_cpu_needs_its_bfloat16(
    has_it: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: has_it, raising=False)
    cfg = get_cfg()
    cfg.SOLVER.AMP.ENABLED = True
    with caplog.at_level(logging.INFO, "cardamage"):
        assert amp_precision(cfg, on_gpu=False) is (torch.bfloat16 if has_it else None)
    assert ("float32" in caplog.text) != has_it


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's list of the processor's features")
def test_cpu_bfloat16_is_what_the_kernel_says() -> None:
    features = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    assert env.cpu_has_bfloat16() == bool({"avx512_bf16", "amx_tile"} & set(features))


@pytest.mark.parametrize(
    ("wanted", "device", "expected"),
    [("auto", "cpu", True), ("auto", "cuda", "auto"), (False, "cpu", False), (True, "cuda", True)],
)
def test_trainings_on_the_cpu_take_channels_last_unless_told(wanted: Any, device: str, expected: Any) -> None:
    cfg = get_cfg()
    cfg.MODEL.CHANNELS_LAST, cfg.MODEL.DEVICE = wanted, device
    cfg.freeze()
    resolve_layout(cfg)
    assert cfg.MODEL.CHANNELS_LAST == expected
    assert cfg.is_frozen()


def test_an_evaluation_that_can_not_be_is_refused_before_the_training(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.MODEL.DEVICE, cfg.TEST.PRECISION = str(tmp_path), "cpu", "float16"
    with pytest.raises(ConfigValueError, match="TEST.PRECISION is float16, which needs a GPU"):
        default_setup(cfg)
