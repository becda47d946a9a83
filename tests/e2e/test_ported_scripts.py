"""What Detectron2's users run, with the import renamed: the first tutorial and the plain training loop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cardamage import model_zoo
from cardamage.config import CfgNode, get_cfg
from cardamage.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from cardamage.engine import DefaultPredictor, DefaultTrainer
from cardamage.evaluation import COCOEvaluator, inference_on_dataset
from cardamage.modeling import build_model
from cardamage.structures import BoxMode
from cardamage.utils.visualizer import ColorMode, Visualizer

ROOT = Path(__file__).parents[2]


def draw_via(folder: Path, count: int, seed: int) -> Path:
    """Draw red discs on grey and annotate them as the VGG Image Annotator's first version does."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    content = {}
    for index in range(count):
        height, width = (64, 96) if index % 2 else (96, 64)
        photo = np.full((height, width, 3), 110 + 10 * index, np.uint8)
        regions = {}
        for number in range(2):
            radius = int(rng.integers(10, 16))
            x, y = int(rng.integers(radius, width - radius)), int(rng.integers(radius, height - radius))
            cv2.circle(photo, (x, y), radius, (30, 30, 220), -1)
            angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
            regions[str(number)] = {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [int(x + radius * value) for value in np.cos(angles)],
                    "all_points_y": [int(y + radius * value) for value in np.sin(angles)],
                },
                "region_attributes": {},
            }
        name = f"{index}.jpg"
        cv2.imwrite(str(folder / name), photo)
        content[f"{name}1234"] = {"filename": name, "size": 1234, "regions": regions, "file_attributes": {}}
    (folder / "via_region_data.json").write_text(json.dumps(content))
    return folder


def balloon_dicts(folder: Path) -> list[dict[str, Any]]:
    """Read them by hand, numpy's numbers left in the boxes, as scripts do."""
    records = []
    entries = json.loads((folder / "via_region_data.json").read_text()).values()
    for number, entry in enumerate(entries):
        path = os.path.join(folder, entry["filename"])
        height, width = cv2.imread(path).shape[:2]
        objects = []
        for region in entry["regions"].values():
            xs = region["shape_attributes"]["all_points_x"]
            ys = region["shape_attributes"]["all_points_y"]
            objects.append(
                {
                    "bbox": [np.min(xs), np.min(ys), np.max(xs), np.max(ys)],
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "segmentation": [[value + 0.5 for point in zip(xs, ys, strict=True) for value in point]],
                    "category_id": 0,
                }
            )
        record = {"file_name": path, "image_id": number, "height": height, "width": width}
        records.append({**record, "annotations": objects})
    return records


def shrink(cfg: CfgNode, folder: Path) -> None:
    """Make the tutorial's model and pictures small enough for a test."""
    cfg.MODEL.DEVICE, cfg.OUTPUT_DIR, cfg.SEED = "cpu", str(folder), 3
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    # A few steps say nothing about the statistics of a whole set, which BN would evaluate with.
    cfg.MODEL.RESNETS.NORM, cfg.MODEL.BACKBONE.FREEZE_AT = "GN", 0
    cfg.MODEL.FPN.OUT_CHANNELS, cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 16, 32
    cfg.MODEL.ROI_MASK_HEAD.CONV_DIM, cfg.MODEL.ROI_MASK_HEAD.NUM_CONV = 8, 1
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 40
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (64,), 96
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 64, 96
    cfg.SOLVER.WARMUP_ITERS = 2


