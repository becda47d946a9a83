"""Made-up weights: activations of known size, as many objects as may be, the same for every side."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cardamage.benchmark.samples import make_samples
from cardamage.benchmark.settings import PLAIN, Settings
from cardamage.benchmark.shared_weights import shared_config
from cardamage.benchmark.weights import force_detections, settle
from cardamage.checkpoint import DetectionCheckpointer
from cardamage.modeling import build_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def deviations(
    model: nn.Module, inputs: list[dict[str, torch.Tensor]], endings: tuple[str, ...]
) -> dict[str, float]:
    """The deviation of what layers give, when they are first called."""
    found: dict[str, float] = {}

    def watch(name: str) -> None:
        def hook(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            found.setdefault(name, float(output.float().std()))

        dict(model.named_modules())[name].register_forward_hook(hook)

    for name, _ in model.named_modules():
        if name.endswith(endings):
            watch(name)
    with torch.no_grad():
        model(inputs)
    return found


def test_layers_have_the_deviations_that_were_asked_for(settings: Settings) -> None:
    torch.manual_seed(0)
    model = build_model(settings.config((*PLAIN, "MODEL.RESNETS.NORM", "FrozenBN"))).eval()
    inputs = [{"image": make_samples(settings, 1)[0]["image"]}]
    settle(model, inputs)
    found = deviations(model, inputs, ("stem.conv1.norm", "block.conv2.norm", "1.conv2.norm", "cls_score"))
    for name, deviation in found.items():
        wanted = 1.0 if "stem" in name else 2.5 if "cls_score" in name else 0.3
        assert abs(deviation - wanted) < 0.05 * wanted, name


def test_a_photo_has_as_many_objects_as_it_may(settings: Settings) -> None:
    torch.manual_seed(0)
    model = build_model(settings.config(PLAIN)).eval()
    inputs = [{"image": sample["image"]} for sample in make_samples(settings, 2)]
    settle(model, inputs[:1])
    assert force_detections(model, inputs, 20) == [20, 20]
    with torch.no_grad():
        assert [len(output["instances"]) for output in model(inputs)] == [20, 20]


@pytest.mark.parametrize(
    "name", ["Misc/cascade_mask_rcnn_R_50_FPN_1x", "PascalVOC-Detection/faster_rcnn_R_50_C4"]
)
def test_other_heads_find_as_many_too(name: str, settings: Settings) -> None:
    settings.config_file = str(CONFIGS / f"{name}.yaml")
    settings.opts += [
        "MODEL.WEIGHTS",
        "",
        "MODEL.RPN.POST_NMS_TOPK_TEST",
        "12",
        "TEST.DETECTIONS_PER_IMAGE",
        "5",
    ]
    torch.manual_seed(0)
    model = build_model(settings.config(PLAIN)).eval()
    inputs = [{"image": sample["image"]} for sample in make_samples(settings, 1)]
    masks = model.roi_heads.mask_on
    settle(model, inputs)
    assert force_detections(model, inputs, 5) == [5]
    assert model.roi_heads.mask_on == masks


def test_all_sides_load_one_file_and_it_is_made_once(settings: Settings) -> None:
    samples = make_samples(settings, 1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = shared_config(settings, samples)
    assert torch.equal(torch.get_rng_state(), state)
    again = shared_config(settings, samples)
    assert first.MODEL.WEIGHTS == again.MODEL.WEIGHTS != ""
    model = build_model(first)
    DetectionCheckpointer(model).load(first.MODEL.WEIGHTS, strict=True)
    assert first.MODEL.ROI_HEADS.NUM_CLASSES == 2


def test_the_users_weights_are_taken_as_they_are(settings: Settings) -> None:
    path = shared_config(settings, make_samples(settings, 1)).MODEL.WEIGHTS
    settings.weights = path
    assert shared_config(settings, make_samples(settings, 2)).MODEL.WEIGHTS == path
