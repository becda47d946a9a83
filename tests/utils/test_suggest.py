from __future__ import annotations

import pytest

from cardamage.utils.suggest import closest, did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("", [], None),
        ("dent", [], None),
        ("dnet", ["dent", "scratch"], "dent"),
        ("DENT", ["dent"], "dent"),
        ("wheel", ["dent", "scratch"], None),
    ],
)
def test_closest(name: str, known: list[str], expected: str | None) -> None:
    assert closest(name, known) == expected


def test_did_you_mean() -> None:
    assert did_you_mean("scrtch", ["dent", "scratch"]) == "; did you mean scratch?"
    assert did_you_mean("wheel", ["dent"]) == ""
