"""Parts of a user's own, written for lists of instances, within the padded engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cardamage.layers import ShapeSpec
from cardamage.modeling import (
    ANCHOR_GENERATOR_REGISTRY,
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    RPN_HEAD_REGISTRY,
    Backbone,
    BaseMaskRCNNHead,
    CascadeROIHeads,
    FastRCNNOutputLayers,
    GeneralizedRCNN,
    Res5ROIHeads,
    StandardROIHeads,
    build_model,
)
from cardamage.modeling.anchor_generator import DefaultAnchorGenerator
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.matcher import Matcher
from cardamage.modeling.poolers import ROIPooler
from cardamage.modeling.proposal_generator import RPN, StandardRPNHead
from cardamage.modeling.roi_heads import fast_rcnn_inference, select_foreground_proposals
from cardamage.modeling.roi_heads.mask_head import mask_rcnn_inference, mask_rcnn_loss
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage, get_event_storage

Make = Callable[..., Any]
FIXED = pytest.mark.parametrize("fixed", [False, True], ids=["compact", "fixed"])
CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@BACKBONE_REGISTRY.register()
class _Pyramid(Backbone):
    """Averages of the pixels, in 32 colors."""

    def __init__(self, cfg: Any, input_shape: ShapeSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 1)

    @property
    def size_divisibility(self) -> int:
        return 64

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {f"p{level}": self.conv(F.avg_pool2d(x / 50, 2**level)) for level in range(2, 7)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {f"p{level}": ShapeSpec(channels=32, stride=2**level) for level in range(2, 7)}


def _everything(**more: Any) -> dict[str, Any]:
    """Keys that leave nothing to chance, and a backbone that costs nothing."""
    return {
        "MODEL.BACKBONE.NAME": "_Pyramid",
        "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 100000,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 30,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 30,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 100000,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.2,
        **more,
    }


def _c4(make: Make, norm: str) -> Any:
    """A small network whose heads share ``res5``."""
    cfg = make(**_everything(**{"MODEL.RESNETS.NORM": norm, "MODEL.ROI_HEADS.NAME": "Res5ROIHeads"}))
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.WIDTH_PER_GROUP, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = (
        50,
        4,
        16,
    )
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.RPN.IN_FEATURES = cfg.MODEL.ROI_HEADS.IN_FEATURES = ["res4"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[16, 32, 64]]
    return cfg


def _run(cfg: Any, batch: list[dict[str, Any]], fixed: bool) -> tuple[dict[str, Any], list[Instances]]:
    """A step's losses, and the detections; with the weights of one seed."""
    torch.manual_seed(0)
    model = build_model(cfg)
    with force_fixed_shapes(fixed), EventStorage(0):
        losses = model(batch)
        sum(losses.values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        with torch.no_grad():
            found = model.eval()(batch)
    return losses, [x["instances"] for x in found]


def _assert_same(first: Any, second: Any) -> None:
    assert set(first[0]) == set(second[0])
    for name, loss in first[0].items():
        torch.testing.assert_close(second[0][name], loss, rtol=1e-5, atol=1e-7, msg=name)
    for one, other in zip(first[1], second[1], strict=True):
        assert len(one) == len(other) > 0
        torch.testing.assert_close(one.pred_boxes.tensor, other.pred_boxes.tensor, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-5)
        if one.has("pred_masks"):
            assert (one.pred_masks != other.pred_masks).float().mean() < 1e-3


def _boxes(instances: list[Instances], name: str) -> list[Boxes]:
    assert isinstance(instances, list)
    return [x.get(name) for x in instances]


@ROI_HEADS_REGISTRY.register()
class _OwnSteps(StandardROIHeads):
    """Every step that Detectron2's documents name, on lists."""

    def label_and_sample_proposals(self, proposals: Any, targets: Any) -> Any:
        CALLS.append("sample")
        assert isinstance(proposals, list)
        assert isinstance(targets, list)
        sampled = [x for x in super().label_and_sample_proposals(proposals, targets)]
        for one in sampled:
            one.gt_area = one.proposal_boxes.area()
        return sampled

    def _forward_box(self, features: Any, proposals: Any) -> Any:
        CALLS.append("box")
        maps = [features[name] for name in self.box_in_features]
        pooled = self.box_pooler(maps, _boxes(proposals, "proposal_boxes"))
        predictions = self.box_predictor(self.box_head(pooled))
        if not self.training:
            return self.box_predictor.inference(predictions, proposals)[0]
        assert all(x.has("gt_area") for x in proposals)
        return self.box_predictor.losses(predictions, proposals)

    def _forward_mask(self, features: Any, instances: Any) -> Any:
        CALLS.append("mask")
        maps = [features[name] for name in self.mask_in_features]
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
        name = "proposal_boxes" if self.training else "pred_boxes"
        return self.mask_head(self.mask_pooler(maps, _boxes(instances, name)), instances)


@FIXED
def test_overridden_steps_of_the_heads(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 0), sample(3, 1, (64, 100))]
    expected = _run(tiny_cfg(**_everything()), batch, fixed)
    assert not CALLS
    own = _run(tiny_cfg(**_everything(**{"MODEL.ROI_HEADS.NAME": "_OwnSteps"})), batch, fixed)
    assert CALLS == ["sample", "box", "mask", "box", "mask"]
    _assert_same(expected, own)


