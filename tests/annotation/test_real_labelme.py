"""The real Labelme opens what is pre-labelled, and keeps our mark. Skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cardamage.annotation.prelabel import PrelabelSettings, prelabel_files
from cardamage.data.formats.labelme.marks import State, state_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("labelme") is None, reason="labelme is not installed"
)

OPENER = Path(__file__).parents[1] / "data" / "formats" / "labelme" / "open_in_labelme.py"
SAVE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from open_in_labelme import Window
window = Window()
print(json.dumps(window.open(sys.argv[2])))
inner = window._window
save = next(getattr(inner, n) for n in ("save_labels", "saveLabels", "_save_labels") if hasattr(inner, n))
assert save(sys.argv[2])
"""


def test_opened_and_saved(finder: Any, tmp_path: Path) -> None:
    picture = np.full((90, 120, 3), 128, np.uint8)
    cv2.circle(picture, (40, 40), 30, (0, 0, 255), -1)
    cv2.circle(picture, (40, 40), 12, (128, 128, 128), -1)
    picture[70:85, 90:110] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    prelabel_files(finder, [tmp_path / "a.png"], tmp_path, PrelabelSettings())
    path = tmp_path / "a.json"
    before = json.loads(path.read_text())
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(OPENER.parent), str(path)],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("QT_")},
            "QT_QPA_PLATFORM": "offscreen",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    on_canvas = json.loads(done.stdout.splitlines()[-1])
    assert on_canvas == [[s["label"], "polygon", s["group_id"]] for s in before["shapes"]]
    after = json.loads(path.read_text())
    assert after["cardamage"] == before["cardamage"]
    assert after["flags"] == {"reviewed": False}
    assert [s["points"] for s in after["shapes"]] == [s["points"] for s in before["shapes"]]
    assert [s["description"] for s in after["shapes"]] == ["0.90 cardamage"] * 2
    # The version that saved it is another than the one we write.
    assert state_of(path) is (State.TOUCHED if after["version"] != before["version"] else State.OURS)
