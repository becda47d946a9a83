from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.errors import ConfigValueError
from cardamage.modeling import ROI_HEADS_REGISTRY, StandardROIHeads, build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.structures import Boxes, Instances, RLEMasks
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
LOSSES = {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}


@ROI_HEADS_REGISTRY.register()
class _ListHeads(StandardROIHeads):
    """Heads as one writes them for Detectron2: lists of instances, one an image."""

    def forward(self, images: Any, features: Any, proposals: Any, targets: Any = None) -> Any:
        if not self.training:
            return super().forward(images, features, proposals)
        lists = list(self.label_and_sample_proposals(proposals, targets))
        maps = [features[name] for name in self.box_in_features]
        pooled = self.box_pooler(maps, [x.proposal_boxes for x in lists])
        losses = self.box_predictor.losses(self.box_predictor(self.box_head(pooled)), lists)
        found = [x[x.gt_classes < self.num_classes] for x in lists]
        pooled = self.mask_pooler(maps, [x.proposal_boxes for x in found])
        losses.update(self.mask_head(pooled, found))
        return lists, losses


def _everything_sampled(make: Make, **options: Any) -> Any:
    """A config that draws nothing at random, so that two runs can be compared."""
    options = {
        "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 100000,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 100000,
        **options,
    }
    return make(**options)


def _gradients(model: torch.nn.Module, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    sum(losses.values()).backward()  # type: ignore[union-attr]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("counts", [(0,), (0, 0), (0, 3), (3, 0, 1)])
@pytest.mark.parametrize("fixed", [False, True])
def test_images_without_objects_train(
    tiny_cfg: Make, sample: Make, storage: EventStorage, counts: tuple[int, ...], fixed: bool
) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg())
    batch = [sample(i, count) for i, count in enumerate(counts)]
    with force_fixed_shapes(fixed):
        losses = model(batch)
    assert set(losses) == LOSSES
    assert all(loss.isfinite() and loss.dim() == 0 for loss in losses.values())
    gradients = _gradients(model, losses)
    assert set(gradients) == {name for name, _ in model.named_parameters()}
    assert all(g.isfinite().all() for g in gradients.values())
    if not any(counts):
        assert losses["loss_mask"] == losses["loss_box_reg"] == losses["loss_rpn_loc"] == 0


