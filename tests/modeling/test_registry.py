from __future__ import annotations

import pytest

from cardamage.config import get_cfg
from cardamage.errors import ConfigKeyError
from cardamage.modeling import ROI_KEYPOINT_HEAD_REGISTRY, SEM_SEG_HEADS_REGISTRY, build_model
from cardamage.modeling.registry import Registry


def make() -> Registry:
    registry = Registry("WHEEL", "CAR.WHEEL")
    registry.register(obj=dict)
    registry.register(obj=list)
    return registry


def test_a_part_is_found_by_its_name() -> None:
    assert make().get("dict") is dict


@pytest.mark.parametrize(("name", "end"), [("lists", "; did you mean list?"), ("q", ".")])
def test_an_unknown_part(name: str, end: str) -> None:
    with pytest.raises(ConfigKeyError) as caught:
        make().get(name)
    assert str(caught.value) == f"CAR.WHEEL is {name!r}; it must be one of dict, list{end}"


@pytest.mark.parametrize(
    "key",
    [
        "MODEL.META_ARCHITECTURE",
        "MODEL.BACKBONE.NAME",
        "MODEL.PROPOSAL_GENERATOR.NAME",
        "MODEL.ANCHOR_GENERATOR.NAME",
        "MODEL.RPN.HEAD_NAME",
        "MODEL.ROI_HEADS.NAME",
        "MODEL.ROI_BOX_HEAD.NAME",
        "MODEL.ROI_MASK_HEAD.NAME",
    ],
)
def test_every_part_of_a_model_names_its_key(key: str) -> None:
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.MASK_ON = True
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.FPN.IN_FEATURES = ["res2"]
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2"]
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2"]
    cfg.MODEL.RPN.IN_FEATURES = ["p2"]
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 1
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 8
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    cfg.merge_from_list([key, "Wheel"])
    with pytest.raises(ConfigKeyError, match=f"^{key} is 'Wheel'; it must be one of "):
        build_model(cfg)


def test_heads_that_no_model_here_has_can_be_registered() -> None:
    for registry in (ROI_KEYPOINT_HEAD_REGISTRY, SEM_SEG_HEADS_REGISTRY):

        @registry.register()
        class _Head:
            pass

        assert registry.get("_Head") is _Head
