"""The command as a user runs it; what it does is tested with the package."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from cardamage.catalog import DatasetCatalog
from cardamage.data.formats.labelme.marks import marked
from cardamage.data.images.checks import check_images
from tests.support.labelme_files import shape, write_labelled_photo
from tests.support.paths import REPOSITORY

Run = Callable[..., "subprocess.CompletedProcess[str]"]

TOOL = REPOSITORY / "tools/convert.py"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i in range(10):
        write_labelled_photo(folder / f"{i}.json", shape(label="scratch" if i % 2 else "dent"), red=i * 20)
    return folder


@pytest.fixture
def run(run_script: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return partial(run_script, TOOL)


def test_what_is_printed_names_the_result(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(photos, "--to", "coco", "-o", out, "--split", 0.8, 0.2, "--rename", "scratch=crack")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"{photos}: labelme, 10 images." in lines
    assert f"{photos}: 10 annotations read, 0 dropped." in lines
    assert "class train val total" in lines
    assert "crack 4 (80.0%) 1 (20.0%) 5" in lines
    train = f"coco:{out / 'annotations/train.json'}@{out / 'images'}"
    assert f"train: DATASETS.TRAIN \"('{train}',)\"" in lines
    val = f"coco:{out / 'annotations/val.json'}@{out / 'images'}"
    assert f"val: DATASETS.TEST \"('{val}',)\"" in lines
    assert (out / "conversion.log").is_file()
    assert len(list((out / "images").iterdir())) == 10


def test_the_cache_is_used_unless_told_otherwise(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run(photos, "--to", "coco", "-o", tmp_path / "one", "--no-cache").returncode == 0
    assert not (tmp_path / "cache").exists()
    assert run(photos, "--to", "coco", "-o", tmp_path / "two").returncode == 0
    assert list((tmp_path / "cache/cardamage/annotations").iterdir())
    assert run(photos, "--to", "coco", "-o", tmp_path / "three", "--workers", 1).returncode == 0
    files = [(tmp_path / name / "annotations/all.json").read_bytes() for name in ("one", "two", "three")]
    assert files[0] == files[1] == files[2]


def test_several_sources_and_kept_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run(photos, "--to", "coco", "-o", tmp_path / "one", "--pictures", "keep").returncode == 0
    assert not (tmp_path / "one/images").exists()
    assert run(photos, "--to", "coco", "-o", tmp_path / "two", "--pictures", "link").returncode == 0
    done = run(photos, tmp_path / "two", "--merge", "--to", "coco", "-o", tmp_path / "three")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "three/images").iterdir())) == 20


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--line-width", "0"], "--line-width must be above 0, not 0."),
        (["--tolerance", "-1"], "--tolerance must be 0 or more, not -1."),
        (["--rename", "dint=dent"], "--rename dint=dent: there is no class 'dint'; did you mean dent?"),
        (["--from", "labelmee"], "The format 'labelmee' is unknown; did you mean labelme?"),
    ],
)
def test_a_mistake_is_one_sentence(
    run: Run, photos: Path, tmp_path: Path, flags: list[str], said: str
) -> None:
    done = run(photos, "--to", "coco", "-o", tmp_path / "out", *flags)
    assert done.returncode == 1
    assert done.stderr == f"error: {said}\n"
    assert not (tmp_path / "out").exists()


def test_masks_of_both_kinds(run: Run, photos: Path, tmp_path: Path) -> None:
    for kind, mask in (("instance", "masks/1/1_scratch.png"), ("index", "masks/1.png")):
        out = tmp_path / kind
        assert run(photos, "--to", "masks", "--masks", kind, "-o", out, "--workers", 1).returncode == 0
        with Image.open(out / mask) as image:
            values = {value for _, value in image.getcolors() or []}
        assert values == ({0, 255} if kind == "instance" else {0, 2})


@pytest.mark.parametrize("kind", ["labelme", "coco", "via", "yolo"])
@pytest.mark.parametrize("split", [[], ["--split", "0.8", "0.2"]])
def test_the_printed_names_are_datasets_where_pictures_are_kept(
    run: Run, photos: Path, tmp_path: Path, kind: str, split: list[str]
) -> None:
    out = tmp_path / "far/away" / kind
    done = run(photos, "--to", kind, "-o", out, "--pictures", "keep", *split)
    assert done.returncode == 0, done.stderr
    names = [line.split("'")[1] for line in done.stdout.splitlines() if "DATASETS." in line]
    found = [record for name in names for record in DatasetCatalog.get(name)]
    check_images(found)
    assert sum(len(record["annotations"]) for record in found) == 10


def test_pictures_in_a_folder_that_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    assert run(photos, "--to", "coco", "-o", tmp_path / "far/away", "--pictures", "keep").returncode == 0
    done = run(tmp_path / "far/away", "--to", "coco", "-o", tmp_path / "two")
    assert done.returncode == 1
    assert "10 of 10 images do not exist" in done.stderr
    done = run(tmp_path / "far/away", "--images", photos, "--to", "coco", "-o", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "two/images").iterdir())) == 10


def test_pre_labels_that_nobody_reviewed_can_be_left_out(run: Run, photos: Path, tmp_path: Path) -> None:
    for i in range(4):
        path = photos / f"{i}.json"
        path.write_text(json.dumps(marked(json.loads(path.read_text()), model="m.pth")))
    done = run(photos, "--to", "coco", "-o", tmp_path / "one", "--skip-unreviewed")
    assert done.returncode == 0, done.stderr
    assert "4 dropped: a pre-label that nobody has reviewed" in done.stdout
    content = json.loads((tmp_path / "one/annotations/all.json").read_text())
    assert [image["file_name"] for image in content["images"]] == [f"{i}.jpg" for i in range(4, 10)]
    done = run(tmp_path / "one", "--to", "yolo", "-o", tmp_path / "two", "--skip-unreviewed")
    assert done.returncode == 1
    assert done.stderr == (
        "error: --skip-unreviewed is for Labelme files, and none of the sources is of these.\n"
    )
