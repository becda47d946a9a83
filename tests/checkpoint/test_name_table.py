"""Folding names with a shell's braces."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from cardamage.checkpoint.name_table import (
    brace,
    common_prefix,
    fold_names,
    matched_table,
    mismatch_table,
)


def _cells(table: str) -> list[tuple[str, ...]]:
    lines = [line for line in table.splitlines()[2:]]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


@pytest.mark.parametrize(
    ("names", "prefix"),
    [(["ab", "ac"], "a"), (["ab", "abc", "abx"], "ab"), (["x"], "x"), (["x", "y"], ""), (["", "y"], "")],
)
def test_common_prefix(names: list[str], prefix: str) -> None:
    assert common_prefix(names) == prefix


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        (["a.weight"], "a.weight"),
        (["a.weight", "a.bias"], "a.{bias,weight}"),
        (["r_branch_w", "r_branch_bn_s", "r_branch_bn_b"], "r_branch_{bn_{b,s},w}"),
        (
            ["bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"],
            "bn1.{bias,running_{mean,var},weight}",
        ),
        ([f"l.bn1.{p}" for p in "abcd"] + ["l.conv1.w"], "l.{bn1.*,conv1.w}"),
        (["conv", "conv.norm"], "{conv,conv.norm}"),
    ],
)
def test_brace(names: list[str], folded: str) -> None:
    assert brace(names) == folded


def test_layers_that_a_number_tells_apart_share_a_row() -> None:
    names = [f"head.conv{i}.{p}" for i in (1, 2, 3, 4) for p in ("weight", "bias")]
    assert fold_names(names) == ["head.conv{1..4}.{bias,weight}"]
    assert fold_names(["a.2.w", "a.10.w"]) == ["a.{2,10}.w"]
    assert fold_names([]) == []
    # Nothing is claimed that isn't there: 1 and 2 have different parameters.
    assert fold_names(["a1.w", "a2.w", "a2.b"]) == ["a1.w", "a2.{b,w}"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell that expands braces")
def test_a_shell_expands_folded_names_to_the_names() -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    # No star is among them: up to three parameters a layer.
    names = {
        f"{rng.choice(['res', 'fpn.out', 'x_y'])}{rng.randrange(12)}.{rng.randrange(3)}.{p}"
        for _ in range(60)
        for p in rng.sample(["weight", "bias", "norm.weight"], rng.randrange(1, 4))
    }
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {' '.join(fold_names(names))}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == sorted(names)


def test_matched_names_fold_on_both_sides() -> None:
    matches = {f"trunk.res2.{i}.conv1.weight": f"layer1.{i}.conv1.weight" for i in range(3)}
    matches |= {f"trunk.res2.{i}.conv1.norm.{p}": f"layer1.{i}.bn1.{p}" for i in range(3) for p in "abcd"}
    matches["trunk.stem.weight"] = "conv1.weight"
    shapes = {name: (64, 64, 1, 1) if name.endswith("weight") else (64,) for name in matches}
    shapes["trunk.res2.0.conv1.weight"] = (64, 32, 1, 1)
    assert _cells(matched_table(matches, shapes)) == [
        ("trunk.res2.0.conv1.{norm.*,weight}", "layer1.0.{bn1.*,conv1.weight}", "4x(64,) (64, 32, 1, 1)"),
        (
            "trunk.res2.{1,2}.conv1.{norm.*,weight}",
            "layer1.{1,2}.{bn1.*,conv1.weight}",
            "4x(64,) (64, 64, 1, 1)",
        ),
        ("trunk.stem.weight", "conv1.weight", "(64, 64, 1, 1)"),
    ]


def test_rows_fold_only_where_the_file_agrees() -> None:
    matches = {"a.1.w": "x_1_w", "a.2.w": "y_2_w"}
    shapes = {"a.1.w": (1,), "a.2.w": (1,)}
    assert [row[:2] for row in _cells(matched_table(matches, shapes))] == [
        ("a.1.w", "x_1_w"),
        ("a.2.w", "y_2_w"),
    ]


def test_what_is_missing_stands_apart_from_what_differs() -> None:
    rows = {
        "b.weight": ((5, 3), (2, 3)),
        "b.bias": ("-", (2,)),
        "c1.bias": ("-", (7,)),
        "c2.bias": ("-", (7,)),
        "old": ("unused", "-"),
    }
    assert _cells(mismatch_table(rows)) == [
        ("b.weight", "(5, 3)", "(2, 3)"),
        ("b.bias", "-", "(2,)"),
        ("c{1,2}.bias", "-", "(7,)"),
        ("old", "unused", "-"),
    ]