@pytest.fixture(scope="module")
def balloons(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Register the two halves of the set, as the tutorial does."""
    folder = tmp_path_factory.mktemp("balloon")
    for half, count in (("train", 6), ("val", 3)):
        draw_via(folder / half, count, count)
        DatasetCatalog.register(f"balloon_{half}", lambda half=half: balloon_dicts(folder / half))
        MetadataCatalog.get(f"balloon_{half}").set(thing_classes=["balloon"])
    yield folder
    for half in ("train", "val"):
        DatasetCatalog.remove(f"balloon_{half}")
        MetadataCatalog.remove(f"balloon_{half}")


def test_the_balloon_tutorial(balloons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    metadata = MetadataCatalog.get("balloon_train")
    record = DatasetCatalog.get("balloon_train")[0]
    photo = cv2.imread(record["file_name"])
    drawn = Visualizer(photo[:, :, ::-1], metadata=metadata, scale=0.5).draw_dataset_dict(record)
    assert drawn.get_image().shape == (photo.shape[0] // 2, photo.shape[1] // 2, 3)

    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"))
    cfg.DATASETS.TRAIN = ("balloon_train",)
    cfg.DATASETS.TEST = ()
    cfg.DATALOADER.NUM_WORKERS = 0
    address = model_zoo.get_checkpoint_url("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    assert address.endswith("mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl")
    shrink(cfg, tmp_path / "output")
    cfg.MODEL.WEIGHTS = str(tmp_path / "coco.pth")
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SOLVER.BASE_LR = 0.02
    cfg.SOLVER.MAX_ITER = 15
    cfg.SOLVER.STEPS = []
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 32
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    losses = [value for value, _ in trainer.storage.history("loss_rpn_cls").values()]
    assert len(losses) == 15
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])

    cfg.MODEL.WEIGHTS = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    predictor = DefaultPredictor(cfg)
    val_metadata = MetadataCatalog.get("balloon_val")
    for record in DatasetCatalog.get("balloon_val"):
        photo = cv2.imread(record["file_name"])
        found = predictor(photo)["instances"].to("cpu")
        assert found.image_size == photo.shape[:2] == tuple(found.pred_masks.shape[1:])
        assert len(found) > 0
        assert set(found.pred_classes.tolist()) == {0}
        visualizer = Visualizer(
            photo[:, :, ::-1], metadata=val_metadata, scale=1.0, instance_mode=ColorMode.IMAGE_BW
        )
        grey = visualizer.draw_instance_predictions(found[:0]).get_image()
        assert (grey == grey[:, :, :1]).all()

    evaluator = COCOEvaluator("balloon_val", output_dir="./output")
    loader = build_detection_test_loader(cfg, "balloon_val")
    results = inference_on_dataset(predictor.model, loader, evaluator)
    assert set(results) == {"bbox", "segm"}
    assert 0 <= results["segm"]["AP50"] <= 100
    assert len(json.loads((tmp_path / "output/coco_instances_results.json").read_text())) > 0


PLAIN = """
import logging, os, sys
from collections import OrderedDict

import torch
from torch.nn.parallel import DistributedDataParallel

import cardamage.utils.comm as comm
from cardamage.checkpoint import DetectionCheckpointer, PeriodicCheckpointer
from cardamage.config import get_cfg
from cardamage.data import build_detection_test_loader, build_detection_train_loader
from cardamage.engine import default_argument_parser, default_setup, default_writers, launch
from cardamage.evaluation import COCOEvaluator, inference_on_dataset, print_csv_format
from cardamage.modeling import build_model
from cardamage.solver import build_lr_scheduler, build_optimizer
from cardamage.utils.events import EventStorage

logger = logging.getLogger("cardamage")


def evaluate(cfg, model):
    results = OrderedDict()
    for name in cfg.DATASETS.TEST:
        evaluator = COCOEvaluator(name, output_dir=os.path.join(cfg.OUTPUT_DIR, "inference", "test"))
        results[name] = inference_on_dataset(model, build_detection_test_loader(cfg, name), evaluator)
        if comm.is_main_process():
            print_csv_format(results[name])
    return results


def train(cfg, model, resume):
    model.train()
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    saver = DetectionCheckpointer(model, cfg.OUTPUT_DIR, optimizer=optimizer, scheduler=scheduler)
    start = saver.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume).get("iteration", -1) + 1
    periodic = PeriodicCheckpointer(saver, cfg.SOLVER.CHECKPOINT_PERIOD, max_iter=cfg.SOLVER.MAX_ITER)
    writers = default_writers(cfg.OUTPUT_DIR, cfg.SOLVER.MAX_ITER) if comm.is_main_process() else []
    with EventStorage(start) as storage:
        for data, iteration in zip(build_detection_train_loader(cfg), range(start, cfg.SOLVER.MAX_ITER)):
            storage.iter = iteration
            losses = model(data)
            total = sum(losses.values())
            assert torch.isfinite(total).all(), losses
            reduced = {name: value.item() for name, value in comm.reduce_dict(losses).items()}
            if comm.is_main_process():
                storage.put_scalars(total_loss=sum(reduced.values()), **reduced)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            storage.put_scalar("lr", optimizer.param_groups[0]["lr"], smoothing_hint=False)
            scheduler.step()
            for writer in writers:
                writer.write()
            periodic.step(iteration)


def main(args):
    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    model = build_model(cfg)
    if args.eval_only:
        saver = DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
        saver.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return evaluate(cfg, model)
    if comm.get_world_size() > 1:
        ids = [comm.get_local_rank()] if torch.cuda.is_available() else None
        model = DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)
    train(cfg, model, args.resume)
    return evaluate(cfg, model)


if __name__ == "__main__":
    args = default_argument_parser().parse_args()
    launch(
        main, args.num_gpus, num_machines=args.num_machines, machine_rank=args.machine_rank,
        dist_url=args.dist_url, args=(args,),
    )
"""


def read_metrics(folder: Path) -> dict[int, dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line["iteration"]: line for line in lines}


def test_the_plain_loop_on_two_machines(train_net: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    script, folder = tmp_path / "plain.py", tmp_path / "run"
    script.write_text(PLAIN)
    keys = [
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "2",
        "SOLVER.MAX_ITER",
        "3",
        "SOLVER.STEPS",
        "(2,)",
        "DATASETS.TEST",
        "()",
    ]
    keys += ["SOLVER.CHECKPOINT_PERIOD", "2", "OUTPUT_DIR", str(folder)]
    common = [sys.executable, str(script), "--config-file", str(train_net.config), "--num-machines", "2"]
    ranks, logs = [], [tmp_path / "0.txt", tmp_path / "1.txt"]
    for rank, log in enumerate(logs):
        command = [*common, "--machine-rank", str(rank), "--dist-url", url, *train_net.options, *keys]
        with log.open("w") as file:
            ranks.append(
                subprocess.Popen(command, env=train_net.environment(), stdout=file, stderr=subprocess.STDOUT)
            )
    # Once one has failed, the other waits for it in vain.
    while any(process.poll() is None for process in ranks) and not any(process.poll() for process in ranks):
        time.sleep(0.2)
    for process in ranks:
        process.terminate()
        process.wait(timeout=30)
    outputs = [log.read_text() for log in logs]
    assert [process.returncode for process in ranks] == [0, 0], outputs
    lines = read_metrics(folder)
    assert sorted(lines) == [0, 1, 2]
    # Later lines hold medians of the lines before.
    assert lines[0]["total_loss"] == pytest.approx(
        sum(value for name, value in lines[0].items() if name.startswith("loss_"))
    )
    rates = [lines[number]["lr"] for number in range(3)]
    # The warm-up of two steps ends where the schedule is by then: at its first decay.
    assert rates == pytest.approx([0.005 * 0.001, 0.005 * 0.0505, 0.0005])
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"
