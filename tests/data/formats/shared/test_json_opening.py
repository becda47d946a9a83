from __future__ import annotations

from pathlib import Path

import pytest

from cardamage.data.formats.shared.json_opening import json_files, json_opening


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [{"b": 1, "c": {"d": 1}}, {"e": 1}], "f": {"g": [{"h": 1}]}}', {"a": {"b", "c"}, "f": {"g"}}),
        (
            '{"a": 1, "b": "x: {", "c": [[{"d": 1}]], "e": [1, {"g": 2}]}',
            {"a": set(), "b": set(), "c": set(), "e": {"g"}},
        ),
        ('\ufeff {"a": {}}', {"a": set()}),
        ('{"a": {"b": "cut', {"a": {"b"}}),
        ('{"a": {"b": 1]}', {"a": {"b"}}),
        ('{"a": {"b": 1}} {"c": 1}', None),
        ("[]", {}),
        ("", {}),
        ("{", {}),
        ('{"', {}),
    ],
)
def test_keys(tmp_path: Path, text: str, expected: dict[str, set[str]] | None) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    found = json_opening(path)
    assert found == expected if expected is not None else found["a"] == {"b"}


def test_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1, "é": "' + "é" * 100 + '", "b": 1}', encoding="utf-8")
    assert set(json_opening(path, 100)) == {"a", "é"}
    assert set(json_opening(path, 101)) == {"a", "é"}
    assert set(json_opening(path)) == {"a", "é", "b"}
    assert json_opening(tmp_path) == json_opening(tmp_path / "no.json") == {}


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.JSON", "a.json", ".c.json", "d.csv", "e.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "f.json").mkdir()
    assert [path.name for path in json_files(tmp_path)] == ["a.json", "b.JSON"]
    assert [path.name for path in json_files(tmp_path, (".csv",))] == ["d.csv"]
    for number in range(70):
        (tmp_path / f"{number}.json").write_text("")
    assert json_files(tmp_path) == json_files(tmp_path / "no") == []
