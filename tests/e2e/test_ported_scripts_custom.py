"""What Detectron2's users write, with the import renamed: mappers, heads, hooks, evaluators, demos."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import cardamage.data.transforms as T  # noqa: N812
import cardamage.utils.comm as comm
from cardamage.config import CfgNode, configurable, get_cfg
from cardamage.data import (
    DatasetCatalog,
    DatasetMapper,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
)
from cardamage.data import detection_utils as utils
from cardamage.engine import DefaultPredictor, DefaultTrainer
from cardamage.engine.hooks import BestCheckpointer, HookBase
from cardamage.evaluation import COCOEvaluator, DatasetEvaluator, DatasetEvaluators
from cardamage.layers import ShapeSpec
from cardamage.modeling import (
    BACKBONE_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    Backbone,
    FastRCNNOutputLayers,
    StandardROIHeads,
    build_model,
)
from cardamage.structures import BoxMode
from cardamage.utils.events import EventStorage
from cardamage.utils.logger import log_every_n_seconds
from cardamage.utils.video_visualizer import VideoVisualizer
from cardamage.utils.visualizer import ColorMode, Visualizer


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Register a set of coloured squares of two classes, in plain dataset dicts."""
    folder = tmp_path_factory.mktemp("squares")
    records = []
    for index in range(4):
        photo = np.full((64, 80, 3), 90 + 20 * index, np.uint8)
        objects = []
        for kind, (x, y) in enumerate(((8 + 4 * index, 10), (44, 30 - 4 * index))):
            cv2.rectangle(photo, (x, y), (x + 20, y + 20), (255 * kind, 40, 255 - 255 * kind), -1)
            outline = [float(v) for v in (x, y, x + 20, y, x + 20, y + 20, x, y + 20)]
            box = {"bbox": [x, y, 20, 20], "bbox_mode": BoxMode.XYWH_ABS}
            objects.append({**box, "segmentation": [outline], "category_id": kind, "iscrowd": 0})
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), photo)
        record = {"file_name": str(path), "image_id": index, "height": 64, "width": 80}
        records.append({**record, "annotations": objects})
    DatasetCatalog.register("squares", lambda: copy.deepcopy(records))
    MetadataCatalog.get("squares").set(thing_classes=["red", "blue"])
    yield folder
    DatasetCatalog.remove("squares")
    MetadataCatalog.remove("squares")


@pytest.fixture
def cfg(squares: Path, tmp_path: Path, train_net: Any) -> CfgNode:
    made = get_cfg()
    made.merge_from_file(str(train_net.config))
    made.DATASETS.TRAIN = made.DATASETS.TEST = ("squares",)
    made.MODEL.DEVICE, made.OUTPUT_DIR = "cpu", str(tmp_path / "output")
    made.SOLVER.MAX_ITER, made.SOLVER.STEPS, made.TEST.EVAL_PERIOD = 2, (), 0
    made.SOLVER.CHECKPOINT_PERIOD = 100
    return made


class WithoutEvaluation(DefaultTrainer):
    """Evaluates to nothing, to be quick."""

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        return {}


# ---------------------------------------------------------------------------------------- mappers
def quarter_turn_mapper(dataset_dict: dict[str, Any]) -> dict[str, Any]:
    """A mapper in the way of the data loading tutorial."""
    dataset_dict = copy.deepcopy(dataset_dict)
    image = utils.read_image(dataset_dict["file_name"], format="BGR")
    steps = [
        T.Resize((96, 64)),
        T.RandomBrightness(0.8, 1.8),
        T.RandomContrast(0.6, 1.3),
        T.RandomSaturation(0.8, 1.4),
        T.RandomRotation(angle=[90, 90]),
        T.RandomLighting(0.7),
        T.RandomFlip(prob=1.0, horizontal=False, vertical=True),
    ]
    image, transforms = T.apply_transform_gens(steps, image)
    dataset_dict["image"] = torch.as_tensor(image.transpose(2, 0, 1).astype("float32"))
    kept = [
        utils.transform_instance_annotations(annotation, transforms, image.shape[:2])
        for annotation in dataset_dict.pop("annotations")
        if annotation.get("iscrowd", 0) == 0
    ]
    instances = utils.annotations_to_instances(kept, image.shape[:2])
    dataset_dict["instances"] = utils.filter_empty_instances(instances)
    return dataset_dict