@ROI_HEADS_REGISTRY.register()
class _OwnForward(StandardROIHeads):
    def forward(self, images: Any, features: Any, proposals: Any, targets: Any = None) -> Any:
        CALLS.append("forward")
        assert isinstance(proposals, list)
        if not self.training:
            found = self._forward_box(features, proposals)
            return self.forward_with_given_boxes(features, found), {}
        proposals = self.label_and_sample_proposals(proposals, targets)
        losses = self._forward_box(features, proposals)
        losses.update(self._forward_mask(features, proposals))
        losses.update(self._forward_keypoint(features, proposals))
        return proposals, losses


@FIXED
@pytest.mark.parametrize("on_predicted", [False, True])
def test_overridden_forward_of_the_heads(
    tiny_cfg: Make, sample: Make, fixed: bool, on_predicted: bool
) -> None:
    options = _everything(**{"MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": on_predicted})
    batch = [sample(1, 3), sample(2, 2)]
    expected = _run(tiny_cfg(**options), batch, fixed)
    own = _run(tiny_cfg(**options, **{"MODEL.ROI_HEADS.NAME": "_OwnForward"}), batch, fixed)
    assert CALLS == ["forward", "forward"]
    _assert_same(expected, own)


class _OwnPredictor(FastRCNNOutputLayers):
    """Doubles the class loss, and reports nothing but class 1."""

    def losses(self, predictions: Any, proposals: Any) -> Any:
        CALLS.append("losses")
        assert isinstance(proposals, list)
        assert len(predictions[0]) == sum(len(x) for x in proposals)
        losses = super().losses(predictions, proposals)
        losses["loss_cls"] = losses["loss_cls"] * 2
        return losses

    def inference(self, predictions: Any, proposals: Any) -> Any:
        CALLS.append("inference")
        boxes = self.predict_boxes(predictions, proposals)
        probs = [x * torch.tensor([0.0, 1, 0, 1]) for x in self.predict_probs(predictions, proposals)]
        sizes = [x.image_size for x in proposals]
        return fast_rcnn_inference(boxes, probs, sizes, self.test_score_thresh, self.test_nms_thresh, 100)


@ROI_HEADS_REGISTRY.register()
class _WithOwnPredictor(StandardROIHeads):
    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Any) -> dict[str, Any]:
        parts = super()._init_box_head(cfg, input_shape)
        torch.manual_seed(1)
        parts["box_predictor"] = _OwnPredictor(cfg, parts["box_head"].output_shape)
        return parts


@ROI_HEADS_REGISTRY.register()
class _WithSamePredictor(StandardROIHeads):
    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Any) -> dict[str, Any]:
        parts = super()._init_box_head(cfg, input_shape)
        torch.manual_seed(1)
        parts["box_predictor"] = FastRCNNOutputLayers(cfg, parts["box_head"].output_shape)
        return parts


