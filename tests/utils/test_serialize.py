"""Closures travel between processes where cloudpickle is installed."""

from __future__ import annotations

import pickle
import sys

import pytest

from cardamage.utils.serialize import PicklableWrapper


def _adder(amount: int) -> object:
    return lambda value: value + amount


def test_closures_are_pickled() -> None:
    pytest.importorskip("cloudpickle")
    wrapped = PicklableWrapper(PicklableWrapper(_adder(3)))
    assert wrapped(4) == 7
    assert pickle.loads(pickle.dumps(wrapped))(4) == 7


def test_the_wrapper_stands_for_the_object() -> None:
    wrapped = PicklableWrapper([3, 1])
    assert wrapped.index(1) == 1
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing


def test_without_cloudpickle_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ImportError, match="pip install cloudpickle"):
        pickle.dumps(PicklableWrapper(_adder(3)))
