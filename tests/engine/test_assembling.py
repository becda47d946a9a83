from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from cardamage.config import get_cfg
from cardamage.engine.assembling import compile_for_training
from cardamage.modeling.meta_arch.preprocessing import ImageModel
from cardamage.utils import compiling


class _Model(ImageModel):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 1, 1), [1.0], [1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize(("wanted", "expected"), [("auto", False), (False, False), (True, True)])
def test_a_cpu_compiles_only_when_told_to(
    wanted: Any, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    cfg, model = get_cfg(), _Model()
    cfg.MODEL.COMPILE = wanted
    assert cfg.SOLVER.MAX_ITER >= 1000
    assert compile_for_training(cfg, model) == expected
    assert (model.train_compiler is not None) == expected
    assert model.test_compiler is None


def test_compiled_code_outlives_a_reboot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Set first, so that what the function sets is undone.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/chosen")
    compiling._keep_cache()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/chosen"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiling._keep_cache()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cardamage" / "inductor")
    assert (tmp_path / "cardamage" / "inductor").is_dir()


def test_a_cache_that_can_not_be_made_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cardamage").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiling._keep_cache()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