def test_a_mapper_of_ones_own(cfg: CfgNode) -> None:
    seen = []

    class Trainer(WithoutEvaluation):
        @classmethod
        def build_train_loader(cls, cfg: CfgNode) -> Any:
            return build_detection_train_loader(cfg, mapper=quarter_turn_mapper)

        def run_step(self) -> None:
            assert self._trainer.model.training
            start = time.perf_counter()
            data = next(self._trainer._data_loader_iter)
            data_time = time.perf_counter() - start
            seen.extend(data)
            losses = self._trainer.model(data)
            self._trainer.optimizer.zero_grad()
            sum(losses.values()).backward()
            self._trainer._write_metrics(losses, data_time)
            self._trainer.optimizer.step()

    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert [iteration for _, iteration in trainer.storage.history("total_loss").values()] == [0, 1]
    assert len(seen) == 4
    for item in seen:
        # 64x80 becomes 96x64 and, turned, 64x96. A turn to the left maps (x, y) to (y, width - x).
        assert item["image"].shape == (3, 64, 96)
        x, y, _, _ = DatasetCatalog.get("squares")[item["image_id"]]["annotations"][0]["bbox"]
        left, right = y * 96 / 64, (y + 20) * 96 / 64
        top, bottom = x * 64 / 80, (x + 20) * 64 / 80
        box = item["instances"].gt_boxes.tensor[0].tolist()
        assert box == pytest.approx([left, top, right, bottom], abs=0.1)


def test_augmentations_of_ones_own(cfg: CfgNode) -> None:
    class Mirror(T.Augmentation):
        def get_transform(self, image: np.ndarray) -> T.Transform:
            return T.HFlipTransform(image.shape[1])

    mapper = DatasetMapper(cfg, is_train=True, augmentations=[T.Resize((64, 80)), Mirror()])
    record = DatasetCatalog.get("squares")[0]
    mapped = mapper(record)
    plain = cv2.imread(record["file_name"])
    assert np.array_equal(mapped["image"].permute(1, 2, 0).numpy(), plain[:, ::-1])
    x, y, w, h = record["annotations"][0]["bbox"]
    box = mapped["instances"].gt_boxes.tensor[0].tolist()
    assert box == pytest.approx([80 - x - w, y, 80 - x, y + h])


# ------------------------------------------------------------------------------------------ models
def registered(registry: Any, part: Any) -> Iterator[None]:
    registry.register(part)
    yield
    del registry._obj_map[part.__name__]


class WeighedPredictor(FastRCNNOutputLayers):
    """The box predictor with another loss beside its own."""

    def losses(self, predictions: Any, proposals: Any) -> dict[str, torch.Tensor]:
        result = super().losses(predictions, proposals)
        result["loss_spread"] = 0.01 * predictions[0].square().mean()
        return result


class MyBoxHead(nn.Module):
    """A box head chosen by MODEL.ROI_BOX_HEAD.NAME."""

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec) -> None:
        super().__init__()
        size = (input_shape.channels or 0) * (input_shape.height or 0) * (input_shape.width or 0)
        self.fc = nn.Linear(size, cfg.MODEL.ROI_BOX_HEAD.FC_DIM)

    @property
    def output_shape(self) -> ShapeSpec:
        return ShapeSpec(channels=self.fc.out_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(start_dim=1)).relu()