@FIXED
def test_own_losses_and_inference_of_the_predictor(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 0)]
    plain, found = _run(
        tiny_cfg(**_everything(**{"MODEL.ROI_HEADS.NAME": "_WithSamePredictor"})), batch, fixed
    )
    own, only = _run(tiny_cfg(**_everything(**{"MODEL.ROI_HEADS.NAME": "_WithOwnPredictor"})), batch, fixed)
    assert CALLS == ["losses", "inference"]
    for name, loss in plain.items():
        torch.testing.assert_close(own[name], loss * (2 if name == "loss_cls" else 1), rtol=1e-5, atol=1e-7)
    for all_classes, one_class in zip(found, only, strict=True):
        expected = all_classes[all_classes.pred_classes == 1]
        assert len(one_class) == len(expected) < len(all_classes)
        torch.testing.assert_close(one_class.scores, expected.scores)


class _OwnScores(FastRCNNOutputLayers):
    def predict_probs(self, predictions: Any, proposals: Any) -> Any:
        CALLS.append("probs")
        assert isinstance(proposals, list)
        return [probs.square() for probs in super().predict_probs(predictions, proposals)]

    def predict_boxes(self, predictions: Any, proposals: Any) -> Any:
        CALLS.append("boxes")
        return [boxes + 1 for boxes in super().predict_boxes(predictions, proposals)]


def _swap_predictor(model: Any) -> None:
    predictors = model.roi_heads.box_predictor
    for predictor in predictors if isinstance(predictors, nn.ModuleList) else [predictors]:
        predictor.__class__ = _OwnScores


