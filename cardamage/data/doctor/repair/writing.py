"""Writing JSON whatever its texts hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["write_json"]


def write_json(target: Path, content: Any, indent: int | None = None) -> None:
    """Write JSON as UTF-8; half characters, which UTF-8 has no place for, as escapes.

    Args:
        target: the file; its folder is made where it is missing.
        content: what to write.
        indent: spaces of each level; None writes one line.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        data = json.dumps(content, ensure_ascii=False, indent=indent).encode("utf-8")
    except UnicodeEncodeError:
        data = json.dumps(content, indent=indent).encode("ascii")
    target.write_bytes(data)
