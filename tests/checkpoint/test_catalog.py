"""Weights by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cardamage.checkpoint import ModelCatalog
from cardamage.checkpoint.catalog import _COCO, _IMAGENET, _OTHER_RUNS, _RUNS, _TRUNKS
from cardamage.errors import CheckpointError
from cardamage.utils.file_io import PathManager

HOST = "https://dl.fbaipublicfiles.com/detectron"


def test_addresses() -> None:
    assert ModelCatalog.get("ImageNetPretrained/FAIR/X-101-64x4d") == (
        f"{HOST}/ImageNetPretrained/FBResNeXt/X-101-64x4d.pkl"
    )
    assert ModelCatalog.get("Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x") == (
        f"{HOST}/35858933/12_2017_baselines/e2e_mask_rcnn_R-50-FPN_1x.yaml.01_48_14.DzEQe4wC/output/train/"
        "coco_2014_train%3Acoco_2014_valminusminival/generalized_rcnn/model_final.pkl"
    )


def test_all_names_are_those_of_detectron2() -> None:
    theirs = pytest.importorskip("detectron2.checkpoint.catalog").ModelCatalog
    for name in [*(_IMAGENET + trunk for trunk in _TRUNKS), *(_COCO + run for run in (*_RUNS, *_OTHER_RUNS))]:
        assert ModelCatalog.get(name) == theirs.get(name)
    left_out = {run for run in theirs.C2_DETECTRON_MODELS if "keypoint" in run}
    assert {*theirs.C2_DETECTRON_MODELS} - left_out == {*_RUNS, *_OTHER_RUNS}
    assert theirs.C2_IMAGENET_MODELS.keys() == _TRUNKS.keys()


def test_the_file_of_a_name(loopback: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", loopback.url)
    loopback.files["/detectron/ImageNetPretrained/MSRA/R-50.pkl"] = b"weights"
    local = PathManager.get_local_path("catalog://ImageNetPretrained/MSRA/R-50")
    assert local == str(cache / "detectron/ImageNetPretrained/MSRA/R-50.pkl")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ImageNetPretrained/MSRA/R-51", "; did you mean ImageNetPretrained/MSRA/R-50?"),
        ("x", ": the names begin with ImageNetPretrained/ or Caffe2Detectron/COCO/."),
    ],
)
def test_unknown_names(name: str, words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ModelCatalog.get(name)
    assert str(caught.value) == f"There are no weights 'catalog://{name}'{words}"
