"""Training, evaluation and going on, with either engine on the other's files."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycocotools.mask as mask_util
import pytest
import torch

pytest.importorskip("detectron2", reason="needs Detectron2, see docs/parity.md")

from detectron2.checkpoint import DetectionCheckpointer as UpstreamCheckpointer
from detectron2.config import get_cfg as get_upstream_cfg
from detectron2.engine import DefaultTrainer as UpstreamTrainer
from detectron2.modeling import build_model as build_upstream

from cardamage.checkpoint import DetectionCheckpointer, read_checkpoint
from cardamage.config import get_cfg
from cardamage.engine import DefaultTrainer, default_setup
from cardamage.engine.evaluating import prepare_evaluation
from cardamage.errors import CheckpointError, ConfigValueError, TrainingError
from cardamage.evaluation import COCOEvaluator
from cardamage.interop import run as backend

ROOT = Path(__file__).parents[2]
Flags = Callable[..., argparse.Namespace]


class Trainer(DefaultTrainer):
    """cardamage's, as train_net.py makes it."""

    @classmethod
    def build_evaluator(cls, cfg: Any, dataset_name: str) -> COCOEvaluator:
        folder = f"{cfg.OUTPUT_DIR}/inference"
        return COCOEvaluator(dataset_name, output_dir=folder)


def own_config(args: argparse.Namespace) -> Any:
    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    default_setup(cfg, args)
    return cfg


def own_trainer(args: argparse.Namespace) -> Trainer:
    trainer = Trainer(own_config(args))
    trainer.resume_or_load(resume=args.resume)
    return trainer


def own_results(args: argparse.Namespace) -> dict[str, Any]:
    cfg = own_config(args)
    weights, classes = prepare_evaluation(cfg)
    model = Trainer.build_model(cfg)
    DetectionCheckpointer(model, thing_classes=classes).load(weights, strict=True)
    return Trainer.test(cfg, model)


