"""What kind of JSON a file holds, told by its beginning: large files are not read to recognize them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ....utils.files import open_regular

__all__ = ["json_opening", "json_files"]

_READ = 1 << 16
# Folders of more JSON files than this hold one for each picture, not one for all.
_MOST_FILES = 64
# A string (the last one may be cut off), a bracket, a colon, or anything else but space and commas.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[{}\[\]:]|[^\s{}\[\]:",]+', re.DOTALL)
_SIMPLE_KEY = re.compile(r'"[^"\\]*"')


def json_opening(path: str | os.PathLike[str], limit: int = _READ) -> dict[str, set[str]]:
    """Tell the keys of a JSON object as far as its first bytes show them.

    Args:
        path: a file.
        limit: bytes to read.

    Returns:
        For each key the keys of its value where that is an object, and of the first object where that is a
        list of objects; otherwise no keys. Nothing at all for what can't be read, or is no JSON object.
    """
    try:
        with open_regular(path) as file:
            data = file.read(limit)
    except (OSError, ValueError):
        return {}
    text = data.decode("utf-8-sig", errors="replace")
    return _keys(text) if text.lstrip()[:1] == "{" else {}


def json_files(folder: str | os.PathLike[str], suffixes: tuple[str, ...] = (".json",)) -> list[Path]:
    """Return a folder's JSON files by name; none where there are so many that each is of one picture.

    Args:
        folder: is not gone into.
        suffixes: in lower case.
    """
    found: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.endswith(suffixes) and not name.startswith(".") and entry.is_file():
                    found.append(Path(entry.path))
                    if len(found) > _MOST_FILES:
                        return []
    except OSError:
        return []
    return sorted(found)


def _keys(text: str) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    brackets: list[str] = []
    last = key = ""
    # Of the first object below the key: None before it, and where it stands in `brackets`.
    depth: int | None = None
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in ("{", "["):
            brackets.append(token)
            if token == "{" and key and depth is None and 1 < len(brackets) <= 3:
                depth = len(brackets) if brackets[1] == "{" or len(brackets) == 3 else 0
        elif token in ("}", "]"):
            if not brackets or brackets.pop() + token not in ("{}", "[]"):
                break
            if depth is not None and len(brackets) < depth:
                depth = 0
        elif token == ":" and _SIMPLE_KEY.fullmatch(last):
            if len(brackets) == 1:
                key, depth = last[1:-1], None
                keys.setdefault(key, set())
            elif depth and len(brackets) == depth:
                keys[key].add(last[1:-1])
        last = token
    return keys
