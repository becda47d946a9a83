from __future__ import annotations

import os
from pathlib import Path

import pytest

from cardamage.config.loading import load_chain, merge_dicts
from cardamage.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_bases_come_first_and_are_relative_to_their_file(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "A: 1\n")
    middle = write(tmp_path / "sub/middle.yaml", "_BASE_: ../base.yaml\nA: 2\n")
    top = write(tmp_path / "top.yaml", "_BASE_: [sub/middle.yaml]\nB: 3\n")
    assert load_chain(top) == [(str(base), {"A": 1}), (str(middle), {"A": 2}), (str(top), {"B": 3})]


def test_absolute_and_home_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write(tmp_path / "base.yaml", "A: 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for i, name in enumerate((str(base), "~/base.yaml")):
        top = write(tmp_path / f"deep/{i}.yaml", f"_BASE_: '{name}'\n")
        assert load_chain(top)[0] == (str(base), {"A": 1})


def test_empty_file_holds_no_keys(tmp_path: Path) -> None:
    assert load_chain(write(tmp_path / "a.yaml", "# nothing\n"))[0][1] == {}


def test_merge_dicts_merges_nodes_and_changes_neither() -> None:
    under, over = {"A": {"B": 1, "C": 2}, "D": 3}, {"A": {"B": 4}, "E": {"F": 5}}
    assert merge_dicts(over, under) == {"A": {"B": 4, "C": 2}, "D": 3, "E": {"F": 5}}
    assert under == {"A": {"B": 1, "C": 2}, "D": 3}


def sentence_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_chain(path)
    return str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "no.yaml"
    assert sentence_of(path) == f"The config file {path} does not exist."


def test_missing_base_names_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "_BASE_: no.yaml\n")
    expected = f"The config file {tmp_path}/no.yaml, named as _BASE_ in {path}, does not exist."
    assert sentence_of(path) == expected


def test_circle_of_bases(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "_BASE_: b.yaml\n")
    write(tmp_path / "b.yaml", "_BASE_: a.yaml\n")
    assert sentence_of(path) == f"{path} is its own _BASE_; remove the circle."


def test_base_that_is_no_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "_BASE_: 5\n")
    assert sentence_of(path) == f"_BASE_ in {path} is 5, but a path or a list of paths is expected."


def test_python_tags_run_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path / "a.yaml", f"A: 1\nB: !!python/object/apply:os.mkdir ['{mark}']\n")
    assert sentence_of(path) == (
        f"The config file {path} holds a YAML tag at line 2 that would run code; "
        "configs are read as plain data, so write the value out instead."
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "MODEL:\n  ANCHOR_GENERATOR:\n    SIZES: !!python/object/apply:eval ['[[1]]']\n"
            "  META_ARCHITECTURE: RetinaNet\n",
            "MODEL.META_ARCHITECTURE in {} is 'RetinaNet' (a one-stage detector), which cardamage doesn't "
            "have: run it with Detectron2's own programs, or start from one of configs/, such as "
            "configs/damage/mask_rcnn_R_50_FPN.yaml.",
        ),
        (
            "MODEL:\n  PANOPTIC_DEEPLAB:\n    SIZES: !!python/object/apply:eval ['4']\n",
            "MODEL.PANOPTIC_DEEPLAB in {} is a config key of Panoptic-DeepLab, a project on Detectron2 that "
            "cardamage doesn't have: train it with that project's own program, or start from "
            "configs/damage/mask_rcnn_R_50_FPN.yaml.",
        ),
    ],
)
def test_tags_in_configs_of_absent_models_name_the_model(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path / "a.yaml", text)
    assert sentence_of(path) == sentence.format(path)


def test_python_configs_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "mask_rcnn.py"
    for text in (None, "model = 1"):
        if text is not None:
            write(path, text)
        assert sentence_of(path) == (
            f"The config file {path} is Python, a LazyConfig of Detectron2, which cardamage doesn't have: "
            "run it with Detectron2's own programs, or start from one of configs/, such as "
            "configs/damage/mask_rcnn_R_50_FPN.yaml."
        )


def test_invalid_yaml_names_the_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "A: 1\nB: [1,\n")
    assert sentence_of(path).startswith(f"The config file {path} is not valid YAML at line 3, column 1 (")


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words\n"])
def test_top_level_must_be_keys(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.yaml", text)
    assert (
        sentence_of(path) == f"The config file {path} holds no keys: its top level must be KEY: value lines."
    )


def test_unreadable_files(tmp_path: Path) -> None:
    assert sentence_of(tmp_path) == f"The config file {tmp_path} can't be read: {os.strerror(21)}."
    path = tmp_path / "a.yaml"
    path.write_bytes(b"A: \xff\xfe\n")
    assert sentence_of(path) == f"The config file {path} can't be read: it is not UTF-8 text."
