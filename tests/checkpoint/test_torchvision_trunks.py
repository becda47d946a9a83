"""torchvision's VGGs and ConvNeXts by name: the same pictures must give the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from cardamage.checkpoint import DetectionCheckpointer, input_settings
from cardamage.checkpoint.torchvision_names import is_torchvision_trunk
from cardamage.checkpoint.torchvision_trunks import convnext_name, vgg_names
from cardamage.errors import CheckpointError, DownloadError
from cardamage.utils.file_io import PathManager

Build = Callable[..., nn.Module]
Fill = Callable[[nn.Module], dict[str, torch.Tensor]]

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
VGG = {"MODEL__BACKBONE__NAME": "build_vgg_fpn_backbone"}
CONVNEXT = {"MODEL__BACKBONE__NAME": "build_convnext_fpn_backbone"}
TRUNKS: dict[str, dict[str, Any]] = {
    "vgg11": {**VGG, "MODEL__VGG__DEPTH": 11},
    "vgg16": VGG,
    "vgg16_bn": {**VGG, "MODEL__VGG__NORM": "BN"},
    "vgg13_bn": {**VGG, "MODEL__VGG__DEPTH": 13, "MODEL__VGG__NORM": "FrozenBN"},
    "convnext_tiny": CONVNEXT,
}


def _torchvision_trunk(name: str) -> Any:
    """A trunk of random weights, with all that its files hold but the size of the classifier."""
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    model.classifier = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to("cpu")
    model.features.to_empty(device="cpu")
    with torch.no_grad():
        for value in model.features.state_dict().values():
            value.normal_(0, 0.05) if value.is_floating_point() else value.zero_()
        for key, value in model.features.state_dict().items():
            if key.endswith("layer_scale"):
                value.normal_(0, 0.5)
    return model.eval()


def _outputs(model: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """The last map of each stride from 4 to 32."""
    by_stride, side = {}, x.shape[-1]
    for layer in model.features:
        x = layer(x)
        by_stride[side // x.shape[-1]] = x.clone()
    return [by_stride[stride] for stride in (4, 8, 16, 32)]


@pytest.mark.parametrize(
    ("name", "order"), [("vgg11", "RGB"), *((name, "BGR") for name in TRUNKS if name != "vgg11")]
)
@torch.no_grad()
def test_trunks_compute_the_same(
    name: str, order: str, tmp_path: Path, small_model: Build, randomize: Fill, log: pytest.LogCaptureFixture
) -> None:
    theirs = _torchvision_trunk(name)
    randomize(theirs.features)
    torch.save(theirs.state_dict(), tmp_path / "trunk.pth")
    pixels: dict[str, Any] = {}
    if order == "RGB":
        mean, std = MEAN.flatten().tolist(), STD.flatten().tolist()
        pixels = {"INPUT__FORMAT": "RGB", "MODEL__PIXEL_MEAN": mean, "MODEL__PIXEL_STD": std}
    model: Any = small_model(**TRUNKS[name], **pixels)
    DetectionCheckpointer(model).load(str(tmp_path / "trunk.pth"))
    rgb = torch.randint(0, 256, (3, 64, 96)).float()
    picture = rgb.flip(0) if order == "BGR" else rgb
    found = model.backbone.bottom_up(model.preprocess_image([{"image": picture}]).tensor)
    for x, y in zip(found.values(), _outputs(theirs, ((rgb - MEAN) / STD)[None]), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=2e-5 * y.abs().max().item())
    assert not [record for record in log.records if record.levelname == "WARNING"]
    assert log.records[-1].getMessage() == (
        f"The weights file '{tmp_path}/trunk.pth' holds a trunk: the heads start fresh "
        "(backbone.fpn_lateral*, backbone.fpn_output*, proposal_generator, roi_heads)."
    )


@pytest.mark.parametrize("name", [*TRUNKS, "vgg11_bn", "vgg19", "vgg19_bn", "convnext_large"])
def test_every_weight_of_a_trunk_has_a_name_of_its_own(name: str) -> None:
    with torch.device("meta"):
        names = [n for n in getattr(torchvision.models, name)().state_dict() if "num_batches" not in n]
    assert is_torchvision_trunk(names)
    layers = vgg_names(names)
    assert (layers is None) == name.startswith("convnext")
    trunk = [n for n in names if n.startswith("features.")]
    if layers is None:
        renamed = {convnext_name(n) for n in trunk}
    else:
        renamed = {f"{layers[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}" for n in trunk}
    assert len(renamed) == len(trunk)
    assert all(n.split(".")[0] in ("stem", "res2", "res3", "res4", "res5") for n in renamed)


@pytest.mark.parametrize(
    "name", ["alexnet", "squeezenet1_0", "mobilenet_v2", "densenet121", "efficientnet_b0"]
)
def test_other_networks_are_not_taken_for_trunks(name: str) -> None:
    with torch.device("meta"):
        names = list(getattr(torchvision.models, name)().state_dict())
    assert vgg_names(names) is None
    assert not is_torchvision_trunk(names)


def test_what_their_pictures_look_like(tmp_path: Path) -> None:
    state = _torchvision_trunk("vgg11").state_dict()
    torch.save(state, tmp_path / "a.pth")
    settings = {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    }
    assert input_settings(str(tmp_path / "a.pth")) == settings
    # torchvision's IMAGENET1K_FEATURES, for pixels from 0 to 255 less their mean.
    torch.save({**state, "classifier.0.weight": torch.full((3, 4), torch.nan)}, tmp_path / "b.pth")
    assert input_settings(str(tmp_path / "b.pth")) == {**settings, "MODEL.PIXEL_STD": [1.0, 1.0, 1.0]}


RESNET = {"MODEL__BACKBONE__NAME": "build_resnet_fpn_backbone"}


@pytest.mark.parametrize(
    ("in_file", "in_model", "hint"),
    [
        (
            "vgg16",
            RESNET,
            "MODEL.BACKBONE.NAME build_vgg_fpn_backbone, MODEL.VGG.DEPTH 16, MODEL.VGG.NORM ''",
        ),
        ("convnext_tiny", VGG, "MODEL.BACKBONE.NAME build_convnext_fpn_backbone, MODEL.CONVNEXT.SIZE tiny"),
        ("resnet18", CONVNEXT, "MODEL.BACKBONE.NAME build_resnet_fpn_backbone, MODEL.RESNETS.DEPTH 18"),
        ("vgg11_bn", VGG, "MODEL.VGG.DEPTH 11, MODEL.VGG.NORM BN"),
        ("vgg16_bn", VGG, "MODEL.VGG.NORM BN"),
    ],
)
def test_a_trunk_of_another_kind_is_named(
    tmp_path: Path,
    small_model: Build,
    log: pytest.LogCaptureFixture,
    in_file: str,
    in_model: dict[str, Any],
    hint: str,
) -> None:
    theirs = torchvision.models.resnet18() if in_file == "resnet18" else _torchvision_trunk(in_file)
    torch.save(theirs.state_dict(), tmp_path / "t.pth")
    other_family = "MODEL.BACKBONE.NAME" in hint
    nothing_fits = pytest.raises(CheckpointError, match="shares no parameter with the model")
    with nothing_fits if other_family else nullcontext():
        DetectionCheckpointer(small_model(**in_model)).load(str(tmp_path / "t.pth"))
    said = [record.getMessage() for record in log.records if "other settings" in record.getMessage()]
    assert said == [
        f"The weights file '{tmp_path}/t.pth' was trained with other settings than the config's: set {hint}."
    ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vgg16", "vgg16-397923af.pth"),
        ("vgg16_bn", "vgg16_bn-6c64b313.pth"),
        ("convnext_tiny", "convnext_tiny-983f1562.pth"),
        ("resnet34", "resnet34-b627a593.pth"),
    ],
)
def test_names_are_addresses(
    name: str, file: str, loopback: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARDAMAGE_WEIGHTS_MIRROR", loopback.url)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    # The name holds the sum of the true file.
    loopback.files[f"/models/{file}"] = b"others"
    with pytest.raises(DownloadError, match=f"torchvision://{name}"):
        PathManager.get_local_path(f"torchvision://{name}")
    assert {path for path, _ in loopback.requests} == {f"/models/{file}"}


@pytest.mark.parametrize("name", ["vgg16_bn", "convnext_tiny"])
def test_a_downloaded_trunk_is_loaded(
    name: str, loopback: Any, cache: Path, small_model: Build, log: pytest.LogCaptureFixture
) -> None:
    theirs = _torchvision_trunk(name)
    content = io.BytesIO()
    torch.save(theirs.state_dict(), content)
    loopback.files["/models/trunk.pth"] = content.getvalue()
    model: Any = small_model(**TRUNKS[name], INPUT__FORMAT="RGB", MODEL__PIXEL_STD=STD.flatten().tolist())
    DetectionCheckpointer(model).load(f"{loopback.url}/models/trunk.pth")
    own = [v for n, v in model.backbone.bottom_up.state_dict().items() if "num_batches" not in n]
    wanted = [v for n, v in theirs.features.state_dict().items() if "num_batches" not in n]
    assert len(own) == len(wanted)
    assert all(torch.equal(x, y) for x, y in zip(own, wanted, strict=True))
    assert len(loopback.requests) == 1