@pytest.mark.parametrize("bitmasks", [False, True])
@pytest.mark.parametrize("heads", ["StandardROIHeads", "CascadeROIHeads"])
def test_fixed_shapes_equal_compact_ones(
    tiny_cfg: Make, sample: Make, storage: EventStorage, bitmasks: bool, heads: str
) -> None:
    torch.manual_seed(0)
    options = {"MODEL.ROI_HEADS.NAME": heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": heads[0] == "C"}
    # Gradients through BatchNorm amplify rounding.
    model = build_model(_everything_sampled(tiny_cfg, **{"MODEL.RESNETS.NORM": "GN", **options}))
    batch = [sample(1, 3, bitmasks=bitmasks), sample(2, 1, (64, 100), bitmasks=bitmasks)]
    results = []
    for fixed in (False, True):
        with force_fixed_shapes(fixed):
            losses = model(batch)
            results.append((losses, _gradients(model, losses)))
    (compact, compact_grads), (fixed_losses, fixed_grads) = results
    for name, loss in compact.items():
        torch.testing.assert_close(fixed_losses[name], loss, rtol=1e-5, atol=1e-7)
    for name, gradient in compact_grads.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(fixed_grads[name], gradient, rtol=1e-3, atol=1e-4 * scale + 1e-9)


@pytest.mark.parametrize("fixed", [False, True])
def test_batch_equals_each_alone(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.2})).eval()
    batch = [sample(3), sample(4)]
    with force_fixed_shapes(fixed):
        together = [x["instances"] for x in model(batch)]
    alone = [model([one])[0]["instances"] for one in batch]
    for a, b in zip(together, alone, strict=True):
        assert len(a) == len(b) > 0
        torch.testing.assert_close(a.pred_boxes.tensor, b.pred_boxes.tensor, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(a.scores, b.scores, rtol=1e-4, atol=1e-5)
        assert (a.pred_masks != b.pred_masks).float().mean() < 1e-3


def test_heads_on_lists_of_instances_equal_the_padded_ones(
    tiny_cfg: Make, sample: Make, storage: EventStorage
) -> None:
    batch = [sample(5), sample(6, 1)]
    losses = []
    for name in ("StandardROIHeads", "_ListHeads"):
        torch.manual_seed(0)
        model = build_model(_everything_sampled(tiny_cfg, **{"MODEL.ROI_HEADS.NAME": name}))
        losses.append(model(batch))
    for name, loss in losses[0].items():
        torch.testing.assert_close(losses[1][name], loss, rtol=1e-5, atol=1e-7)


def test_inference_edge_cases(tiny_cfg: Make, sample: Make) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 1.0})).eval()
    assert model([]) == []
    nothing = model([{"image": sample(0)["image"], "height": 30, "width": 40}])[0]["instances"]
    assert len(nothing) == 0
    assert nothing.image_size == (30, 40)
    assert nothing.pred_masks.shape == (0, 30, 40)
    model.mask_output = "rle"
    rle = model([{"image": sample(0)["image"]}])[0]["instances"].pred_masks
    assert isinstance(rle, RLEMasks)
    assert len(rle) == 0
    one_pixel = torch.zeros((3, 1, 1), dtype=torch.uint8)
    assert model([{"image": one_pixel}])[0]["instances"].image_size == (1, 1)
    model.train()
    with pytest.raises(RuntimeError, match="eval"):
        model.inference([sample(0)])


def test_masks_of_known_boxes_as_rle_equal_bitmasks(tiny_cfg: Make, sample: Make) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg()).eval()
    image = sample(0)["image"]
    boxes = torch.tensor([[3.0, 4.0, 60.0, 50.0], [10.0, 10.0, 11.0, 11.0]])
    masks = []
    for kind in ("bitmask", "rle"):
        model.mask_output = kind
        known = Instances((96, 128), pred_boxes=Boxes(boxes.clone()), pred_classes=torch.tensor([0, 2]))
        found = model.inference([{"image": image, "height": 192, "width": 256}], [known])
        masks.append(found[0]["instances"].pred_masks)
        torch.testing.assert_close(found[0]["instances"].pred_boxes.tensor, boxes * 2)
    assert torch.equal(masks[0], masks[1].to_tensor())


@pytest.mark.parametrize("kind", ["soft_linear", "soft_gaussian"])
def test_soft_suppression_only_fades_scores(tiny_cfg: Make, sample: Make, kind: str) -> None:
    found = {}
    for method in ("hard", kind):
        torch.manual_seed(0)
        options = {"MODEL.ROI_HEADS.NMS_TYPE": method, "TEST.DETECTIONS_PER_IMAGE": 10000}
        model = build_model(tiny_cfg(**options)).eval()
        found[method] = model.inference([sample(7)], do_postprocess=False)[0]
    hard, soft = found["hard"], found[kind]
    assert len(soft) > len(hard)
    assert soft.scores[0] == hard.scores[0]
    assert (soft.scores[:-1] >= soft.scores[1:]).all()
    if kind == "soft_linear":
        # A box that hard suppression keeps overlaps no better one by more than the threshold.
        kept = {tuple(b) for b in hard.pred_boxes.tensor.tolist()}
        faded = {tuple(b): s for b, s in zip(soft.pred_boxes.tensor.tolist(), soft.scores, strict=True)}
        assert sum(box in faded for box in kept) == len(kept)


