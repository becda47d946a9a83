"""The same files in cardamage and in Detectron2, where that is installed."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer
from cardamage.checkpoint.c2_model_loading import convert_c2_detectron_names
from cardamage.config import get_cfg
from cardamage.data.datasets import register_coco_instances
from cardamage.engine import DefaultTrainer
from cardamage.modeling import build_model
from cardamage.solver import build_lr_scheduler, build_optimizer

pytest.importorskip("detectron2")

import detectron2.checkpoint as theirs
import detectron2.config
import detectron2.data.datasets
import detectron2.engine
import detectron2.modeling
import detectron2.solver
from detectron2.checkpoint import c2_model_loading

Keys = Callable[..., list[Any]]

CASCADE = {"MODEL__ROI_HEADS__NAME": "CascadeROIHeads", "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": True}
GROUP_NORM = {
    "MODEL__RESNETS__NORM": "GN",
    "MODEL__FPN__NORM": "GN",
    "MODEL__ROI_BOX_HEAD__NUM_CONV": 4,
    "MODEL__ROI_BOX_HEAD__NUM_FC": 1,
    "MODEL__ROI_BOX_HEAD__NORM": "GN",
    "MODEL__ROI_MASK_HEAD__NORM": "GN",
}
FAMILIES = pytest.mark.parametrize(
    "keys",
    [{}, CASCADE, GROUP_NORM, {"MODEL__RESNETS__NORM": "SyncBN"}],
    ids=["fpn", "cascade", "group-norm", "batch-norm"],
)


def _theirs(keys: list[Any]) -> tuple[Any, nn.Module]:
    cfg = detectron2.config.get_cfg()
    cfg.merge_from_list(keys)
    return cfg, detectron2.modeling.build_model(cfg)


def _ours(keys: list[Any]) -> tuple[Any, nn.Module]:
    cfg = get_cfg()
    cfg.merge_from_list(keys)
    return cfg, build_model(cfg)


def _assert_equal(one: nn.Module, other: nn.Module) -> None:
    state = other.state_dict()
    assert one.state_dict().keys() == state.keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, state[name]), name


@FAMILIES
def test_either_reads_the_others_files(
    keys: dict[str, Any],
    tmp_path: Path,
    small_keys: Keys,
    randomize: Callable[[nn.Module], Any],
    log: pytest.LogCaptureFixture,
) -> None:
    _, source = _theirs(small_keys(**keys))
    _, model = _ours(small_keys(**keys))
    randomize(source)
    theirs.DetectionCheckpointer(source, str(tmp_path)).save("theirs", iteration=3)
    DetectionCheckpointer(model).load(str(tmp_path / "theirs.pth"), strict=True)
    _assert_equal(model, source)
    randomize(model)
    DetectionCheckpointer(model, str(tmp_path)).save("ours", iteration=4)
    rest = theirs.DetectionCheckpointer(source).load(str(tmp_path / "ours.pth"))
    _assert_equal(source, model)
    assert rest["iteration"] == 4
    assert not [record for record in log.records if record.levelname in ("WARNING", "ERROR")]


def _training(cfg: Any, model: nn.Module, solver: Any, checkpointer: Any, folder: Path) -> tuple[Any, ...]:
    optimizer = solver.build_optimizer(cfg, model)
    scheduler = solver.build_lr_scheduler(cfg, optimizer)
    return optimizer, scheduler, checkpointer(model, str(folder), optimizer=optimizer, scheduler=scheduler)


class _OurSolver:
    build_optimizer = staticmethod(build_optimizer)
    build_lr_scheduler = staticmethod(build_lr_scheduler)


@pytest.mark.parametrize("ours_first", [True, False])
def test_either_resumes_the_others_training(ours_first: bool, tmp_path: Path, small_keys: Keys) -> None:
    keys = [*small_keys(), "SOLVER.WARMUP_ITERS", 7, "SOLVER.BASE_LR", 0.03]
    sides = [
        (*_ours(keys), _OurSolver, DetectionCheckpointer),
        (*_theirs(keys), detectron2.solver, theirs.DetectionCheckpointer),
    ]
    first, second = sides if ours_first else sides[::-1]
    optimizer, scheduler, saver = _training(*first, tmp_path)
    for _ in range(3):
        for value in first[1].parameters():
            value.grad = torch.rand_like(value)
        optimizer.step()
        scheduler.step()
    saver.save("model_0000002", iteration=2)
    again, rates, loader = _training(*second, tmp_path)
    assert loader.has_checkpoint()
    assert loader.get_checkpoint_file() == str(tmp_path / "model_0000002.pth")
    assert loader.resume_or_load("", resume=True)["iteration"] == 2
    _assert_equal(second[1], first[1])
    buffers = {name: optimizer.state[value]["momentum_buffer"] for name, value in _trained(first[1])}
    for name, value in _trained(second[1]):
        assert torch.equal(again.state[value]["momentum_buffer"], buffers[name]), name
    assert rates.last_epoch == 3
    scheduler.step()
    rates.step()
    assert rates.get_last_lr() == pytest.approx(scheduler.get_last_lr(), rel=1e-12)


def _annotations(folder: Path) -> str:
    """Write two pictures with an object each; return the annotation file."""
    pictures, objects = [], []
    for number in (1, 2):
        Image.fromarray(np.random.randint(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        pictures.append({"id": number, "file_name": f"{number}.png", "height": 96, "width": 96})
        outline = [10, 10, 50, 10, 50, 50, 10, 50]
        box = {"bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0, "segmentation": [outline]}
        objects.append({"id": number, "image_id": number, "category_id": 1, **box})
    content = {"images": pictures, "annotations": objects, "categories": [{"id": 1, "name": "dent"}]}
    (folder / "a.json").write_text(json.dumps(content))
    return str(folder / "a.json")


@pytest.mark.parametrize("ours_first", [True, False])
def test_either_trainer_resumes_the_others(ours_first: bool, tmp_path: Path, small_keys: Keys) -> None:
    annotations = _annotations(tmp_path)
    name = f"exchange_{tmp_path.name}"
    register_coco_instances(name, {}, annotations, str(tmp_path))
    detectron2.data.datasets.register_coco_instances(name, {}, annotations, str(tmp_path))
    keys = [
        *small_keys(MODEL__ROI_HEADS__NUM_CLASSES=1),
        *("DATASETS.TRAIN", (name,), "DATASETS.TEST", (), "DATALOADER.NUM_WORKERS", 0),
        *("SOLVER.IMS_PER_BATCH", 1, "SOLVER.BASE_LR", 1e-4, "SOLVER.STEPS", ()),
        *("INPUT.MIN_SIZE_TRAIN", (96,), "OUTPUT_DIR", str(tmp_path)),
    ]
    sides = [(DefaultTrainer, get_cfg), (detectron2.engine.DefaultTrainer, detectron2.config.get_cfg)]
    trainers = []
    for (trainer, make), iterations in zip(sides if ours_first else sides[::-1], (1, 2), strict=True):
        cfg = make()
        cfg.merge_from_list([*keys, "SOLVER.MAX_ITER", iterations])
        trainers.append(trainer(cfg))
        trainers[-1].resume_or_load(resume=True)
        if iterations == 1:
            trainers[-1].train()
    first, second = trainers
    assert second.start_iter == 1
    assert second.scheduler.last_epoch == first.scheduler.last_epoch == 1
    _assert_equal(second.model, first.model)
    buffers = {name: first.optimizer.state[value] for name, value in _trained(first.model)}
    for name, value in _trained(second.model):
        momentum = second.optimizer.state[value]["momentum_buffer"]
        assert torch.equal(momentum, buffers[name]["momentum_buffer"]), name
    second.train()
    assert second.iter == 2


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]


def _blobs() -> dict[str, np.ndarray]:
    """Make a Caffe2 Mask R-CNN's blobs, those of Detectron 1's baselines."""
    rng = np.random.default_rng()
    names = ["conv1_w", "res_conv1_bn_s", "res_conv1_bn_b", "pred_w", "pred_b"]
    for stage, blocks in ((2, 3), (3, 4), (4, 23), (5, 3)):
        for block in range(blocks):
            layers = ["2a", "2b", "2c"] + (["1"] if block == 0 else [])
            for layer in layers:
                blob = f"res{stage}_{block}_branch{layer}"
                names += [f"{blob}_{end}" for end in ("w", "bn_s", "bn_b", "bn_rm", "bn_riv")]
                # Other norms, under names of their own.
                names += [f"{blob}x_{end}" for end in ("gn_s", "gn_b")]
                names += [f"{blob}y_{end}" for end in ("bn_gamma", "bn_beta")]
        lateral = f"fpn_inner_res{stage}_{blocks - 1}_sum" + ("_lateral" if stage < 5 else "")
        names += [f"{lateral}_{end}" for end in ("w", "b")]
        names += [f"fpn_res{stage}_{blocks - 1}_sum_{end}" for end in ("w", "b", "gn_s", "gn_b")]
    for layer in ("conv_rpn_fpn2", "rpn_cls_logits_fpn2", "rpn_bbox_pred_fpn2", "fc6", "fc7", "cls_score"):
        names += [f"{layer}_w", f"{layer}_b"]
    for layer in ("bbox_pred", "conv5_mask", "mask_fcn_logits", *(f"_[mask]_fcn{i}" for i in range(1, 5))):
        names += [f"{layer}_w", f"{layer}_b"]
    names += [f"head_conv{i}_{end}" for i in range(1, 5) for end in ("w", "gn_s", "gn_b")]
    return {name: rng.random((12, 2)).astype(np.float32) for name in names}


def test_blobs_become_the_same() -> None:
    blobs = _blobs()
    ours, origin = convert_c2_detectron_names(blobs)
    tensors = {name: torch.as_tensor(value) for name, value in blobs.items()}
    expected, expected_origin = c2_model_loading.convert_c2_detectron_names(tensors)
    assert origin == expected_origin
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("author", ["Caffe2", "torchvision"])
def test_files_of_the_model_zoo_become_the_same(author: str, tmp_path: Path, small_keys: Keys) -> None:
    _, expected = _theirs(small_keys())
    _, model = _ours(small_keys())
    model.load_state_dict(expected.state_dict())
    weights = {
        name.removeprefix("backbone.bottom_up."): np.random.rand(*value.shape).astype(np.float32)
        for name, value in expected.state_dict().items()
        if "bottom_up" in name
    }
    content: dict[str, Any] = {"model": weights, "__author__": author, "matching_heuristics": True}
    if author == "Caffe2":
        content = {_blob(name): value for name, value in weights.items()}
    (tmp_path / "trunk.pkl").write_bytes(pickle.dumps(content))
    theirs.DetectionCheckpointer(expected).load(str(tmp_path / "trunk.pkl"))
    DetectionCheckpointer(model).load(str(tmp_path / "trunk.pkl"))
    _assert_equal(model, expected)
    assert torch.equal(
        model.backbone.bottom_up.stem.conv1.weight, torch.as_tensor(weights["stem.conv1.weight"])
    )


def _blob(name: str) -> str:
    name = name.removeprefix("stem.").replace(".norm.weight", "_bn_gamma").replace(".norm.bias", "_bn_beta")
    name = name.replace(".norm.", "_bn_").replace(".weight", "_w")
    for layer, branch in (("shortcut", "1"), ("conv1", "2a"), ("conv2", "2b")):
        name = re.sub(rf"(?<=\.){layer}", f"branch{branch}", name)
    return name.replace(".", "_")
