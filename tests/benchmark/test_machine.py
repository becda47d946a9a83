"""What is said of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cardamage.benchmark import machine


def test_the_machine_can_be_written_as_json() -> None:
    described = machine.describe_machine(torch.device("cpu"))
    assert json.loads(json.dumps(described)) == described
    assert described["gpu"] is None
    assert described["cores"] >= 1
    assert described["cpu"]


def test_instruction_sets_are_read_off_the_kernels_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2 avx512_bf16x amx_tile amx_bf16\n"
    )
    monkeypatch.setattr(machine, "_CPUINFO", file)
    assert machine.isa_flags() == ["avx2", "amx_tile", "amx_bf16"]
    assert machine.describe_machine(torch.device("cpu"))["cpu"] == "Xeon"


def test_only_what_is_installed_has_a_version() -> None:
    found = machine.versions()
    assert found["torch"] == str(torch.__version__)
    assert "torchvision" in found
    assert ("detectron2" in found) == machine.is_importable("detectron2")
    assert not machine.is_importable("no_such_package_here")
