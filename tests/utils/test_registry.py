"""Objects are found by the path to them, and paths made from objects lead back."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
import torch

from cardamage.structures import Boxes
from cardamage.utils.registry import Registry, _convert_target_to_string, locate


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("len", len),
        ("collections", collections),
        ("collections.OrderedDict", collections.OrderedDict),
        ("collections.OrderedDict.fromkeys", collections.OrderedDict.fromkeys),
        ("torch.optim.sgd.SGD", torch.optim.SGD),
        ("cardamage.structures.boxes.Boxes", Boxes),
    ],
)
def test_paths_lead_to_objects(name: str, wanted: object) -> None:
    assert locate(name) == wanted


@pytest.mark.parametrize("name", ["asdf", "", ".", "torch..nn", "torch.nn.NoSuchLayer", "no_such.thing"])
def test_paths_that_lead_nowhere(name: str) -> None:
    with pytest.raises(ImportError, match="There is no"):
        locate(name)


def test_what_a_found_module_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import lacking_library\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="lacking_library"):
        locate("needy.Thing")


def test_objects_to_paths_and_back() -> None:
    for found in (len, dict, torch.optim.SGD, Boxes):
        assert locate(_convert_target_to_string(found)) is found
    assert _convert_target_to_string(Boxes) == "cardamage.structures.Boxes"


def test_registries_are_fvcores() -> None:
    registry = Registry("PARTS")
    registry.register(Boxes)
    assert registry.get("Boxes") is Boxes