def test_training_under_bfloat16_is_near_float32(tiny_cfg: Make, sample: Make, storage: EventStorage) -> None:
    torch.manual_seed(0)
    model = build_model(_everything_sampled(tiny_cfg, **{"MODEL.CHANNELS_LAST": True}))
    batch = [sample(8), sample(9, 0)]
    exact = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(batch)
    gradients = _gradients(model, rough)
    assert all(g.isfinite().all() for g in gradients.values())
    for name, loss in exact.items():
        torch.testing.assert_close(rough[name], loss, rtol=0.15, atol=0.02)


def test_scalars_are_logged_as_upstream_names_them(
    tiny_cfg: Make, sample: Make, storage: EventStorage
) -> None:
    model = build_model(tiny_cfg())
    model([sample(1), sample(2, 0)])
    names = set(storage.latest())
    assert names >= {
        "rpn/num_pos_anchors",
        "rpn/num_neg_anchors",
        "roi_head/num_fg_samples",
        "roi_head/num_bg_samples",
        "fast_rcnn/cls_accuracy",
        "fast_rcnn/fg_cls_accuracy",
        "fast_rcnn/false_negative",
        "mask_rcnn/accuracy",
        "mask_rcnn/false_positive",
        "mask_rcnn/false_negative",
    }
    total = storage.latest()["roi_head/num_fg_samples"][0] + storage.latest()["roi_head/num_bg_samples"][0]
    assert total == 32


def test_weights_that_are_not_finite_propose_nothing(
    tiny_cfg: Make, sample: Make, storage: EventStorage
) -> None:
    model = build_model(tiny_cfg())
    torch.nn.init.constant_(model.proposal_generator.rpn_head.objectness_logits.weight, float("nan"))
    assert not model([sample(1)])["loss_rpn_cls"].isfinite()
    assert len(model.eval()([sample(1)])[0]["instances"]) == 0


def test_padding_is_zero_after_normalization(tiny_cfg: Make, sample: Make) -> None:
    model = build_model(tiny_cfg())
    inputs = [sample(1, size=(40, 70)), sample(2, size=(64, 33))]
    batch = model.preprocess_image(inputs)
    assert batch.tensor.shape == (2, 3, 64, 96)
    for image, one, (height, width) in zip(batch.tensor, inputs, batch.image_sizes, strict=True):
        expected = torch.zeros(3, 64, 96, dtype=torch.float64)
        mean = torch.tensor([103.530, 116.280, 123.675], dtype=torch.float64)[:, None, None]
        expected[:, :height, :width] = one["image"].double() - mean
        torch.testing.assert_close(image.double(), expected, rtol=1e-6, atol=1e-4)


def test_colors_are_changed_where_something_is_learned(tiny_cfg: Make, sample: Make) -> None:
    options = {"INPUT.COLOR.PROBABILITY": 1.0, "INPUT.COLOR.BRIGHTNESS": (0.5, 0.5), "INPUT.FORMAT": "RGB"}
    rest = {f"INPUT.COLOR.{name}": (1.0, 1.0) for name in ("CONTRAST", "SATURATION")}
    changing = build_model(tiny_cfg(**options, **rest, **{"INPUT.COLOR.HUE": (0.0, 0.0)}))
    plain = build_model(tiny_cfg())
    batch = [sample(0), sample(1, size=(64, 64))]
    wanted = plain.preprocess_image([{"image": x["image"] * 0.5} for x in batch]).tensor
    torch.testing.assert_close(changing.preprocess_image(batch).tensor, wanted)
    with torch.no_grad():
        assert torch.equal(changing.preprocess_image(batch).tensor, plain.preprocess_image(batch).tensor)
    changing.eval()
    assert torch.equal(changing.preprocess_image(batch).tensor, plain.preprocess_image(batch).tensor)
    assert changing.state_dict().keys() == plain.state_dict().keys()
    assert build_model(tiny_cfg(**{"INPUT.COLOR.PROBABILITY": 0.5})).color_jitter.reverse


