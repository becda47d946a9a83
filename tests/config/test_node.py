from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cardamage.config import CfgNode, get_cfg
from cardamage.errors import ConfigError, ConfigKeyError, ConfigValueError

CLASSES = "MODEL.ROI_HEADS.NUM_CLASSES"


def yaml_file(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_trees_share_nothing() -> None:
    one, other = get_cfg(), get_cfg()
    one.MODEL.PIXEL_MEAN[0] = 0.0
    one.SOLVER.BASE_LR = 5.0
    assert other.MODEL.PIXEL_MEAN[0] == 103.53
    assert other.SOLVER.BASE_LR == 0.001


def test_merge_from_file_merges_bases_in_order(tmp_path: Path) -> None:
    yaml_file(tmp_path, "VERSION: 2\nSOLVER:\n  BASE_LR: 1\n  MAX_ITER: 10\n", "base.yaml")
    cfg = get_cfg()
    cfg.merge_from_file(yaml_file(tmp_path, "_BASE_: base.yaml\nSOLVER: {BASE_LR: 0.5}\nINPUT:\n"))
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.5, 10)


def test_literals_in_strings_are_read(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(
        yaml_file(tmp_path, 'DATASETS:\n  TRAIN: ("a", "b")\nSOLVER:\n  STEPS: (60, 80)\n  BASE_LR: 1e-3\n')
    )
    assert cfg.DATASETS.TRAIN == ("a", "b")
    assert cfg.SOLVER.STEPS == (60, 80)
    assert cfg.SOLVER.BASE_LR == 0.001


def test_load_yaml_with_base_returns_one_dict(tmp_path: Path) -> None:
    yaml_file(tmp_path, "A: {B: 1, C: 2}\n", "base.yaml")
    top = yaml_file(tmp_path, "_BASE_: base.yaml\nA: {B: 3}\n")
    assert CfgNode.load_yaml_with_base(str(top)) == {"A": {"B": 3, "C": 2}}


def test_merge_from_list() -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", "('labelme:/a b/c',)", "SOLVER.BASE_LR", "1", "OUTPUT_DIR", "007"])
    assert cfg.DATASETS.TRAIN == ("labelme:/a b/c",)
    assert cfg.SOLVER.BASE_LR == 1.0
    assert cfg.OUTPUT_DIR == "007"


def test_merge_from_other_cfg() -> None:
    cfg = get_cfg()
    cfg.merge_from_other_cfg(CfgNode({"SOLVER": {"BASE_LR": 2}}))
    assert cfg.SOLVER.BASE_LR == 2.0
    assert cfg.is_explicit("SOLVER.BASE_LR")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("SOLVER.BASE_LRR", "SOLVER.BASE_LRR is not a config key; did you mean SOLVER.BASE_LR?"),
        ("BASE_LR", "BASE_LR is not a config key; did you mean SOLVER.BASE_LR?"),
        ("solver.base_lr", "solver.base_lr is not a config key; did you mean SOLVER.BASE_LR?"),
        (
            "MODEL.RPN.NMS_TYPE",
            "MODEL.RPN.NMS_TYPE is not a config key; did you mean MODEL.ROI_HEADS.NMS_TYPE?",
        ),
        ("SOLVER.BASE_LR.X", "SOLVER.BASE_LR.X is not a config key; did you mean SOLVER.BASE_LR?"),
        ("QQQQ", "QQQQ is not a config key."),
    ],
)
def test_unknown_option(key: str, sentence: str) -> None:
    with pytest.raises(ConfigKeyError) as caught:
        get_cfg().merge_from_list([key, "1"])
    assert str(caught.value) == sentence


def test_unknown_key_in_a_file_names_the_file_it_is_in(tmp_path: Path) -> None:
    base = yaml_file(tmp_path, "SOLVER:\n  BASE_LRR: 1\n", "base.yaml")
    cfg = get_cfg()
    with pytest.raises(ConfigKeyError) as caught:
        cfg.merge_from_file(yaml_file(tmp_path, "_BASE_: base.yaml\n"))
    assert str(caught.value) == f"SOLVER.BASE_LRR in {base} is not a config key; did you mean SOLVER.BASE_LR?"


def test_wrong_type_in_a_file(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "SOLVER:\n  MAX_ITER: many\n")
    with pytest.raises(ConfigValueError) as caught:
        get_cfg().merge_from_file(path)
    assert str(caught.value) == f"SOLVER.MAX_ITER in {path} is 'many', but a whole number is expected."


def test_group_given_a_value(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "SOLVER: fast\n")
    with pytest.raises(ConfigValueError) as caught:
        get_cfg().merge_from_file(path)
    assert str(caught.value) == f"SOLVER in {path} is 'fast', but it is a group of keys and takes no value."


def test_odd_number_of_options() -> None:
    with pytest.raises(ConfigError) as caught:
        get_cfg().merge_from_list(["SOLVER.BASE_LR", "1", "SEED"])
    assert str(caught.value) == (
        "Options come in KEY VALUE pairs, but 3 were given and 'SEED' at the end has no value."
    )


@pytest.mark.parametrize("version", ["3", "-1", "new"])
def test_other_version_is_refused(tmp_path: Path, version: str) -> None:
    path = yaml_file(tmp_path, f"VERSION: {version}\n")
    with pytest.raises(ConfigError) as caught:
        get_cfg().merge_from_file(path)
    shown = repr(version) if version == "new" else version
    assert str(caught.value) == (
        f"The config file {path} is of VERSION {shown}, but versions 0 to 2 are understood: "
        "rename its keys to the present ones."
    )


