from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAKER = Path(__file__).resolve().parents[2] / "datasets" / "make_demo.py"


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures of seed 0."""
    output = tmp_path_factory.mktemp("demo")
    subprocess.run([sys.executable, str(MAKER), "--output", str(output), "--num", "60"], check=True)
    return output


@pytest.fixture(scope="session")
def annotations(demo_set: Path) -> list[dict[str, Any]]:
    """The Labelme files of the set, in order."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted(demo_set.glob("*.json"))]
