"""What is said of text and JSON that can't be read, and how much memory large JSON may take."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from cardamage.data.formats.shared import text_files
from cardamage.data.formats.shared.text_files import read_json, read_text
from cardamage.errors import DataError
from cardamage.utils.heap import available_memory


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b'{"images": [1, 2', "ends in the middle, at line 1"),
        (b'{"images":\n [1, "ab', "ends in the middle, at line 2"),
        (b'{"images": [1, 2],}', "is not valid JSON at character 19"),
        (b'{\n"images": [1, 2],\n}', "is not valid JSON at line 3"),
        (b"[" * 100_000, "nested too deeply"),
        ("{}".encode("utf-16"), "is not UTF-8 text"),
        ('{"é": 1}'.encode("latin-1"), "is not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_json(tmp_path / "a.json", "COCO file")


def test_line_ends_and_byte_order_marks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(tmp_path / "a.txt", "file") == "a\nb\nc\n"


# Values of JSON that take most memory for each byte, and usual ones.
HUNGRY = ["[]", "{}", '{"a":1}', "[1.5]", '"abc"', "123456", '[12.25,640.5,"x"]']


@pytest.mark.parametrize("value", HUNGRY)
def test_the_guess_of_the_memory_is_no_smaller_than_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    text = "[" + ",".join([value] * 100_000) + "]"
    (tmp_path / "a.json").write_text(text)
    tracemalloc.start()
    kept = json.loads(text)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) == 100_000
    monkeypatch.setattr(text_files, "_LARGE", 1)
    monkeypatch.setattr(text_files, "available_memory", lambda: int(0.95 * taken))
    with pytest.raises(DataError, match="once it is read, and .* GiB are free; divide it"):
        read_json(tmp_path / "a.json", "COCO file")
    monkeypatch.setattr(text_files, "available_memory", lambda: 12 * taken)
    assert read_json(tmp_path / "a.json", "COCO file") == kept


def test_the_memory_of_this_machine() -> None:
    free = available_memory()
    assert free is None or 0 <= free < 1 << 50
