from __future__ import annotations

from cardamage.config import get_cfg
from cardamage.config.defaults import default_tree


def test_every_call_builds_a_fresh_tree() -> None:
    one, other = default_tree(), default_tree()
    one["MODEL"]["RPN"]["IOU_LABELS"].append(5)
    assert other["MODEL"]["RPN"]["IOU_LABELS"] == [0, -1, 1]


def test_values_that_decide_upstream_numbers() -> None:
    cfg = get_cfg()
    assert cfg.VERSION == 2
    assert cfg.MODEL.DEVICE == "cuda"
    assert cfg.MODEL.RPN.BBOX_REG_WEIGHTS == (1.0, 1.0, 1.0, 1.0)
    assert cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS == (10.0, 10.0, 5.0, 5.0)
    assert cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS == (0.5, 0.6, 0.7)
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 80
    assert cfg.SOLVER.WARMUP_FACTOR == 1.0 / 1000
    assert cfg.TEST.AUG.MIN_SIZES == (400, 500, 600, 700, 800, 900, 1000, 1100, 1200)


def test_own_keys_leave_upstream_behaviour_alone() -> None:
    cfg = get_cfg()
    assert cfg.MODEL.ROI_HEADS.NMS_TYPE == "hard"
    assert cfg.MODEL.CHANNELS_LAST == "auto"
    assert cfg.SOLVER.AMP.DTYPE == "auto"
    assert cfg.SOLVER.EMA == {"ENABLED": False, "DECAY": 0.999}
    assert cfg.TEST.BEST_CHECKPOINT == {"ENABLED": True, "METRIC": "segm/AP", "MODE": "max"}
    assert cfg.INPUT.CHECK_IMAGES is True
    assert cfg.INPUT.COLOR.PROBABILITY == 0
    assert cfg.INPUT.RESIZE == "native"
    assert cfg.INPUT.SCALED_DECODE is True
    assert cfg.DATALOADER.SIZE_GROUPING == "orientation"
    assert cfg.TEST.IMS_PER_BATCH == 1
    assert cfg.WRITER_PERIOD == 20


def test_every_leaf_has_one_type_of_its_own() -> None:
    assert all(not isinstance(value, dict) for _, value in get_cfg().leaves())
    assert len(list(get_cfg().leaves())) > 180
