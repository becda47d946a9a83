from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cardamage import model_zoo
from cardamage.errors import AbsentError, ModelZooError
from cardamage.model_zoo.model_zoo import _checkpoints

ROOT = Path(__file__).resolve().parents[2]
R50 = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"


def test_config_files_are_those_of_the_checkout() -> None:
    assert Path(model_zoo.get_config_file(R50)) == ROOT / "configs" / R50


def test_a_config_names_a_trunk_or_the_trained_model() -> None:
    assert model_zoo.get_config(R50).MODEL.WEIGHTS == "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
    address = (
        "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/"
        "137849600/model_final_f10217.pkl"
    )
    assert model_zoo.get_config(R50, trained=True).MODEL.WEIGHTS == address
    assert model_zoo.get_checkpoint_url(R50) == model_zoo.get_checkpoint_url(R50[: -len(".yaml")]) == address


def test_the_weights_that_cityscapes_starts_from_are_those_of_the_table() -> None:
    start = model_zoo.get_config("Cityscapes/mask_rcnn_R_50_FPN.yaml").MODEL.WEIGHTS
    assert model_zoo.get_checkpoint_url(R50).endswith(start.removeprefix("detectron2://"))


def test_every_model_with_weights_has_a_config() -> None:
    assert len(_checkpoints()) == 40
    for name, file in _checkpoints().items():
        assert Path(model_zoo.get_config_file(f"{name}.yaml")).is_file()
        number, _, file = file.partition("/")
        assert number.isdigit()
        assert file.startswith("model_")


def test_a_model_is_built_in_training_mode() -> None:
    model = model_zoo.get("demo/mask_rcnn_R_18_FPN.yaml", device="cpu")
    assert model.training
    assert model.device == torch.device("cpu")


@pytest.mark.parametrize(
    "name",
    [
        "COCO-InstanceSegmentation/mask_rcnn_R50_FPN_3x.yaml",
        "coco-instancesegmentation/mask_rcnn_r_50_fpn_3.yaml",
        R50[: -len(".yaml")],
    ],
)
def test_a_misspelled_config_is_answered_with_the_closest(name: str) -> None:
    with pytest.raises(ModelZooError, match=f"no config '{name}'.*did you mean {R50}?"):
        model_zoo.get_config(name)


@pytest.mark.parametrize("name", ["../setup.py", "/etc/passwd", "damage", "", "x/../../README.md"])
def test_only_files_of_the_zoo_are_given(name: str) -> None:
    with pytest.raises(ModelZooError, match="no config"):
        model_zoo.get_config_file(name)


def test_a_config_without_published_weights_says_so() -> None:
    with pytest.raises(ModelZooError, match="no trained weights for 'damage/mask_rcnn_R_50_FPN.yaml'"):
        model_zoo.get_config("damage/mask_rcnn_R_50_FPN.yaml", trained=True)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml", "keypoints"),
        ("COCO-PanopticSegmentation/panoptic_fpn_R_50_3x.yaml", "panoptic segmentation"),
        ("COCO-Detection/retinanet_R_50_FPN_3x.yaml", "RetinaNet"),
        ("Misc/semantic_R_50_FPN_1x.yaml", "semantic segmentation"),
        ("new_baselines/mask_rcnn_R_50_FPN_400ep_LSJ.py", "LazyConfig"),
    ],
)
def test_models_that_are_not_here_are_named(name: str, subject: str) -> None:
    for ask in (model_zoo.get, model_zoo.get_config_file, model_zoo.get_checkpoint_url):
        with pytest.raises(AbsentError, match=f"no {subject}.*{name}"):
            ask(name)
    assert issubclass(ModelZooError, RuntimeError)


def test_a_wheel_has_the_configs_in_it(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "configs", source / "configs")
    for name in ("__init__.py", "model_zoo"):
        copy = shutil.copytree if "." not in name else shutil.copy
        (source / "cardamage").mkdir(exist_ok=True)
        copy(ROOT / "cardamage" / name, source / "cardamage" / name)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    zoo = built / "cardamage/model_zoo"
    assert (zoo / "checkpoints.json").is_file()
    files = {path.relative_to(zoo / "configs") for path in (zoo / "configs").rglob("*.yaml")}
    assert files == {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
