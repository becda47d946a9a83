"""Merged views of a photo, against what the model itself finds in each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fvcore.transforms.transform import HFlipTransform, TransformList, VFlipTransform
from PIL import Image

from cardamage.data import MetadataCatalog
from cardamage.data.transforms import NoOpTransform, RotationTransform
from cardamage.errors import ConfigValueError, DataError
from cardamage.modeling import GeneralizedRCNN, GeneralizedRCNNWithTTA, build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.fusion import FastInference
from cardamage.modeling.roi_heads.detection import Suppression
from cardamage.modeling.test_time_augmentation import rcnn
from cardamage.modeling.test_time_augmentation.merging import MERGES, Found
from cardamage.structures import Boxes, Instances, pairwise_iou

Make = Callable[..., Any]
SWAP = [2, 1, 0]
OPTIONS = {
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "TEST.DETECTIONS_PER_IMAGE": 40,
    # Numbers of an untrained model stay small so.
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.PIXEL_STD": [57.0, 57.0, 57.0],
}


def _model(cfg: Any) -> Any:
    torch.manual_seed(3)
    model = build_model(cfg).eval()
    with torch.no_grad():
        # So that the classes, and the masks of each, are told apart at all.
        predictors = model.roi_heads.box_predictor
        for predictor in predictors if isinstance(predictors, torch.nn.ModuleList) else [predictors]:
            predictor.cls_score.weight.normal_(std=0.1)
        if cfg.MODEL.MASK_ON:
            model.roi_heads.mask_head.predictor.weight.normal_(std=2.0)
    return model


def _photo(seed: int, height: int = 61, width: int = 83) -> dict[str, Any]:
    spots = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (1, 3, 6, 8)).astype(np.uint8))
    return {"image": F.interpolate(spots, (height, width))[0], "height": height, "width": width}


def _mirrored(photo: dict[str, Any]) -> dict[str, Any]:
    return {**photo, "image": photo["image"].flip(2)}


def _moved(found: Instances, classes: Sequence[int], axis: int = 0) -> Instances:
    """What is found in a mirror image, as it lies in the photo."""
    size = found.image_size[1 - axis]
    boxes = found.pred_boxes.tensor.clone()
    boxes[:, [axis, axis + 2]] = size - boxes[:, [axis + 2, axis]]
    fields = {"pred_boxes": type(found.pred_boxes)(boxes), "scores": found.scores}
    fields["pred_classes"] = torch.tensor(classes)[found.pred_classes]
    if found.has("pred_masks"):
        fields["pred_masks"] = found.pred_masks.flip(2 - axis)
    return Instances(found.image_size, **fields)


def _assert_equal(one: Instances, other: Instances, shaky_pixels: float = 0.002) -> None:
    assert len(one) == len(other) > 0
    # Equal scores may come in either order.
    orders = [
        np.lexsort((*x.pred_boxes.tensor.numpy().round(1).T, -x.scores.numpy().round(4)))
        for x in (one, other)
    ]
    one, other = (x[torch.from_numpy(order)] for x, order in zip((one, other), orders, strict=True))
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one.pred_boxes.tensor, other.pred_boxes.tensor, rtol=1e-4, atol=1e-2)
    assert one.pred_classes.tolist() == other.pred_classes.tolist()
    assert one.has("pred_masks") == other.has("pred_masks")
    if one.has("pred_masks"):
        assert (one.pred_masks != other.pred_masks).float().mean() <= shaky_pixels


def _only(*transforms: Any) -> Callable[[Any], list[dict[str, Any]]]:
    """A mapper that makes one view of unchanged size."""

    def mapper(photo: Any) -> list[dict[str, Any]]:
        pixels = photo["image"].permute(1, 2, 0).numpy()
        steps = TransformList(list(transforms) or [NoOpTransform()])
        image = np.ascontiguousarray(steps.apply_image(pixels).transpose(2, 0, 1))
        return [{**photo, "image": torch.from_numpy(image), "transforms": steps}]

    return mapper


KINDS = {
    "masks": {},
    "cascade": {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True},
    "agnostic": {"MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": True},
    "boxes": {"MODEL.MASK_ON": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirrored_view_alone_gives_the_counterparts(tiny_cfg: Make, kind: str) -> None:
    cfg = tiny_cfg(**OPTIONS, **KINDS[kind])
    model, photo = _model(cfg), _photo(1)
    augmented = GeneralizedRCNNWithTTA(cfg, model, _only(HFlipTransform(83)), class_flip_indices=SWAP)
    expected, same = (_moved(model([_mirrored(photo)])[0]["instances"], to) for to in (SWAP, [0, 1, 2]))
    assert expected.pred_classes.tolist() != same.pred_classes.tolist()
    # The mask of a box is that of the class which the mirrored view shows, though it counts as the other.
    _assert_equal(augmented([photo])[0]["instances"], expected)
    plain = GeneralizedRCNNWithTTA(cfg, model, _only(HFlipTransform(83)), class_flip_indices=[])
    _assert_equal(plain([photo])[0]["instances"], same)


def test_an_upside_down_view_is_a_mirrored_one(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**OPTIONS)
    model, photo = _model(cfg), _photo(2)
    augmented = GeneralizedRCNNWithTTA(cfg, model, _only(VFlipTransform(61)), class_flip_indices=SWAP)
    below = {**photo, "image": photo["image"].flip(1)}
    _assert_equal(augmented([photo])[0]["instances"], _moved(model([below])[0]["instances"], SWAP, axis=1))
    # Both together are half a turn, which shows no other side.
    both = GeneralizedRCNNWithTTA(
        cfg, model, _only(HFlipTransform(83), VFlipTransform(61)), class_flip_indices=SWAP
    )
    turned = model([{**photo, "image": photo["image"].flip(1, 2)}])[0]["instances"]
    _assert_equal(both([photo])[0]["instances"], _moved(_moved(turned, [0, 1, 2]), [0, 1, 2], axis=1))


@pytest.mark.parametrize("swap", [True, False])
def test_the_mirror_image_of_a_photo_gives_the_mirror_image_of_its_detections(
    tiny_cfg: Make, swap: bool
) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (0,)})
    model, photo = _model(cfg), _photo(1)
    indices = SWAP if swap else []
    augmented = GeneralizedRCNNWithTTA(cfg, model, class_flip_indices=indices)
    found, mirrored = (augmented([x])[0]["instances"] for x in (photo, _mirrored(photo)))
    assert (found.pred_classes != 1).any()
    _assert_equal(mirrored, _moved(found, indices or [0, 1, 2]))


@pytest.mark.parametrize("kind", ["hard", "soft_linear", "soft_gaussian"])
def test_boxes_of_all_views_are_merged_as_the_config_suppresses(tiny_cfg: Make, kind: str) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"MODEL.ROI_HEADS.NMS_TYPE": kind, "MODEL.MASK_ON": False})
    cfg.TEST.AUG.MIN_SIZES = (0,)
    model, photo = _model(cfg), _photo(4)
    views = [model([photo])[0]["instances"], _moved(model([_mirrored(photo)])[0]["instances"], SWAP)]
    boxes = torch.cat([x.pred_boxes.tensor for x in views])
    scores, classes = (torch.cat([x.get(name) for x in views]) for name in ("scores", "pred_classes"))
    kept, final = Suppression.from_config(cfg)(boxes, scores, classes)
    found = GeneralizedRCNNWithTTA(cfg, model, class_flip_indices=SWAP)([photo])[0]["instances"]
    assert len(found) == min(len(kept), 40)
    torch.testing.assert_close(found.scores, final[:40], rtol=1e-3, atol=1e-4)
    assert len(kept) > len(views[0])


def test_boxes_of_all_views_become_their_weighted_means(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"MODEL.MASK_ON": False, "TEST.AUG.MERGE": "weighted_boxes"})
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MERGE_THRESH = (0,), 0.6
    model, photos = _model(cfg), [_photo(4), _photo(5)]
    found = GeneralizedRCNNWithTTA(cfg, model, class_flip_indices=SWAP)(photos)
    for photo, result in zip(photos, found, strict=True):
        views = [model([photo])[0]["instances"], _moved(model([_mirrored(photo)])[0]["instances"], SWAP)]
        boxes = torch.cat([x.pred_boxes.tensor for x in views]).double()
        scores, classes = (torch.cat([x.get(name) for x in views]) for name in ("scores", "pred_classes"))
        order = scores.argsort(descending=True)
        clusters: list[list[int]] = []
        fused: list[torch.Tensor] = []
        for place in order.tolist():
            overlaps = [
                float(pairwise_iou(Boxes(box[None]), Boxes(boxes[place][None])))
                if classes[members[0]] == classes[place]
                else 0.0
                for box, members in zip(fused, clusters, strict=True)
            ]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best < 0 or overlaps[best] <= 0.6:
                best = len(clusters)
                clusters.append([])
                fused.append(boxes[place])
            clusters[best].append(place)
            weights = scores[clusters[best]].double()
            fused[best] = (boxes[clusters[best]] * weights[:, None]).sum(0) / weights.sum()
        final = torch.stack([scores[members].mean() * min(len(members), 2) / 2 for members in clusters])
        ranked = final.argsort(descending=True)[:40]
        expected = Instances(
            (61, 83),
            pred_boxes=Boxes(torch.stack(fused)[ranked].float()),
            scores=final[ranked],
            pred_classes=torch.stack([classes[clusters[i][0]] for i in ranked.tolist()]),
        )
        assert max(map(len, clusters)) > 1
        _assert_equal(result["instances"], expected)


@pytest.mark.parametrize("name", list(MERGES))
def test_nothing_found_gives_nothing(tiny_cfg: Make, name: str) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    found = Found(torch.zeros(0, 4), torch.zeros(0), nothing, nothing, [(5, 6), (7, 8)], [2, 2], 3)
    results = MERGES[name](tiny_cfg(), found)
    assert [x.image_size for x in results] == [(5, 6), (7, 8)]
    assert [len(x) for x in results] == [0, 0]


def test_photos_of_several_sizes_get_what_each_gets_alone(
    tiny_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (48, 60), "TEST.AUG.MAX_SIZE": 90})
    model = _model(cfg)
    photos = [_photo(5), _photo(6, 40, 90), _photo(7)]
    alone = [GeneralizedRCNNWithTTA(cfg, model, batch_size=1)([photo])[0]["instances"] for photo in photos]
    together = GeneralizedRCNNWithTTA(cfg, model, batch_size=4)(photos)
    for one, other in zip(alone, together, strict=True):
        _assert_equal(other["instances"], one)
    # Feature maps that can't be kept are computed again.
    monkeypatch.setattr(rcnn, "_KEPT_BYTES", 10**6)
    for one, other in zip(alone, GeneralizedRCNNWithTTA(cfg, model, batch_size=4)(photos), strict=True):
        _assert_equal(other["instances"], one)


def test_batches_of_fixed_shape_as_a_gpu_has_them(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (0, 50)})
    augmented, photos = GeneralizedRCNNWithTTA(cfg, _model(cfg)), [_photo(5), _photo(6, 40, 90)]
    expected = augmented(photos)
    with force_fixed_shapes(True):
        found = augmented(photos)
    for one, other in zip(found, expected, strict=True):
        _assert_equal(one["instances"], other["instances"])


def test_a_model_of_ones_own_is_asked_by_its_own_inference(tiny_cfg: Make) -> None:
    class Mine(GeneralizedRCNN):
        calls = 0

        def inference(self, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return super().inference(*args, **kwargs)

    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (0,)})
    model, photo = _model(cfg), _photo(8)
    expected = GeneralizedRCNNWithTTA(cfg, model)([photo])[0]["instances"]
    model.__class__ = Mine
    _assert_equal(GeneralizedRCNNWithTTA(cfg, model)([photo])[0]["instances"], expected)
    assert model.calls == 2
    assert model.roi_heads.mask_on


def test_half_precision_and_fused_layers_work_on_all_views(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (0, 50)})
    model, photo = _model(cfg), _photo(9)
    augmented = GeneralizedRCNNWithTTA(cfg, model)
    fast = FastInference(augmented, torch.float32, torch.device("cpu"))
    _assert_equal(fast([photo])[0]["instances"], augmented([photo])[0]["instances"], shaky_pixels=0.01)
    assert not fast.broken


def test_run_lengths_are_the_masks(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (0,)})
    augmented = GeneralizedRCNNWithTTA(cfg, _model(cfg))
    masks = augmented([_photo(10)])[0]["instances"].pred_masks
    augmented.mask_output = "rle"
    assert augmented.model.mask_output == "rle"
    assert torch.equal(augmented([_photo(10)])[0]["instances"].pred_masks.to_tensor(), masks)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (33, 2)])
def test_tiny_photos(tiny_cfg: Make, height: int, width: int) -> None:
    cfg = tiny_cfg(**{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0})
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE = (32, 47), 64
    found = GeneralizedRCNNWithTTA(cfg, _model(cfg))([_photo(11, height, width)])[0]["instances"]
    assert found.image_size == (height, width)
    assert found.pred_masks.shape == (len(found), height, width)
    assert 0 < len(found) <= 100
    assert (found.pred_boxes.tensor <= torch.tensor([width, height] * 2)).all()


@pytest.mark.parametrize("masks", [True, False])
def test_nothing_found_and_nothing_asked(tiny_cfg: Make, masks: bool) -> None:
    cfg = tiny_cfg(**{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 1.0, "MODEL.MASK_ON": masks})
    cfg.TEST.AUG.MIN_SIZES = (32,)
    augmented = GeneralizedRCNNWithTTA(cfg, _model(cfg))
    assert augmented([]) == []
    found = augmented([_photo(12), _photo(13, 20, 30)])
    assert [len(x["instances"]) for x in found] == [0, 0]
    if masks:
        assert [tuple(x["instances"].pred_masks.shape) for x in found] == [(0, 61, 83), (0, 20, 30)]


def test_files_are_read_upright(tiny_cfg: Make, tmp_path: Path) -> None:
    cfg = tiny_cfg(**OPTIONS, **{"TEST.AUG.MIN_SIZES": (0,)})
    augmented = GeneralizedRCNNWithTTA(cfg, _model(cfg))
    upright = np.random.default_rng(14).integers(0, 256, (50, 71, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise to be seen upright
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.png", exif=exif)
    given = torch.from_numpy(np.ascontiguousarray(upright[:, :, ::-1].transpose(2, 0, 1)))
    expected = augmented([{"image": given}])[0]["instances"]
    found = augmented([{"file_name": str(tmp_path / "a.png")}])[0]["instances"]
    assert found.image_size == (50, 71)
    _assert_equal(found, expected)
    with pytest.raises(DataError, match="a.png"):
        augmented([{"file_name": str(tmp_path / "a.png"), "height": 71, "width": 50}])


def test_what_can_not_be_merged_is_refused(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**OPTIONS)
    model = _model(cfg)
    turned = GeneralizedRCNNWithTTA(cfg, model, _only(RotationTransform(61, 83, 90)))
    with pytest.raises(DataError, match="a view is turned or skewed"):
        turned([_photo(15)])
    with pytest.raises(RuntimeError, match="evaluation mode"):
        GeneralizedRCNNWithTTA(cfg, model.train())([_photo(15)])
    with pytest.raises(ConfigValueError, match="exchange 2 classes of the dataset, but the model has 3"):
        GeneralizedRCNNWithTTA(cfg, model, class_flip_indices=[1, 0])
    with pytest.raises(ConfigValueError, match="not a ProposalNetwork: set TEST.AUG.ENABLED"):
        GeneralizedRCNNWithTTA(cfg, build_model(tiny_cfg(**{"MODEL.META_ARCHITECTURE": "ProposalNetwork"})))
    cfg.MODEL.LOAD_PROPOSALS = True
    with pytest.raises(ConfigValueError, match="makes its own proposals"):
        GeneralizedRCNNWithTTA(cfg, model)


def test_the_test_set_says_which_classes_change_places(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**{"DATASETS.TEST": ("tta_sides",)})
    model = _model(cfg)
    MetadataCatalog.get("tta_sides").thing_classes = ["hood", "left_door", "right_door"]
    try:
        augmented = GeneralizedRCNNWithTTA(cfg, model)
        assert augmented._exchange.tolist() == [0, 2, 1]
        cfg.INPUT.FLIP_CLASS_PAIRS = [["hood", "right_door"]]
        assert GeneralizedRCNNWithTTA(cfg, model)._exchange.tolist() == [2, 1, 0]
        cfg.INPUT.FLIP_CLASS_PAIRS = "none"
        assert GeneralizedRCNNWithTTA(cfg, model)._exchange.tolist() == [0, 1, 2]
    finally:
        MetadataCatalog.remove("tta_sides")
    cfg.INPUT.FLIP_CLASS_PAIRS, cfg.DATASETS.TEST = [["hood", "right_door"]], ()
    with pytest.raises(ConfigValueError, match="neither the weights nor DATASETS.TEST tell"):
        GeneralizedRCNNWithTTA(cfg, model)
