"""Whose a Labelme file is: nothing that somebody may have worked on counts as ours."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.labelme import read
from cardamage.data.formats.labelme.marks import State, marked, state_of
from cardamage.data.formats.registry import ReadOptions
from cardamage.errors import DataError

CONTENT: dict[str, Any] = {
    "version": "5.5.0",
    "flags": {"reviewed": False},
    "shapes": [
        {"label": "rayée", "points": [[1.5, 2.0], [30.0, 2.0], [8.0, 9.25]], "group_id": None, "flags": {}}
    ],
    "imagePath": "a.jpg",
    "imageData": None,
    "imageHeight": 40,
    "imageWidth": 50,
}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_as_written_it_is_ours(tmp_path: Path) -> None:
    content = marked(CONTENT, model="m.pth", date="2026-01-01")
    assert content["cardamage"]["model"] == "m.pth"
    assert state_of(write(tmp_path / "a.json", content)) is State.OURS


def test_layout_and_order_of_keys_do_not_count(tmp_path: Path) -> None:
    content = dict(reversed(marked(CONTENT).items()))
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(content, indent=4, ensure_ascii=False).replace("\n", "\r\n").encode())
    assert state_of(path) is State.OURS


def _moved(content: dict[str, Any]) -> None:
    content["shapes"][0]["points"][1][0] += 1e-9


def _deleted(content: dict[str, Any]) -> None:
    content["shapes"].clear()


def _renamed(content: dict[str, Any]) -> None:
    content["shapes"][0]["label"] = "dent"


def _ticked(content: dict[str, Any]) -> None:
    content["flags"]["reviewed"] = True


def _saved_by_another_version(content: dict[str, Any]) -> None:
    content["version"] = "4.5.6"


def _embedded(content: dict[str, Any]) -> None:
    content["imageData"] = "QUJD"


def _unmarked(content: dict[str, Any]) -> None:
    del content["cardamage"]


def _mark_damaged(content: dict[str, Any]) -> None:
    content["cardamage"] = ["sha256"]


def _mark_without_hash(content: dict[str, Any]) -> None:
    content["cardamage"] = {"sha256": None}


@pytest.mark.parametrize(
    "change",
    [
        _moved,
        _deleted,
        _renamed,
        _ticked,
        _saved_by_another_version,
        _embedded,
        _unmarked,
        _mark_damaged,
        _mark_without_hash,
    ],
)
def test_any_change_makes_it_somebody_elses(change: Any, tmp_path: Path) -> None:
    content = copy.deepcopy(marked(CONTENT))
    change(content)
    assert state_of(write(tmp_path / "a.json", content)) is State.TOUCHED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"shapes": []}',
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b'{"cardamage": {"sha256": 1}, "a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "cut", "list", "null", "bare", "binary", "deep", "nan", "digits"],
)
def test_what_cannot_be_read_is_left_alone(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    assert state_of(path) is State.TOUCHED


def test_folders_and_broken_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    os.symlink(tmp_path / "nowhere", tmp_path / "b.json")
    assert state_of(tmp_path / "a.json") is State.TOUCHED
    assert state_of(tmp_path / "b.json") is State.TOUCHED
    assert state_of(tmp_path / "c.json") is State.ABSENT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(content=st.dictionaries(st.text(), JSON, max_size=5), change=st.tuples(st.text(), JSON))
def test_any_content_is_ours_until_it_is_changed(content: dict[str, Any], change: tuple[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = marked(content)
        path = write(Path(folder) / "a.json", ours)
        assert state_of(path) is State.OURS
        key, value = change
        other = {**ours, key: value}
        write(path, other)
        same = key == "cardamage" or json.dumps(other.get(key)) == json.dumps(ours.get(key)) and key in ours
        assert same or state_of(path) is State.TOUCHED


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_without_our_hash_are_somebody_elses(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_bytes(data)
        assert state_of(path) is State.TOUCHED


def test_pre_labels_that_nobody_reviewed_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    ticked = marked(CONTENT)
    ticked["flags"] = {"reviewed": True}
    contents = {"mine": CONTENT, "untouched": marked(CONTENT), "ticked": ticked}
    for name, content in contents.items():
        write(tmp_path / f"{name}.json", {**content, "imagePath": "a.jpg"})
    write(tmp_path / "other.json", {"cardamage": 1})
    report = AnnotationReport("set")
    found = read(tmp_path, ReadOptions(skip_unreviewed=True), report)
    # All name one picture, so that each is called by its file.
    assert [image.extra["flags"] for image in found.images] == [{"reviewed": False}, {"reviewed": True}]
    assert [finding.sentence for finding in report.findings] == [
        f"{tmp_path}/untouched.json: dropped, a pre-label that nobody has reviewed."
    ]
    everything = read(tmp_path, ReadOptions(), AnnotationReport("set"))
    assert len(everything.images) == 3


def test_nothing_but_pre_labels_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.json", marked(CONTENT))
    with pytest.raises(DataError, match="are pre-labels that nobody has reviewed; correct them in Labelme"):
        read(tmp_path, ReadOptions(skip_unreviewed=True), AnnotationReport("set"))


@pytest.mark.parametrize("skipped_first", [True, False])
def test_the_cache_of_one_way_is_good_for_the_other(skipped_first: bool, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set/a.json", marked(CONTENT))
    write(tmp_path / "set/b.json", CONTENT)
    for skipped in (skipped_first, not skipped_first, skipped_first):
        options = ReadOptions(cache=tmp_path / "cache", workers=1, skip_unreviewed=skipped)
        assert len(read(tmp_path / "set", options, AnnotationReport("set")).images) == (1 if skipped else 2)
