"""Names of Detectron2 that are not here."""

from __future__ import annotations

import copy
import importlib
import inspect
from pathlib import Path

import pytest

import cardamage
from cardamage.absent import ABSENT
from cardamage.errors import AbsentError

NAMES = [
    (f"cardamage.{module}", name.replace("*", "AnyName"))
    for module, subjects in ABSENT.items()
    for names in subjects.values()
    for name in names
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_imports_and_every_use_of_it_is_one_sentence(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert not isinstance(object(), found)
    with pytest.raises(AbsentError, match=f"cardamage has no .*{module}.{name}.*migrating") as error:
        found(1, a=2)
    assert "\n" not in str(error.value)
    with pytest.raises(AbsentError, match=name):
        _ = found.load
    with pytest.raises(AbsentError, match=name):

        class Mine(found):
            pass


def test_placeholders_are_the_same_object_each_time_and_can_be_copied() -> None:
    from cardamage.structures import RotatedBoxes as first
    from cardamage.structures import RotatedBoxes as second

    assert first is second
    assert copy.deepcopy(first) is first
    assert set(inspect.signature(first).parameters) == {"args", "kwargs"}


def test_only_listed_names_are_given() -> None:
    with pytest.raises(ImportError, match="cannot import name 'NoSuchThing'"):
        from cardamage.structures import NoSuchThing  # noqa: F401
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cardamage.no_such_room")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("cardamage.projects.no_such_project")


def test_modules_below_absent_ones_import() -> None:
    from cardamage.projects import point_rend
    from cardamage.projects.point_rend import point_features

    assert point_rend.point_features is point_features
    with pytest.raises(AbsentError, match="cardamage has no PointRend"):
        point_features.point_sample(None)


def test_no_listed_module_hides_or_repeats_what_is_here() -> None:
    package = Path(cardamage.__file__).parent
    for module, subjects in ABSENT.items():
        loaded = importlib.import_module(f"cardamage.{module}")
        names = [name for names in subjects.values() for name in names]
        assert len(names) == len(set(names))
        if (package / module.replace(".", "/")).is_dir() or (
            package / f"{module.replace('.', '/')}.py"
        ).is_file():
            assert not set(names) & set(vars(loaded)), f"{module} has names that are listed as absent"