def test_colors_of_four_channels_are_refused(tiny_cfg: Make) -> None:
    options = {"MODEL.PIXEL_MEAN": [1.0] * 4, "MODEL.PIXEL_STD": [1.0] * 4}
    with pytest.raises(ConfigValueError, match="three channels, which .* set INPUT.COLOR.PROBABILITY to 0"):
        build_model(tiny_cfg(**options, **{"INPUT.COLOR.PROBABILITY": 0.5}))


@pytest.mark.parametrize("fixed", [False, True])
def test_pictures_of_training(tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"VIS_PERIOD": 2}))
    with force_fixed_shapes(fixed):
        model([sample(1, 2), sample(2, 0)])
        names = [name for name, _, _ in storage._vis_data]
        foreground = 2 * storage.latest()["roi_head/num_fg_samples"][0]  # the mean of two images
        storage.iter = 1
        model([sample(1, 2)])
    assert len(storage._vis_data) == len(names)
    assert sum("proposals" in name for name in names) == 1
    assert sum("mask" in name for name in names) == foreground > 0
    for name, picture, _ in storage._vis_data:
        assert tuple(picture.shape) == ((3, 96, 256) if "proposals" in name else (3, 28, 56))


@pytest.mark.parametrize("fixed", [False, True])
def test_masks_are_learned_on_predicted_boxes(
    tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool
) -> None:
    torch.manual_seed(0)
    model = build_model(_everything_sampled(tiny_cfg, **{"MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": True}))
    # Every box is predicted 8 (of the weights' 10 / 1.25) hundredths of its width farther right.
    bias = torch.tensor([0.8, 0, 0, 0]).repeat(3)
    model.roi_heads.box_predictor.bbox_pred.weight.data.zero_()
    model.roi_heads.box_predictor.bbox_pred.bias.data.copy_(bias)
    seen = []
    model.roi_heads.mask_pooler.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    model.roi_heads.box_pooler.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    with force_fixed_shapes(fixed):
        losses = model([sample(1, 3)])
    proposals, rows = seen
    found = proposals.boxes[proposals.foreground(3)]
    widths = found[:, 2] - found[:, 0]
    expected = found + 0.08 * widths[:, None] * torch.tensor([1.0, 0, 1, 0])
    torch.testing.assert_close(rows.boxes[rows.valid], expected)
    assert losses["loss_mask"].isfinite()


def test_proposals_may_come_with_the_input(tiny_cfg: Make, sample: Make, storage: EventStorage) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"MODEL.PROPOSAL_GENERATOR.NAME": "PrecomputedProposals"}))
    with pytest.raises(ValueError, match="this model makes no proposals"):
        model([sample(1)])
    batch = []
    for one in (sample(1), sample(2)):
        boxes = one["instances"].gt_boxes
        proposals = Instances((96, 128), proposal_boxes=boxes, objectness_logits=torch.zeros(len(boxes)))
        batch.append({**one, "proposals": proposals})
    assert set(model(batch)) == {"loss_cls", "loss_box_reg", "loss_mask"}
    found = model.eval()(batch)
    assert [x["instances"].image_size for x in found] == [(96, 128)] * 2


def test_proposal_network(tiny_cfg: Make, sample: Make, storage: EventStorage) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"MODEL.META_ARCHITECTURE": "ProposalNetwork"}))
    assert set(model([sample(1), sample(2)])) == {"loss_rpn_cls", "loss_rpn_loc"}
    one = sample(3)
    full = model.eval()([one])[0]["proposals"]
    half = model([{**one, "height": 48, "width": 256}])[0]["proposals"]
    assert len(full) == 50
    assert (full.objectness_logits.diff() <= 0).all()
    assert half.image_size == (48, 256)
    scale = torch.tensor([2, 0.5, 2, 0.5])
    torch.testing.assert_close(half.proposal_boxes.tensor, full.proposal_boxes.tensor * scale)
    assert model([]) == []