@FIXED
@pytest.mark.parametrize("heads", ["StandardROIHeads", "CascadeROIHeads"])
def test_own_scores_and_boxes_are_used(tiny_cfg: Make, sample: Make, fixed: bool, heads: str) -> None:
    torch.manual_seed(0)
    cascade = heads == "CascadeROIHeads"
    options = {"MODEL.ROI_HEADS.NAME": heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": cascade}
    model = build_model(
        tiny_cfg(**_everything(**options, **{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0}))
    ).eval()
    batch = [sample(1), sample(2, 1, (64, 100))]
    with force_fixed_shapes(fixed):
        _swap_predictor(model)
        found = [x["instances"] for x in model(batch)]
        stages = 3 if cascade else 1
        assert CALLS.count("probs") == stages
        # A cascade asks for the last stage's boxes, too.
        assert CALLS.count("boxes") == stages
        model.train()
        with EventStorage(0):
            assert all(loss.isfinite() for loss in model(batch).values())
    # At random weights no class is certain: squared, all scores lie below a third.
    assert all(len(x) and (x.scores < 1 / 3).all() for x in found)


@ROI_MASK_HEAD_REGISTRY.register()
class _OwnMaskLayers(BaseMaskRCNNHead):
    def __init__(self, cfg: Any, input_shape: ShapeSpec) -> None:
        super().__init__(loss_weight=0.5)
        assert (input_shape.channels, input_shape.height, input_shape.width) == (32, 14, 14)
        self.predict = nn.Conv2d(32, cfg.MODEL.ROI_HEADS.NUM_CLASSES, 1)

    def layers(self, x: torch.Tensor) -> torch.Tensor:
        CALLS.append("layers")
        return self.predict(x)


@ROI_MASK_HEAD_REGISTRY.register()
class _OwnMaskForward(_OwnMaskLayers):
    def forward(self, x: torch.Tensor, instances: Any) -> Any:
        CALLS.append("forward")
        assert isinstance(instances, list)
        assert len(x) == sum(len(one) for one in instances)
        logits = self.layers(x)
        if self.training:
            return {"loss_mask": mask_rcnn_loss(logits, instances) * self.loss_weight}
        mask_rcnn_inference(logits, instances)
        return instances


@FIXED
@pytest.mark.parametrize("bitmasks", [False, True])
def test_own_mask_heads(tiny_cfg: Make, sample: Make, fixed: bool, bitmasks: bool) -> None:
    batch = [
        sample(1, 3, bitmasks=bitmasks),
        sample(2, 0, bitmasks=bitmasks),
        sample(3, 2, bitmasks=bitmasks),
    ]
    results = []
    for name in ("_OwnMaskLayers", "_OwnMaskForward"):
        results.append(_run(tiny_cfg(**_everything(**{"MODEL.ROI_MASK_HEAD.NAME": name})), batch, fixed))
    assert CALLS == ["layers"] * 2 + ["forward", "layers"] * 2
    _assert_same(*results)
    assert results[0][0]["loss_mask"] > 0


@ROI_BOX_HEAD_REGISTRY.register()
class _Related(nn.Module):
    """Tells every region from the others' mean: rows without a region would show."""

    def __init__(self, cfg: Any, input_shape: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(input_shape.channels, 8)

    @property
    def output_shape(self) -> ShapeSpec:
        return ShapeSpec(channels=8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        CALLS.append(f"regions {len(x)}")
        return F.relu(self.fc(x.mean(dim=[2, 3]) - x.mean(dim=[0, 2, 3]))) * 30


def test_own_box_head_sees_regions_only(tiny_cfg: Make, sample: Make) -> None:
    batch = [sample(1, 3), sample(2, 0, (40, 50))]
    cfg = tiny_cfg(**_everything(**{"MODEL.ROI_BOX_HEAD.NAME": "_Related"}))
    results = [_run(cfg, batch, fixed) for fixed in (False, True)]
    assert CALLS[:2] == CALLS[2:]
    _assert_same(*results)


@pytest.mark.parametrize("heads", ["StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads"])
def test_batch_statistics_are_of_regions_only(
    tiny_cfg: Make, sample: Make, heads: str, storage: EventStorage
) -> None:
    options = {
        "MODEL.ROI_HEADS.NAME": heads,
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": heads == "CascadeROIHeads",
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 1,
        "MODEL.ROI_BOX_HEAD.NORM": "BN",
        "MODEL.ROI_MASK_HEAD.NORM": "BN",
    }
    cfg = _c4(tiny_cfg, "BN") if heads == "Res5ROIHeads" else tiny_cfg(**_everything(**options))
    statistics = []
    for fixed in (False, True):
        torch.manual_seed(0)
        model = build_model(cfg)
        with force_fixed_shapes(fixed):
            losses = model([sample(1, 3), sample(2, 0, (40, 50))])
        statistics.append([(n, b.clone()) for n, b in model.roi_heads.named_buffers() if "running" in n])
        statistics[-1].append(("loss", losses["loss_mask"].detach()))
    assert len(statistics[0]) > 2
    for (name, one), (_, other) in zip(*statistics, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


@PROPOSAL_GENERATOR_REGISTRY.register()
class _OwnRPN(RPN):
    """Every method that has Detectron2's signature."""

    def label_and_sample_anchors(self, anchors: Any, gt_instances: Any) -> Any:
        CALLS.append("sample")
        assert isinstance(gt_instances, list)
        labels, boxes = super().label_and_sample_anchors(anchors, gt_instances)
        count = sum(len(a) for a in anchors)
        assert [x.shape for x in labels] == [(count,)] * len(gt_instances)
        assert [x.shape for x in boxes] == [(count, 4)] * len(gt_instances)
        return labels, boxes

    def losses(self, anchors: Any, logits: Any, labels: Any, deltas: Any, boxes: Any) -> Any:
        CALLS.append("losses")
        assert [x.shape[1] for x in logits] == [len(a) for a in anchors]
        return super().losses(anchors, logits, labels, deltas, boxes)

    def predict_proposals(self, anchors: Any, logits: Any, deltas: Any, image_sizes: Any) -> Any:
        CALLS.append("predict")
        assert [x.shape[1:] for x in deltas] == [(len(a), 4) for a in anchors]
        return list(super().predict_proposals(anchors, logits, deltas, image_sizes))


@FIXED
def test_overridden_methods_of_the_rpn(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 0), sample(3, 1, (64, 100))]
    expected = _run(tiny_cfg(**_everything()), batch, fixed)
    own = _run(tiny_cfg(**_everything(**{"MODEL.PROPOSAL_GENERATOR.NAME": "_OwnRPN"})), batch, fixed)
    assert CALLS == ["sample", "losses", "predict", "predict"]
    _assert_same(expected, own)


@PROPOSAL_GENERATOR_REGISTRY.register()
class _WholeImage(nn.Module):
    """One proposal an image, with a field of its own."""

    def __init__(self, cfg: Any, input_shape: Any) -> None:
        super().__init__()

    def forward(self, images: Any, features: Any, gt_instances: Any = None) -> Any:
        assert gt_instances is None or isinstance(gt_instances, list)
        proposals = []
        for height, width in images.image_sizes:
            box = torch.tensor([[0.0, 0, width, height]])
            fields = {"proposal_boxes": Boxes(box), "objectness_logits": torch.ones(1)}
            proposals.append(Instances((height, width), **fields, hint=torch.tensor([width])))
        return proposals, {}


@ROI_HEADS_REGISTRY.register()
class _Hinted(StandardROIHeads):
    def _forward_box(self, features: Any, proposals: Any) -> Any:
        CALLS.append(str([x.hint.tolist() for x in proposals]))
        return super()._forward_box(features, proposals)


def test_fields_of_proposals_come_along(tiny_cfg: Make, sample: Make) -> None:
    options = {"MODEL.PROPOSAL_GENERATOR.NAME": "_WholeImage", "MODEL.ROI_HEADS.NAME": "_Hinted"}
    cfg = tiny_cfg(**options, **{"MODEL.ROI_HEADS.PROPOSAL_APPEND_GT": False})
    losses, _ = _run(cfg, [sample(1, 2), sample(2, 1, (64, 100))], fixed=True)
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_mask"}
    assert CALLS == ["[[128], [100]]"] * 2


@ROI_HEADS_REGISTRY.register()
class _OwnSampling(StandardROIHeads):
    """Learns from the ground truth's own boxes only, which come last."""

    def _sample_proposals(self, matched_idxs: Any, matched_labels: Any, gt_classes: Any) -> Any:
        CALLS.append(f"{len(gt_classes)} objects")
        assert matched_idxs.shape == matched_labels.shape
        last = torch.arange(len(matched_idxs) - len(gt_classes), len(matched_idxs))
        assert matched_idxs[last].tolist() == list(range(len(gt_classes)))
        return last, gt_classes[matched_idxs[last]]


@FIXED
def test_own_sampling(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 1)]
    _run(tiny_cfg(**_everything(**{"MODEL.ROI_HEADS.NAME": "_OwnSampling"})), batch, fixed)
    assert CALLS == ["3 objects", "1 objects"]


def test_sampling_of_one_image_is_that_of_a_batch(
    tiny_cfg: Make, sample: Make, storage: EventStorage
) -> None:
    heads = build_model(tiny_cfg()).roi_heads
    matches, labels = torch.tensor([1, 0, 0, 1, 0]), torch.tensor([1, 0, 1, -1, 0], dtype=torch.int8)
    index, classes = heads._sample_proposals(matches, labels, torch.tensor([2, 0]))
    assert index[:2].sort().values.tolist() == [0, 2]
    assert dict(zip(index.tolist(), classes.tolist(), strict=True)) == {0: 0, 2: 2, 1: 3, 4: 3}
    index, classes = heads._sample_proposals(matches * 0, labels, torch.zeros(0, dtype=torch.int64))
    assert sorted(index.tolist()) == [0, 1, 2, 3, 4]
    assert classes.tolist() == [3] * 5


class _OwnMatcher(Matcher):
    def __call__(self, match_quality_matrix: torch.Tensor) -> Any:
        CALLS.append("match")
        return super().__call__(match_quality_matrix)


@FIXED
def test_own_matchers(tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 0)]
    losses = []
    for own in (False, True):
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**_everything()))
        if own:
            model.proposal_generator.anchor_matcher.__class__ = _OwnMatcher
            model.roi_heads.proposal_matcher.__class__ = _OwnMatcher
        with force_fixed_shapes(fixed):
            losses.append(model(batch))
    assert CALLS == ["match"] * 4
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-5, atol=1e-7)


