"""Tuned anchors as a config file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cardamage.config import CfgNode
from cardamage.errors import TrainingError
from cardamage.utils.files import atomic_write, describe_write_error

from .coverage import Coverage
from .tuning import Tuned, TuningTask

__all__ = ["anchor_config", "write_config"]

_ANCHORS = "MODEL.ANCHOR_GENERATOR"


def anchor_config(cfg: CfgNode, overrides: Sequence[str], tuned: Tuned) -> dict[str, Any]:
    """Return the keys that a config with tuned anchors adds to the one it builds on.

    Args:
        cfg: with the overrides merged.
        overrides: names of keys that were set beside the config file; they are in the result too, as the
            anchors fit them.
        tuned: the anchors.
    """
    tree: dict[str, Any] = {"OUTPUT_DIR": f"{cfg.OUTPUT_DIR}_anchors"}
    for key in overrides:
        if not key.startswith(_ANCHORS):
            _put(tree, key, _plain(_get(cfg, key)))
    _put(tree, f"{_ANCHORS}.SIZES", _plain(tuned.lists.sizes))
    _put(tree, f"{_ANCHORS}.ASPECT_RATIOS", _plain(tuned.lists.ratios))
    return tree


class _Dumper(yaml.SafeDumper):
    """Writes lists in one line, as the other configs have them."""


def _in_one_line(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(list, _in_one_line)


def _get(cfg: CfgNode, key: str) -> Any:
    node: Any = cfg
    for name in key.split("."):
        node = node[name]
    return node


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value


def _plain(value: Any) -> Any:
    """Lists for tuples, which safe YAML doesn't know."""
    return [_plain(element) for element in value] if isinstance(value, (list, tuple)) else value


def write_config(
    path: Path, base: str, tree: dict[str, Any], task: TuningTask, before: Coverage, after: Coverage
) -> None:
    """Write the config, with the figures on top.

    Args:
        path: the YAML file.
        base: the config file that it builds on.
        tree: of :func:`anchor_config`.
        task: what was tuned for.
        before: of the anchors so far.
        after: of the tuned ones.

    Raises:
        TrainingError: the file can't be written.
    """
    old, new = before.placed["all"], after.placed["all"]
    edges = ", ".join(str(edge) for edge, _ in task.sizes)
    figures = " and ".join(f"{new.recall(t):.3f} at {t} (before {old.recall(t):.3f})" for t in (0.5, 0.7))
    head = [
        f"# Anchors of tools/tune_anchors.py for {len(task.boxes):,} boxes of {', '.join(task.datasets)},",
        f"# short edges of {edges} pixels. Best possible recall: {figures}.",
    ]
    body = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    base_line = yaml.safe_dump({"_BASE_": _relative(base, path)}, width=1000, allow_unicode=True)
    try:
        with atomic_write(path) as file:
            file.write("\n".join(head) + f"\n{base_line}{body}")
    except OSError as error:
        raise TrainingError(describe_write_error(path, error, "--output")) from error


def _relative(base: str, path: Path) -> str:
    try:
        return Path(os.path.relpath(base, path.parent)).as_posix()
    except ValueError:
        # Another drive of Windows.
        return Path(base).resolve().as_posix()