def test_nothing_changes_where_a_later_key_fails(tmp_path: Path) -> None:
    cfg = get_cfg()
    with pytest.raises(ConfigKeyError):
        cfg.merge_from_list(["SEED", "5", "SEDE", "6"])
    with pytest.raises(ConfigKeyError):
        cfg.merge_from_file(yaml_file(tmp_path, "SEED: 5\nSEDE: 6\n"))
    assert cfg == get_cfg()
    assert not cfg.is_explicit("SEED")


def test_base_key_only_stands_in_files() -> None:
    with pytest.raises(ConfigKeyError, match="^_BASE_ can only stand in a config file.$"):
        get_cfg().merge_from_other_cfg({"_BASE_": "a.yaml"})


def set_by_yaml(cfg: CfgNode, folder: Path) -> None:
    cfg.merge_from_file(yaml_file(folder, "MODEL:\n  ROI_HEADS:\n    NUM_CLASSES: 80\n"))


def set_by_options(cfg: CfgNode, folder: Path) -> None:
    cfg.merge_from_list([CLASSES, "80"])


def set_by_assignment(cfg: CfgNode, folder: Path) -> None:
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 80


def frozen(cfg: CfgNode) -> CfgNode:
    cfg.freeze()
    return cfg


@pytest.mark.parametrize("setter", [set_by_yaml, set_by_options, set_by_assignment])
@pytest.mark.parametrize(
    "passed_on", [CfgNode.clone, copy.deepcopy, lambda cfg: pickle.loads(pickle.dumps(cfg)), frozen]
)
def test_explicit_keys_stay_explicit(
    setter: Callable[[CfgNode, Path], None], passed_on: Callable[[CfgNode], CfgNode], tmp_path: Path
) -> None:
    cfg = get_cfg()
    assert not cfg.is_explicit(CLASSES)
    setter(cfg, tmp_path)
    after = passed_on(cfg)
    assert after.is_explicit(CLASSES)
    assert not after.is_explicit("MODEL.ROI_HEADS.NAME")
    assert not get_cfg().is_explicit(CLASSES)


def test_is_explicit_of_an_unknown_key() -> None:
    with pytest.raises(ConfigKeyError, match="^SEDE is not a config key; did you mean SEED\\?$"):
        get_cfg().is_explicit("SEDE")


def test_derived_values_are_not_explicit() -> None:
    cfg = get_cfg()
    cfg.set_derived(CLASSES, 6)
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 6
    assert not cfg.is_explicit(CLASSES)
    cfg.freeze()
    with pytest.raises(AttributeError, match="the config is frozen"):
        cfg.set_derived(CLASSES, 7)


@pytest.mark.parametrize(
    ("node", "name", "match"),
    [("", "BASE_LR", "SOLVER.BASE_LR"), ("SOLVER", "BASE_LRR", "SOLVER.BASE_LR"), ("", "SEDE", "SEED")],
)
def test_misspelled_assignment_is_refused(node: str, name: str, match: str) -> None:
    cfg = get_cfg()
    full = f"{node}.{name}" if node else name
    with pytest.raises(ConfigKeyError) as caught:
        setattr(cfg[node] if node else cfg, name, 1)
    assert str(caught.value) == (
        f"{full} is not a config key; did you mean {match}? "
        "(To add a key of your own, call set_new_allowed(True) on its node first.)"
    )


def test_own_keys_may_be_added() -> None:
    cfg = get_cfg()
    cfg.MODEL.MY_HEAD = CfgNode({"WIDTH": 3})
    cfg.MODEL.MY_HEAD.DEPTH = 4
    cfg.merge_from_list(["MODEL.MY_HEAD.WIDTH", "5"])
    assert cfg.MODEL.MY_HEAD == {"WIDTH": 5, "DEPTH": 4}
    # As alike as they are, two keys of one's own are no misspelling, and a project's keys are its own.
    cfg.MODEL.MY_HEAD.WIDTH_1 = cfg.MODEL.MY_HEADS = cfg.MODEL.RESNETS.RES4_DILATION = 1
    assert get_cfg().clone().MODEL.get("MY_HEADS") is None
    cfg.SOLVER.set_new_allowed(True)
    cfg.SOLVER.BASE_LRR = 1
    assert cfg.SOLVER.BASE_LRR == 1


def test_new_keys_in_files_only_where_allowed(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.SOLVER.set_new_allowed(True)
    cfg.merge_from_file(yaml_file(tmp_path, 'SOLVER: {OWN: {DEEP: 1}, WORD: "(1, 2)"}\n'))
    assert cfg.SOLVER.OWN.DEEP == 1
    assert cfg.SOLVER.WORD == (1, 2)


def test_frozen_tree_refuses_assignment() -> None:
    cfg = frozen(get_cfg())
    with pytest.raises(AttributeError):
        cfg.SEED = 1
    with pytest.raises(AttributeError):
        cfg.SOLVER.BASE_LR = 1.0


def test_computed_keys() -> None:
    cfg = get_cfg()
    cfg.COMPUTED_SIZE = 3
    assert cfg.COMPUTED_SIZE == 3


def test_dump_comes_back_equal(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", "('a',)", "SOLVER.WEIGHT_DECAY_BIAS", "None", "OUTPUT_DIR", "007"])
    back = get_cfg()
    back.merge_from_file(yaml_file(tmp_path, cfg.dump()))
    assert back == cfg

    def types(tree: CfgNode) -> list[tuple[str, type[Any]]]:
        return [(key, type(value)) for key, value in tree.leaves()]

    assert types(back) == types(cfg)
