"""Finding config files and the published weights that belong to them."""

from __future__ import annotations

import functools
import json
from pathlib import Path, PurePosixPath

import torch
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.config import CfgNode, get_cfg
from cardamage.errors import AbsentError, ModelZooError
from cardamage.modeling import build_model
from cardamage.utils.suggest import did_you_mean

__all__ = ["get", "get_checkpoint_url", "get_config", "get_config_file"]

_HERE = Path(__file__).resolve().parent
# In a wheel the files lie in the package, in a checkout beside it.
_FOLDERS = (_HERE / "configs", _HERE.parents[1] / "configs")
# Parts of other models, not models.
_PARTS_FOLDER = "bases"
_URL = "https://dl.fbaipublicfiles.com/detectron2"
# What names of Detectron2's files that are not here have in them, and what they belong to.
_ABSENT = {
    "keypoint": "keypoints",
    "panoptic": "panoptic segmentation",
    "semantic": "semantic segmentation",
    "retinanet": "RetinaNet",
    "new_baselines": "LazyConfig",
}


def _folder() -> Path:
    return next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])


@functools.cache
def _checkpoints() -> dict[str, str]:
    """Published weights: the config's name without ``.yaml`` -> number and file."""
    return json.loads((_HERE / "checkpoints.json").read_text(encoding="utf-8"))


def _names() -> list[str]:
    folder = _folder()
    files = (path.relative_to(folder) for path in folder.rglob("*.yaml"))
    return sorted(path.as_posix() for path in files if path.parts[0] != _PARTS_FOLDER)


def _refuse_absent(config_path: str) -> None:
    for part, subject in _ABSENT.items():
        if part in config_path.lower():
            raise AbsentError(
                f"cardamage has no {subject}, which the model zoo's '{config_path}' belongs to: run it on "
                "Detectron2 itself (what is here and what is not: docs/migrating-from-detectron2.md)."
            )


def get_checkpoint_url(config_path: str) -> str:
    """Return where the weights lie that were trained with a config.

    Args:
        config_path: the config's name in the zoo, ``COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml``.

    Returns:
        An ``https://`` address of a ``.pkl`` file.

    Raises:
        AbsentError: a model of Detectron2 that cardamage doesn't have.
        ModelZooError: no weights are published for the name; names the closest one that has some.
    """
    known = _checkpoints()
    name = config_path.removesuffix(".yaml")
    if name not in known:
        _refuse_absent(config_path)
        raise ModelZooError(
            f"The model zoo has no trained weights for '{config_path}'{did_you_mean(name, known) or '.'}"
        )
    return f"{_URL}/{name}/{known[name]}"


def get_config_file(config_path: str) -> str:
    """Return the path of one of cardamage's config files.

    Args:
        config_path: its name in the zoo, ``COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml``.

    Returns:
        The file's path, in the package or, in a checkout, in its ``configs/``.

    Raises:
        AbsentError: a model of Detectron2 that cardamage doesn't have.
        ModelZooError: there is no such file; names the closest one.
    """
    path = PurePosixPath(config_path)
    file = _folder() / path
    if path.is_absolute() or ".." in path.parts or not file.is_file():
        _refuse_absent(config_path)
        raise ModelZooError(
            f"The model zoo has no config '{config_path}' in {_folder()}"
            f"{did_you_mean(config_path, _names()) or '.'}"
        )
    return str(file)


def get_config(config_path: str, trained: bool = False) -> CfgNode:
    """Load one of cardamage's config files.

    Args:
        config_path: its name in the zoo, as for :func:`get_config_file`.
        trained: put the address of the published weights into ``MODEL.WEIGHTS``; else it is what the file
            says, mostly that of an ImageNet trunk.

    Returns:
        The config tree.

    Raises:
        AbsentError: a model of Detectron2 that cardamage doesn't have.
        ModelZooError: no such config, or no weights for it.
    """
    cfg = get_cfg()
    cfg.merge_from_file(get_config_file(config_path))
    if trained:
        cfg.MODEL.WEIGHTS = get_checkpoint_url(config_path)
    return cfg


def get(config_path: str, trained: bool = False, device: str | None = None) -> nn.Module:
    """Build a model of the zoo and load its weights.

    Args:
        config_path: its name in the zoo, as for :func:`get_config_file`.
        trained: load the published weights; else what the config names, mostly an ImageNet trunk.
        device: where to put it; by default the config's device, or the CPU where there is no GPU.

    Returns:
        The model in training mode.

    Raises:
        AbsentError: a model of Detectron2 that cardamage doesn't have.
        ModelZooError: no such config, or no weights for it.
        CheckpointError: the weights can't be fetched or read.
    """
    cfg = get_config(config_path, trained)
    if device is not None or not torch.cuda.is_available():
        cfg.MODEL.DEVICE = device or "cpu"
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    return model