class MyROIHeads(StandardROIHeads):
    """ROI heads chosen by MODEL.ROI_HEADS.NAME, with a predictor of their own."""

    @configurable
    def __init__(self, *, loudness: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loudness = loudness

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        return {**super().from_config(cfg, input_shape), "loudness": 2.0}

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        made = super()._init_box_head(cfg, input_shape)
        made["box_predictor"] = WeighedPredictor(cfg, made["box_head"].output_shape)
        return made


class ToyBackbone(Backbone):
    """A backbone chosen by MODEL.BACKBONE.NAME."""

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(input_shape.channels or 3, 8, kernel_size=7, stride=16, padding=3)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"conv": self.conv(image)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"conv": ShapeSpec(channels=8, stride=16)}


@pytest.fixture
def own_parts() -> Any:
    parts = [(ROI_BOX_HEAD_REGISTRY, MyBoxHead), (ROI_HEADS_REGISTRY, MyROIHeads)]
    parts.append((BACKBONE_REGISTRY, ToyBackbone))
    running = [registered(*part) for part in parts]
    for generator in running:
        next(generator)
    yield
    for generator in running:
        next(generator, None)


def test_heads_and_predictors_of_ones_own(cfg: CfgNode, own_parts: None) -> None:
    cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_BOX_HEAD.NAME = "MyROIHeads", "MyBoxHead"
    trainer = WithoutEvaluation(cfg)
    heads = trainer.model.roi_heads
    assert heads.loudness == 2.0
    assert type(heads.box_head) is MyBoxHead
    assert type(heads.box_predictor) is WeighedPredictor
    trainer.train()
    assert len(trainer.storage.history("loss_spread").values()) == 2
    total = trainer.storage.history("total_loss").values()[0][0]
    parts = [name for name in trainer.storage.histories() if name.startswith("loss_")]
    assert total == pytest.approx(
        sum(trainer.storage.history(name).values()[0][0] for name in parts), rel=1e-5
    )


def test_a_backbone_of_ones_own(cfg: CfgNode, own_parts: None) -> None:
    cfg.MODEL.BACKBONE.NAME = "ToyBackbone"
    cfg.MODEL.RPN.IN_FEATURES = cfg.MODEL.ROI_HEADS.IN_FEATURES = ["conv"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[16, 32]]
    model = build_model(cfg)
    assert sum(type(part) is ToyBackbone for part in model.modules()) == 1
    mapper = DatasetMapper(cfg, True)
    with EventStorage():
        losses = model([mapper(record) for record in DatasetCatalog.get("squares")[:2]])
    assert all(torch.isfinite(value) for value in losses.values())
    model.eval()
    found = model([{"image": torch.zeros(3, 64, 80), "height": 64, "width": 80}])[0]["instances"]
    assert found.image_size == (64, 80)


# ------------------------------------------------------------------------------- hooks, evaluators
class LossOnTestData(HookBase):
    """The hook that most who train write: the losses on other data."""

    def __init__(self, period: int, model: nn.Module, data_loader: Any) -> None:
        self._period, self._model, self._data_loader = period, model, data_loader

    def _mean_loss(self) -> float:
        losses = []
        with torch.no_grad():
            for index, inputs in enumerate(self._data_loader):
                log_every_n_seconds(logging.INFO, f"Loss on test data {index + 1}", n=5)
                values = self._model(inputs)
                numbers = {
                    name: value.detach().cpu().item() if isinstance(value, torch.Tensor) else float(value)
                    for name, value in values.items()
                }
                losses.append(sum(numbers.values()))
        comm.synchronize()
        return float(np.mean(losses))

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self._period > 0 and done % self._period == 0):
            self.trainer.storage.put_scalar("validation_loss", self._mean_loss())


class CountObjects(DatasetEvaluator):
    """An evaluator of one's own."""

    def reset(self) -> None:
        self.images = self.objects = 0

    def process(self, inputs: Any, outputs: Any) -> None:
        for _, output in zip(inputs, outputs, strict=True):
            self.images += 1
            self.objects += len(output["instances"])

    def evaluate(self) -> dict[str, Any]:
        return {"count": {"images": self.images, "objects": self.objects}}