@pytest.fixture(scope="module")
def ours(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of cardamage's engine."""
    folder = tmp_path_factory.mktemp("ours")
    own_trainer(flags(folder, "SOLVER.MAX_ITER", "10", "SOLVER.CHECKPOINT_PERIOD", "10")).train()
    return folder


@pytest.fixture(scope="module")
def theirs(flags: Flags, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of Detectron2's engine with keys that only cardamage has."""
    folder = tmp_path_factory.mktemp("theirs")
    options = [
        "SOLVER.EMA.ENABLED",
        "True",
        "MODEL.ROI_HEADS.NMS_TYPE",
        "soft_linear",
        "TEST.EVAL_PERIOD",
        "3",
    ]
    backend.main(flags(folder, *options))
    return folder


def flat(results: dict[str, Any]) -> dict[str, float]:
    return {f"{task}/{name}": value for task, found in results.items() for name, value in found.items()}


def detections(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "inference/coco_instances_results.json").read_text())
    return sorted(found, key=lambda record: (record["image_id"], -record["score"]))


@pytest.mark.parametrize("kind", ["hard", "soft_gaussian"])
def test_both_engines_find_and_measure_the_same(ours: Path, flags: Flags, tmp_path: Path, kind: str) -> None:
    options = ["MODEL.WEIGHTS", str(ours / "model_final.pth"), "MODEL.ROI_HEADS.NMS_TYPE", kind]
    theirs = backend.main(flags(tmp_path / "theirs", *options, eval_only=True))
    assert theirs is not None
    one, other = flat(own_results(flags(tmp_path / "ours", *options, eval_only=True))), flat(theirs)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert math.isnan(value) == math.isnan(other[name]), name
        assert math.isnan(value) or abs(value - other[name]) <= 0.05, name
    pairs = list(zip(detections(tmp_path / "ours"), detections(tmp_path / "theirs"), strict=True))
    assert len(pairs) > 100
    for mine, his in pairs:
        assert (mine["image_id"], mine["category_id"]) == (his["image_id"], his["category_id"])
        assert mine["score"] == pytest.approx(his["score"], abs=1e-5)
        assert mine["bbox"] == pytest.approx(his["bbox"], abs=1e-2)
    masks = ([record["segmentation"] for record in side] for side in zip(*pairs, strict=True))
    overlaps = [mask_util.iou([a], [b], [0])[0, 0] for a, b in zip(*masks, strict=True) if mask_util.area(a)]
    assert len(overlaps) > 20
    assert min(overlaps) > 0.99


def test_the_output_folder_holds_detectron2s_files_and_ours(theirs: Path) -> None:
    names = {path.name for path in theirs.iterdir()}
    assert {"log.txt", "metrics.json", "config.yaml", "config_detectron2.yaml", "last_checkpoint"} <= names
    assert {"model_0000002.pth", "model_0000005.pth", "model_final.pth", "model_best.pth"} <= names
    assert (theirs / "last_checkpoint").read_text() == "model_final.pth"
    assert (theirs / "inference/coco_instances_results.json").is_file()
    lines = [json.loads(line) for line in (theirs / "metrics.json").read_text().splitlines()]
    # WRITER_PERIOD is 1; the last line is that of the evaluation after training.
    assert [line["iteration"] for line in lines[:6]] == [0, 1, 2, 3, 4, 5]
    assert "segm/AP" in lines[-1]
    assert "loss_mask" in lines[0]


def test_class_names_and_averaged_weights_are_in_the_checkpoint(theirs: Path) -> None:
    checkpoint = read_checkpoint(theirs / "model_final.pth")
    assert "scratch" in checkpoint["cardamage"]["thing_classes"]
    assert checkpoint["ema"]["updates"] == 6
    own, averaged = checkpoint["ema"]["training_model"], checkpoint["model"]
    differing = [name for name in own if not torch.equal(own[name], averaged[name])]
    assert "roi_heads.box_predictor.cls_score.weight" in differing


def test_detectron2_alone_loads_what_either_wrote(ours: Path, theirs: Path) -> None:
    cfg = get_upstream_cfg()
    cfg.merge_from_file(str(theirs / "config_detectron2.yaml"))
    for folder in (ours, theirs):
        model = build_upstream(cfg)
        UpstreamCheckpointer(model).load(str(folder / "model_final.pth"), checkpointables=[])
        saved = read_checkpoint(folder / "model_final.pth")["model"]
        state = model.state_dict()
        assert {k for k in saved if k not in state} == set()
        for name, value in state.items():
            assert torch.equal(value, saved[name]), name


def test_detectron2s_own_trainer_goes_on_from_a_checkpoint_of_the_backend(theirs: Path) -> None:
    cfg = get_upstream_cfg()
    cfg.merge_from_file(str(theirs / "config_detectron2.yaml"))
    cfg.OUTPUT_DIR, cfg.TEST.EVAL_PERIOD = str(theirs), 0
    trainer = UpstreamTrainer(cfg)
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 6


def momenta(trainer: Any) -> dict[str, torch.Tensor]:
    state = trainer.optimizer.state
    return {
        name: state[p]["momentum_buffer"]
        for name, p in trainer.model.named_parameters()
        if p in state and state[p]
    }


def test_a_training_of_cardamage_goes_on_in_detectron2(
    flags: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["SOLVER.MAX_ITER", "6"]
    first = own_trainer(flags(tmp_path, "SOLVER.MAX_ITER", "3"))
    first.train()
    seen: dict[str, Any] = {}

    def look(trainer: Any) -> None:
        seen["start"] = trainer.start_iter
        seen["momenta"] = {name: value.clone() for name, value in momenta(trainer).items()}
        seen["epoch"] = trainer.scheduler.last_epoch
        original(trainer)

    from cardamage.interop.trainer import BackendTrainer

    original = BackendTrainer.train
    monkeypatch.setattr(BackendTrainer, "train", look)
    backend.main(flags(tmp_path, *options, resume=True))
    assert seen["start"] == 3
    assert seen["epoch"] == first.scheduler.last_epoch == 3
    expected = momenta(first)
    assert seen["momenta"].keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(value, seen["momenta"][name]), name
    # And back again.
    checkpoint = read_checkpoint(tmp_path / "model_final.pth")
    last = own_trainer(flags(tmp_path, "SOLVER.MAX_ITER", "8", resume=True))
    assert last.start_iter == 6
    assert last.scheduler.last_epoch == 6
    saved = checkpoint["trainer"]["_trainer"]["optimizer"]["state"]
    assert len(saved) == len(momenta(last)) == len(expected)
    order = [name for name, _ in last.model.named_parameters()]
    indices = {id(p): i for i, p in enumerate(p for g in last.optimizer.param_groups for p in g["params"])}
    parameters = dict(last.model.named_parameters())
    for name in order:
        buffer = saved[indices[id(parameters[name])]]["momentum_buffer"]
        assert torch.equal(buffer, momenta(last)[name]), name
    last.train()


def test_fine_tuning_starts_from_the_others_weights(
    ours: Path, theirs: Path, flags: Flags, tmp_path: Path
) -> None:
    one = own_trainer(flags(tmp_path / "one", "MODEL.WEIGHTS", str(theirs / "model_final.pth")))
    saved = read_checkpoint(theirs / "model_final.pth")["model"]
    assert one.start_iter == 0
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, saved[name]), name
    options = [
        "MODEL.WEIGHTS",
        str(ours / "model_final.pth"),
        "SOLVER.MAX_ITER",
        "1",
        "SOLVER.BASE_LR",
        "0.0",
    ]
    backend.main(flags(tmp_path / "other", *options, "DATASETS.TEST", "()"))
    kept = read_checkpoint(tmp_path / "other/model_final.pth")["model"]
    saved = read_checkpoint(ours / "model_final.pth")["model"]
    for name, value in kept.items():
        assert torch.equal(value, saved[name]) or ".norm." in name or ".bn" in name, name


def test_weights_that_hold_code_are_not_run(flags: Flags, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    torch.save({"model": {"a": torch.zeros(1)}, "extra": Harm()}, tmp_path / "bad.pth")
    options = ["MODEL.WEIGHTS", str(tmp_path / "bad.pth")]
    with pytest.raises(CheckpointError):
        backend.main(flags(tmp_path / "out", *options, eval_only=True))
    with pytest.raises(CheckpointError):
        backend.main(flags(tmp_path / "out", *options))
    assert not (tmp_path / "harm").exists()


def test_an_empty_output_folder_name_is_refused(flags: Flags, tmp_path: Path) -> None:
    with pytest.raises(ConfigValueError, match="OUTPUT_DIR"):
        backend.main(flags(tmp_path, "OUTPUT_DIR", ""))


def test_views_are_refused(flags: Flags, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigValueError, match="--backend detectron2 evaluates without test-time augmentation"
    ):
        backend.main(flags(tmp_path, "TEST.AUG.ENABLED", "True"))


def test_a_sampler_that_detectron2_lacks_is_refused(flags: Flags, tmp_path: Path) -> None:
    with pytest.raises(ConfigValueError, match="ClassAwareSampler, which Detectron2 doesn't have"):
        backend.main(flags(tmp_path, "DATALOADER.SAMPLER_TRAIN", "ClassAwareSampler"))


def test_the_command_line_is_the_same(ours: Path, config_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train_net.py"), "--backend", "detectron2", "--eval-only"]
    command += ["--config-file", str(config_file), "--num-gpus", "1", "MODEL.WEIGHTS"]
    command += [
        str(ours / "model_final.pth"),
        "OUTPUT_DIR",
        str(tmp_path / "out"),
        "SOLVER.AMP.ENABLED",
        "True",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Without effect with --backend detectron2: SOLVER.AMP.ENABLED" in done.stdout
    assert "copypaste: AP,AP50,AP75,APs,APm,APl" in done.stdout


def test_gpus_that_are_not_there_are_a_sentence(config_file: Path, tmp_path: Path) -> None:
    if torch.cuda.device_count() >= 64:
        pytest.skip("this machine has them")
    command = [sys.executable, str(ROOT / "train_net.py"), "--backend", "detectron2", "--num-gpus", "64"]
    command += ["--config-file", str(config_file), "OUTPUT_DIR", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "--num-gpus 64" in done.stderr.strip().splitlines()[-1]
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("metric", "tests", "masks", "expected"),
    [
        ("segm/AP", ("a",), True, "segm/AP"),
        ("segm/AP", ("a",), False, "bbox/AP"),
        ("segm/AP", ("a", "b"), True, "a/segm/AP"),
        ("b/segm/AP50", ("a", "b"), True, "b/segm/AP50"),
        ("a/bbox/AP", ("a",), True, "bbox/AP"),
        ("validation_loss", ("a", "b"), True, "validation_loss"),
        ("segm/AP", (), True, ""),
    ],
)
def test_the_best_checkpoint_goes_by_the_name_that_detectron2_stores(
    metric: str, tests: tuple[str, ...], masks: bool, expected: str
) -> None:
    cfg = get_cfg()
    cfg.TEST.BEST_CHECKPOINT.METRIC, cfg.DATASETS.TEST, cfg.MODEL.MASK_ON = metric, tests, masks
    assert backend._best_metric(cfg) == expected
    cfg.TEST.BEST_CHECKPOINT.ENABLED = False
    assert backend._best_metric(cfg) == ""


def test_a_loss_that_is_not_finite_is_a_sentence(flags: Flags, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="stopped the training: .*; lower SOLVER.BASE_LR"):
        backend.main(flags(tmp_path, "SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_ITERS", "0"))
