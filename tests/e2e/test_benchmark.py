"""The whole command on tiny photos."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cardamage.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "benchmark.py"
TINY = [
    *("--size", "64", "96", "--photos", "2", "--rounds", "1", "--device", "cpu"),
    *("--batch-size", "1", "--inference-batches", "1"),
    *("--config-file", str(ROOT / "configs/parts/mask_rcnn_R_18_FPN.yaml")),
]
KEYS = [
    # The peers' models are large ones: most of a step is what is learned in them.
    *("MODEL.BACKBONE.FREEZE_AT", "5", "MODEL.RPN.BATCH_SIZE_PER_IMAGE", "32"),
    *("DATALOADER.NUM_WORKERS", "0", "TEST.DETECTIONS_PER_IMAGE", "20"),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", "60", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "60"),
]


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("benchmark")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    words = ["--output", str(folder), "--num", "2", "--width", "160", "--height", "128"]
    subprocess.run([sys.executable, str(ROOT / "datasets/make_demo.py"), *words], check=True)
    return folder


def test_everything_that_is_quick(
    tool: ModuleType, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    sections = ["train", "inference", "loader", "evaluation", "conversion"]
    words = [*sections, *TINY, "--images", str(photos), "--json", str(figures), *KEYS]
    assert tool.main(words) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:-1])) <= 100
    report = json.loads(figures.read_text())
    by_key = {section["key"]: section for section in report["sections"]}
    assert list(by_key) == ["train", "inference-1", "loader", "evaluation", "conversion"]
    for section in by_key.values():
        rows = section["rows"]
        assert rows[0]["side"] == "cardamage"
        assert all(len(row["seconds"]) == 1 or row["note"] for row in rows)
        assert all(row["median"] > 0 for row in rows if row["seconds"])
    for key in ("train", "inference-1"):
        sides = {row["side"] for row in by_key[key]["rows"]}
        assert {"cardamage", "cardamage, plain float32", "torchvision, float32"} < sides
        for parts in by_key[key]["parts"].values():
            assert {"prep", "trunk", "RPN", "ROI heads"} < parts.keys()
            assert ({"waiting", "backward"} < parts.keys()) == (key == "train")
    assert "Every side found 20 objects in each photo." in by_key["inference-1"]["checks"]
    assert by_key["evaluation"]["checks"][0].startswith("Equal: every side's AP is")
    objects = {row["values"]["objects"] for row in by_key["conversion"]["rows"] if row["seconds"]}
    assert len(objects) == 1


def test_bad_input_is_one_sentence(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^The folder {tmp_path} has no Labelme files"):
        tool.main(["train", "--images", str(tmp_path), "--device", "cpu"])
    words = [sys.executable, str(TOOL), "trainn"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: There is no section 'trainn'; did you mean train?")
    assert len(done.stderr.splitlines()) == 1


def test_help_needs_no_torch() -> None:
    code = (
        f"import sys, runpy; sys.argv = ['{TOOL}', '--help']; runpy.run_path('{TOOL}', run_name='__main__')"
    )
    check = f"try:\n {code}\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, cwd=ROOT)
