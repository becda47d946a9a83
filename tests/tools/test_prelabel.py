"""tools/prelabel.py as a user runs it, with a model of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardamage.data.formats.labelme import load_labelme
from cardamage.utils.counting import counted

TOOL = Path(__file__).parents[2] / "tools" / "prelabel.py"


def test_photos_get_files_and_a_second_run_leaves_the_changed_one(
    tiny_model: Any, draw_photo: Callable[..., Path], run_script: Any, tmp_path: Path
) -> None:
    photos = [draw_photo(tmp_path / "é" / f"{index}.png", index) for index in range(3)]
    (tmp_path / "broken.jpg").write_text("not a picture")
    command = [TOOL, *tiny_model.arguments, "--images", tmp_path, "--threshold", 0.1, "--batch-size", 2]
    done = run_script(*command, "--opts", "MODEL.ROI_HEADS.NMS_TYPE", "hard")
    assert done.returncode == 0, done.stderr
    written = [photo.with_suffix(".json") for photo in photos if photo.with_suffix(".json").exists()]
    assert written
    objects = 0
    for path in written:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["cardamage"]["model"] == "tiny.pth"
        assert content["imagePath"] == path.with_suffix(".png").name
        for shape in content["shapes"]:
            assert shape["label"] in ("dent", "rayée")
            assert shape["description"].split()[1] == "cardamage"
            assert 0.1 <= float(shape["description"].split()[0]) <= 1
        groups = [shape["group_id"] for shape in content["shapes"]]
        objects += groups.count(None) + len(set(groups) - {None})
    files, found = counted(len(written), "Labelme file"), counted(objects, "object")
    assert f"Written: {files} with {found}." in done.stdout
    assert f"Empty: {counted(3 - len(written), 'photo')} in" in done.stdout
    assert "1 photo was left out:" in done.stdout
    dicts, _ = load_labelme(tmp_path)
    assert sum(len(record["annotations"]) for record in dicts) == objects

    changed = json.loads(written[0].read_text(encoding="utf-8"))
    changed["shapes"] = changed["shapes"][1:]
    written[0].write_text(json.dumps(changed), encoding="utf-8")
    before = written[0].read_bytes()
    done = run_script(*command)
    assert done.returncode == 0, done.stderr
    assert "Left alone: 1 " in done.stdout
    assert written[0].read_bytes() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"--images": "nowhere"},
            "The folder of photos nowhere does not exist; give the folder that they are in.",
        ),
        ({"--threshold": "2"}, "--threshold is a score from 0 to 1, not 2."),
        ({"--weights": "none.pth"}, "The weights file 'none.pth' doesn't exist: check the path."),
    ],
)
def test_errors_are_one_sentence(
    change: dict[str, str],
    sentence: str,
    tiny_model: Any,
    draw_photo: Callable[..., Path],
    run_script: Any,
    tmp_path: Path,
) -> None:
    draw_photo(tmp_path / "a.png")
    given = {"--config-file": tiny_model.config, "--weights": tiny_model.weights, "--images": tmp_path}
    done = run_script(TOOL, *(part for pair in {**given, **change}.items() for part in pair))
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"error: {sentence}"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_folder_without_photos_is_told(tiny_model: Any, run_script: Any, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    done = run_script(TOOL, *tiny_model.arguments, "--images", tmp_path)
    assert done.returncode == 1
    assert f"error: The folder {tmp_path} holds no photo (a file ending in " in done.stderr


def test_a_model_of_boxes_is_refused(
    tiny_model: Any, draw_photo: Callable[..., Path], run_script: Any, tmp_path: Path
) -> None:
    draw_photo(tmp_path / "a.png")
    done = run_script(TOOL, *tiny_model.arguments, "--images", tmp_path, "--opts", "MODEL.MASK_ON", "False")
    assert done.returncode == 1
    assert "finds boxes only (MODEL.MASK_ON is False); give one with masks." in done.stderr
