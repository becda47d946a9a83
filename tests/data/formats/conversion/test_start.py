"""A conversion does not wait for what it has no need of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = """
import sys
from cardamage.data.formats.conversion.convert import convert
convert([sys.argv[1]], sys.argv[2], sys.argv[3])
print([name for name in ("torch", "torchvision", "fvcore", "scipy", "matplotlib") if name in sys.modules])
"""


@pytest.mark.parametrize("kind", ["coco", "labelme", "masks", "via", "yolo"])
def test_torch_is_not_loaded(kind: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (60, 40)).save(photos / "a.jpg")
    shapes = [{"label": "dent", "points": [[10, 10], [20, 10], [20, 20]]}]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 40, "imageWidth": 60}
    (photos / "a.json").write_text(json.dumps(content))
    command = [sys.executable, "-c", SCRIPT, str(photos), str(tmp_path / "out"), kind]
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
