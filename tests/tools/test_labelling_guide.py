"""Every command of docs/labelling-guide.md is one that our tools understand."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cardamage.config import get_cfg

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "labelling-guide.md"


def commands() -> Iterator[list[str]]:
    """The lines of the code blocks, with the continued ones joined, as words."""
    text = GUIDE.read_text(encoding="utf-8")
    for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


def ours() -> list[list[str]]:
    """Script and arguments of what is run by Python."""
    return [words[words.index("python") + 1 :] for words in commands() if "python" in words]


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("guide_script", ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # As for a script that is run, modules beside it are found.
        patch.syspath_prepend(str((ROOT / script).parent))
        spec.loader.exec_module(module)
    return module


def test_the_guide_has_every_step() -> None:
    scripts = [words[0] for words in ours()]
    assert scripts == [
        "tools/check_dataset.py",
        "tools/labelme2coco.py",
        "train_net.py",
        "tools/rank_unlabelled.py",
        "tools/prelabel.py",
        "tools/check_dataset.py",
        "tools/labelme2coco.py",
        "train_net.py",
        "train_net.py",
        "docs/experiments/choose_photos.py",
    ]


@pytest.mark.parametrize("words", ours(), ids=lambda words: words[0])
def test_every_command_parses(words: list[str]) -> None:
    script, arguments = words[0], words[1:]
    assert (ROOT / script).is_file()
    module = load(script)
    parse: Callable[[list[str]], Any] | None = getattr(module, "parse_args", None)
    args = (parse or module._parser().parse_args)(arguments)
    if script == "train_net.py":
        cfg = get_cfg()
        # What an earlier step of the guide writes has the keys of the config that it began with.
        known = ROOT / args.config_file
        cfg.merge_from_file(str(known if known.exists() else ROOT / "configs/damage/mask_rcnn_R_50_FPN.yaml"))
        cfg.merge_from_list(args.opts)
        assert all(name.startswith(("coco:coco1/", "labelme:batch")) for name in cfg.DATASETS.TEST)
