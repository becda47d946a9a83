from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cardamage.config import CfgNode, get_cfg, validate_cfg
from cardamage.modeling import build_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
PARTS = [name for name in FILES if name.startswith("bases/")]
MODELS = [name for name in FILES if name not in PARTS and not name.startswith("Base-")]
# Of cardamage's own tasks; the others are of public benchmarks and as Detectron2 has them.
OWN = [name for name in MODELS if name.split("/")[0] in ("damage", "demo", "parts")]
VARIANTS = (
    "cascade_mask_rcnn_R_50_FPN",
    "mask_rcnn_R_50_FPN",
    "mask_rcnn_R_50_FPN_cls_agnostic",
    "mask_rcnn_R_50_FPN_dconv_c3-c5",
    "mask_rcnn_R_50_FPN_gn",
    "mask_rcnn_R_50_FPN_lrn",
    "mask_rcnn_R_50_FPN_small_objects",
    "mask_rcnn_R_34_FPN",
    "mask_rcnn_VGG_16_FPN",
    "mask_rcnn_ConvNeXt_T_FPN",
)


def load(name: str) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / name))
    return cfg


def test_the_files_that_the_readme_names_exist() -> None:
    wanted = {"Base-RCNN-FPN.yaml", "demo/mask_rcnn_R_18_FPN.yaml"}
    wanted |= {f"{task}/{variant}.yaml" for task in ("damage", "parts") for variant in VARIANTS}
    assert wanted <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_config_loads_and_is_valid(name: str) -> None:
    cfg = load(name)
    validate_cfg(cfg)
    mask_model = name in OWN or "mask_rcnn" in name or name == "bases/masks.yaml"
    assert mask_model == cfg.MODEL.MASK_ON


def test_a_part_is_used() -> None:
    texts = [(CONFIGS / name).read_text(encoding="utf-8") for name in FILES]
    assert [name for name in PARTS if not any(name in text for text in texts)] == []


@pytest.mark.parametrize("name", OWN)
def test_own_configs_take_their_classes_from_the_data(name: str) -> None:
    assert not load(name).is_explicit("MODEL.ROI_HEADS.NUM_CLASSES")


@pytest.mark.parametrize("name", OWN)
def test_own_configs_train_whole_trunks_from_random_weights(name: str) -> None:
    cfg = load(name)
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    assert cfg.MODEL.WEIGHTS == ""
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", OWN)
def test_outputs_of_two_configs_do_not_mix(name: str) -> None:
    folders = [load(other).OUTPUT_DIR for other in OWN]
    assert folders.count(load(name).OUTPUT_DIR) == 1


def test_parts_are_never_flipped() -> None:
    """A flip exchanges their left and right; that this gains over no flip isn't shown yet."""
    parts = [name for name in FILES if name.startswith("parts/")]
    assert parts
    assert {load(name).INPUT.RANDOM_FLIP for name in parts} == {"none"}


# In epochs of the 117,266 photos of COCO that have objects.
@pytest.mark.parametrize(("ending", "epochs"), [("_1x.yaml", 12.3), ("_3x.yaml", 36.8)])
def test_a_schedule_is_as_long_as_its_name_says(ending: str, epochs: float) -> None:
    names = [name for name in MODELS if name.startswith("COCO") and name.endswith(ending)]
    assert len(names) > 7
    for name in names:
        solver = load(name).SOLVER
        assert solver.MAX_ITER * solver.IMS_PER_BATCH / 117_266 == pytest.approx(epochs, abs=0.1), name
        assert solver.MAX_ITER - solver.STEPS[-1] in (10_000, 20_000)