@ROI_HEADS_REGISTRY.register()
class _OwnCascade(CascadeROIHeads):
    def _forward_box(self, features: Any, proposals: Any, targets: Any = None) -> Any:
        CALLS.append("box")
        assert isinstance(proposals, list)
        assert self.training is isinstance(targets, list)
        return super()._forward_box(features, proposals, targets)

    def _run_stage(self, features: Any, proposals: Any, stage: int) -> Any:
        CALLS.append(f"stage {stage}")
        assert isinstance(proposals, list)
        return super()._run_stage(features, proposals, stage)

    def _match_and_label_boxes(self, proposals: Any, stage: int, targets: Any) -> Any:
        CALLS.append(f"match {stage}")
        assert isinstance(targets, list)
        return list(super()._match_and_label_boxes(proposals, stage, targets))


@FIXED
def test_overridden_methods_of_the_cascade(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 0), sample(3, 1, (64, 100))]
    options = _everything(**{"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True})
    expected = _run(tiny_cfg(**options, **{"MODEL.ROI_HEADS.NAME": "CascadeROIHeads"}), batch, fixed)
    own = _run(tiny_cfg(**options, **{"MODEL.ROI_HEADS.NAME": "_OwnCascade"}), batch, fixed)
    assert CALLS == ["box", "stage 0", "match 1", "stage 1", "match 2", "stage 2"] + [
        "box",
        "stage 0",
        "stage 1",
        "stage 2",
    ]
    _assert_same(expected, own)


@ROI_HEADS_REGISTRY.register()
class _ListCascade(CascadeROIHeads):
    """Stages put together by hand from the cascade's own pieces."""

    def _forward_box(self, features: Any, proposals: Any, targets: Any = None) -> Any:
        maps = [features[name] for name in self.box_in_features]
        sizes = [x.image_size for x in proposals]
        losses: dict[str, Any] = {}
        probs: list[Any] = []
        boxes: Any = None
        for stage, predictor in enumerate(self.box_predictor):
            if stage:
                proposals = self._create_proposals_from_boxes(boxes, sizes)
                assert isinstance(proposals, list)
                if self.training:
                    proposals = self._match_and_label_boxes(proposals, stage, targets)
            predictions = self._run_stage(maps, proposals, stage)
            boxes = predictor.predict_boxes(predictions, proposals)
            probs.append(predictor.predict_probs(predictions, proposals))
            if self.training:
                with get_event_storage().name_scope(f"stage{stage}"):
                    found = predictor.losses(predictions, proposals)
                losses.update({f"{name}_stage{stage}": loss for name, loss in found.items()})
        if self.training:
            return losses
        mean = [torch.stack(x).mean(dim=0) for x in zip(*probs, strict=True)]
        last = self.box_predictor[-1]
        thresholds = (last.test_score_thresh, last.test_nms_thresh, last.test_topk_per_image)
        return fast_rcnn_inference(boxes, mean, sizes, *thresholds)[0]


@FIXED
def test_a_cascade_put_together_by_hand(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    batch = [sample(1, 3), sample(2, 0), sample(3, 1, (64, 100))]
    options = _everything(**{"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True})
    expected = _run(tiny_cfg(**options, **{"MODEL.ROI_HEADS.NAME": "CascadeROIHeads"}), batch, fixed)
    own = _run(tiny_cfg(**options, **{"MODEL.ROI_HEADS.NAME": "_ListCascade"}), batch, fixed)
    _assert_same(expected, own)


class _OwnRes5(Res5ROIHeads):
    def _shared_roi_transform(self, features: Any, boxes: Any) -> Any:
        CALLS.append("transform")
        assert isinstance(features, list)
        assert all(isinstance(x, Boxes) for x in boxes)
        return super()._shared_roi_transform(features, boxes)


@FIXED
def test_overridden_transform_of_c4_heads(
    tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool
) -> None:
    batch = [sample(1, 3), sample(2, 0)]
    results = []
    for own in (False, True):
        torch.manual_seed(0)
        model = build_model(_c4(tiny_cfg, "FrozenBN"))
        if own:
            model.roi_heads.__class__ = _OwnRes5
            model.roi_heads.box_predictor.__class__ = _OwnPredictor
        with force_fixed_shapes(fixed):
            losses = model(batch)
            results.append(losses)
            if own:
                model.eval()(batch)
    assert CALLS == ["transform", "losses", "transform", "inference", "transform"]
    for name, loss in results[0].items():
        factor = 2 if name == "loss_cls" else 1
        torch.testing.assert_close(results[1][name], loss * factor, rtol=1e-5, atol=1e-7)


@FIXED
def test_features_of_proposals_by_hand(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    """The recipe for region features: the parts called one by one, with the boxes of each image."""
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**_everything())).eval()
    batch = [sample(1), sample(2, 1, (64, 100))]
    with force_fixed_shapes(fixed), torch.no_grad():
        expected = model.inference(batch, do_postprocess=False)
        images = model.preprocess_image(batch)
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features)
        heads = model.roi_heads
        # One of them has fewer, so that a padded batch has rows without a region.
        proposals = [proposals[0], proposals[1][:20]]
        padded, _ = model.proposal_generator(images, features)
        padded.valid[1, 20:] = False
        for given in (proposals, padded):
            pooled = heads.box_pooler(
                [features[name] for name in heads.in_features], [x.proposal_boxes for x in given]
            )
            assert len(pooled) == len(proposals[0]) + 20
            predictions = heads.box_predictor(heads.box_head(pooled))
            found, rows = heads.box_predictor.inference(predictions, given)
            assert len(heads.box_predictor.predict_boxes(predictions, given)[1]) == 20
            assert len(heads.box_predictor.predict_probs(predictions, given)[1]) == 20
            torch.testing.assert_close(found[0].scores, expected[0].scores)
            assert rows[1].max() < 20


@BACKBONE_REGISTRY.register()
class _OwnBackbone(Backbone):
    def __init__(self, cfg: Any, input_shape: ShapeSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(input_shape.channels or 3, 16, 16, stride=16)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.conv(x / 50)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"out": ShapeSpec(channels=16, stride=16)}


@ANCHOR_GENERATOR_REGISTRY.register()
class _OwnAnchors(DefaultAnchorGenerator):
    def forward(self, features: Any) -> list[Boxes]:
        CALLS.append("anchors")
        return [Boxes(x.tensor + 1) for x in super().forward(features)]


@RPN_HEAD_REGISTRY.register()
class _OwnRPNHead(StandardRPNHead):
    def forward(self, features: Any) -> Any:
        CALLS.append("rpn head")
        return super().forward(features)


@META_ARCH_REGISTRY.register()
class _OwnModel(GeneralizedRCNN):
    """Written as for Detectron2: lists from end to end."""

    def forward(self, batched_inputs: Any) -> Any:
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        truth = [x["instances"].to(self.device) for x in batched_inputs]
        features = self.backbone(images.tensor)
        proposals, proposal_losses = self.proposal_generator(images, features, truth)
        _, losses = self.roi_heads(images, features, list(proposals), truth)
        return {**losses, **proposal_losses}


def test_every_registry(tiny_cfg: Make, sample: Make) -> None:
    cfg = tiny_cfg(
        **{
            "MODEL.META_ARCHITECTURE": "_OwnModel",
            "MODEL.BACKBONE.NAME": "_OwnBackbone",
            "MODEL.ANCHOR_GENERATOR.NAME": "_OwnAnchors",
            "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64]],
            "MODEL.RPN.HEAD_NAME": "_OwnRPNHead",
            "MODEL.RPN.IN_FEATURES": ["out"],
            "MODEL.ROI_HEADS.IN_FEATURES": ["out"],
        }
    )
    losses, found = _run(cfg, [sample(1, 3), sample(2, 0)], fixed=False)
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}
    assert CALLS == ["anchors", "rpn head"] * 2
    assert [x.image_size for x in found] == [(96, 128)] * 2


class _OwnPooler(ROIPooler):
    def forward(self, x: Any, box_lists: Any) -> torch.Tensor:
        CALLS.append("pool")
        assert all(isinstance(boxes, Boxes) for boxes in box_lists)
        return super().forward(x, box_lists)


@FIXED
def test_own_poolers(tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool) -> None:
    losses = []
    for own in (False, True):
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**_everything()))
        if own:
            model.roi_heads.box_pooler.__class__ = model.roi_heads.mask_pooler.__class__ = _OwnPooler
        with force_fixed_shapes(fixed):
            losses.append(model([sample(1, 3), sample(2, 0)]))
    assert CALLS == ["pool", "pool"]
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-5, atol=1e-7)