def test_hooks_and_evaluators_of_ones_own(cfg: CfgNode) -> None:
    cfg.TEST.EVAL_PERIOD = 1

    class Trainer(DefaultTrainer):
        @classmethod
        def build_evaluator(cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None) -> Any:
            coco = COCOEvaluator(dataset_name, output_dir=output_folder or f"{cfg.OUTPUT_DIR}/inference")
            return DatasetEvaluators([coco, CountObjects()])

        def build_hooks(self) -> list[Any]:
            hooks = super().build_hooks()
            loader = build_detection_test_loader(
                self.cfg, self.cfg.DATASETS.TEST[0], DatasetMapper(self.cfg, True)
            )
            hooks.insert(-1, LossOnTestData(self.cfg.TEST.EVAL_PERIOD, self.model, loader))
            return hooks

    trainer = Trainer(cfg)
    best = BestCheckpointer(1, trainer.checkpointer, "validation_loss", "min", file_prefix="lowest")
    trainer.register_hooks([best])
    # A trick that many scripts use to have the writer last.
    trainer._hooks = trainer._hooks[:-2] + trainer._hooks[-2:][::-1]
    trainer.resume_or_load(resume=False)
    results = trainer.train()
    assert results is not None
    assert results["count"] == {"images": 4, "objects": pytest.approx(80, abs=80)}
    folder = Path(cfg.OUTPUT_DIR)
    lines = (folder / "metrics.json").read_text().splitlines()
    assert sum('"validation_loss"' in line for line in lines) == 2
    assert '"count/images": 4.0' in lines[-1]
    assert (folder / "lowest.pth").is_file()
    assert trainer.model.training


# -------------------------------------------------------------------------------------------- demo
class Demo:
    """Draws predictions on pictures and on videos, as the demo program does."""

    def __init__(self, cfg: CfgNode, instance_mode: ColorMode = ColorMode.IMAGE) -> None:
        self.metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0] if len(cfg.DATASETS.TEST) else "__unused")
        self.cpu_device = torch.device("cpu")
        self.instance_mode = instance_mode
        self.predictor = DefaultPredictor(cfg)

    def run_on_image(self, image: np.ndarray) -> tuple[dict[str, Any], Any]:
        predictions = self.predictor(image)
        visualizer = Visualizer(image[:, :, ::-1], self.metadata, instance_mode=self.instance_mode)
        instances = predictions["instances"].to(self.cpu_device)
        return predictions, visualizer.draw_instance_predictions(predictions=instances)

    def run_on_video(self, video: Any) -> Iterator[np.ndarray]:
        visualizer = VideoVisualizer(self.metadata, self.instance_mode)
        while video.isOpened():
            success, frame = video.read()
            if not success:
                break
            found = self.predictor(frame)["instances"].to(self.cpu_device)
            drawn = visualizer.draw_instance_predictions(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), found)
            yield cv2.cvtColor(drawn.get_image(), cv2.COLOR_RGB2BGR)


def test_a_demo_on_pictures_and_video(cfg: CfgNode, tmp_path: Path) -> None:
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    cfg.MODEL.WEIGHTS = str(tmp_path / "weights.pth")
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    cfg.MODEL.RETINANET.SCORE_THRESH_TEST = cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.1
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.1
    cfg.freeze()
    demo = Demo(cfg)
    assert demo.predictor.metadata is MetadataCatalog.get("squares")
    photos = [utils.read_image(record["file_name"], format="BGR") for record in DatasetCatalog.get("squares")]
    for number, photo in enumerate(photos):
        predictions, drawn = demo.run_on_image(photo)
        assert predictions["instances"].image_size == (64, 80)
        drawn.save(str(tmp_path / f"{number}.png"))
        assert cv2.imread(str(tmp_path / f"{number}.png")).shape == photo.shape

    path = str(tmp_path / "video.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (80, 64), True)
    for photo in photos:
        writer.write(photo)
    writer.release()
    video = cv2.VideoCapture(path)
    frames = list(demo.run_on_video(video))
    video.release()
    assert [frame.shape for frame in frames] == [(64, 80, 3)] * len(photos)
