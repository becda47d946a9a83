"""The command line: sections, config keys, and what is refused before anything is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cardamage.benchmark import arguments, sections
from cardamage.benchmark.arguments import NAMES, parse_args
from cardamage.benchmark.run import make_settings
from cardamage.errors import CardamageError, ConfigValueError


def test_sections_flags_and_keys_may_be_mixed() -> None:
    args = parse_args(["train", "loader", "--rounds", "5", "SOLVER.AMP.ENABLED", "True", "SEED", "3"])
    assert args.sections == ["train", "loader"]
    assert args.opts == ["SOLVER.AMP.ENABLED", "True", "SEED", "3"]
    assert args.rounds == 5
    args = parse_args(["loader", "--images", "A", "labelme:B.C", "INPUT.FORMAT", "RGB"])
    assert (args.sections, args.images) == (["loader"], ["A", "labelme:B.C"])
    assert args.opts == ["INPUT.FORMAT", "RGB"]
    assert args.command[0] == "loader"


def test_everything_short_runs_unless_something_is_named() -> None:
    assert parse_args([]).sections == [name for name in NAMES if name != "quality"]
    assert parse_args(["SEED", "3"]).sections == parse_args([]).sections


def test_the_sections_are_those_that_there_are() -> None:
    assert sections.SECTIONS == arguments.NAMES
    folder = Path(sections.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(NAMES)


def test_an_unknown_section_is_named_with_the_closest() -> None:
    with pytest.raises(ConfigValueError, match=r"no section 'trainn'; did you mean train\?"):
        parse_args(["trainn"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rounds", "0"], "--rounds must be 1 or more, not 0"),
        (["--batch-size", "-2"], "--batch-size must be 1 or more, not -2"),
        (["--inference-batches", "1", "0"], "--inference-batches must be 1 or more, not 0"),
        (["--size", "800", "3"], "--size must be 64 pixels or more, not 3"),
        (["--iterations", "0"], "--iterations must be 1 or more"),
    ],
)
def test_a_number_out_of_range_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigValueError, match=sentence):
        parse_args(words)


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SystemExit):
        parse_args(["--round", "--fast"])


def small(labelme: Path, *words: str) -> argparse.Namespace:
    return parse_args(["--size", "64", "96", "--device", "cpu", *words, "--images", str(labelme)])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--config-file", "missing.yaml"], "missing.yaml does not exist"),
        (["train", "MODEL.MASK_HEAD", "3"], "MODEL.MASK_HEAD"),
        (["--quality-config", "none.yaml", "quality"], "none.yaml does not exist"),
    ],
)
def test_what_cannot_be_used_is_said_before_measuring(
    words: list[str], sentence: str, labelme: Path, tmp_path: Path
) -> None:
    args = parse_args(["--images", str(labelme), "--size", "64", "96", "--device", "cpu", *words])
    with pytest.raises(CardamageError, match=sentence):
        make_settings(args, tmp_path)


CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("inference --images {tmp}/no", "--images .*/no is no folder, file or dataset"),
        ("inference --json {tmp}", "--json is the folder"),
        ("inference --json {tmp}/file/x.json", "set --json to another folder"),
        ("inference --profile {tmp}/file", "set --profile to another folder"),
        ("inference --weights {tmp}/no.pth", "no.pth' doesn't exist"),
        ("inference TEST.PRECISION fp8", "TEST.PRECISION is 'fp8'"),
        ("train --config-file {configs}/COCO-Detection/rpn_R_50_FPN_1x.yaml", "a ProposalNetwork with RPN"),
        ("train --config-file {configs}/COCO-Detection/fast_rcnn_R_50_FPN_1x.yaml", "PrecomputedProposals"),
        ("quality --quality-data coco:{tmp}/no.json coco:{tmp}/no.json", "no.json"),
    ],
)
def test_what_would_stop_it_later_is_refused_first(
    words: str, sentence: str, labelme: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    flags = words.format(tmp=tmp_path, configs=CONFIGS).split()
    args = parse_args(["--images", str(labelme), "--size", "64", "96", "--device", "cpu", *flags])
    with pytest.raises(CardamageError, match=sentence):
        make_settings(args, tmp_path / "scratch")


def test_files_are_larger_than_the_network_s_input(labelme: Path, tmp_path: Path) -> None:
    settings = make_settings(small(labelme), tmp_path)
    assert settings.files.size == (96, 144)
    assert settings.batch == 2
    assert settings.config().INPUT.MIN_SIZE_TRAIN == (64,)
