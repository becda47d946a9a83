"""Seeding repeats every generator, and a user's own preparations run when asked."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cardamage.errors import TrainingError
from cardamage.utils.env import TORCH_VERSION, seed_all_rng, setup_custom_environment


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert seed_all_rng(5) == 5
    first = _draw()
    seed_all_rng(6)
    assert all(a != b for a, b in zip(_draw(), first, strict=True))
    seed_all_rng(5)
    assert _draw() == first
    assert seed_all_rng(2**40) == 2**40


def test_no_seed_draws_one_that_repeats() -> None:
    seed = seed_all_rng(-1)
    first = _draw()
    assert seed_all_rng(seed) == seed
    assert _draw() == first


def test_versions_compare_as_numbers() -> None:
    major, minor = torch.__version__.split(".")[:2]
    assert TORCH_VERSION == (int(major), int(minor))
    assert TORCH_VERSION >= (2, 6)


def test_a_users_preparations_run_from_a_file_and_from_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import os\ndef setup_environment():\n    os.environ['PREPARED_BY'] = __file__\n"
    monkeypatch.setenv("PREPARED_BY", "")
    for name in ("one.py", "other.py"):
        (tmp_path / name).write_text(source, encoding="utf-8")
    setup_custom_environment(str(tmp_path / "one.py"))
    assert os.environ["PREPARED_BY"].endswith("one.py")
    monkeypatch.syspath_prepend(tmp_path)
    setup_custom_environment("other")
    assert os.environ["PREPARED_BY"].endswith("other.py")


def test_preparations_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"empty.py' needs a function setup_environment\(\)"):
        setup_custom_environment(str(tmp_path / "empty.py"))
    for missing in (str(tmp_path / "none.py"), "no_such_module_at_all"):
        with pytest.raises(TrainingError, match="can't be imported"):
            setup_custom_environment(missing)


@pytest.mark.parametrize("given", ["", "mine.py"])
def test_the_variable_names_preparations_that_run_once(given: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    source = f"def setup_environment():\n    open({str(ran)!r}, 'a').write('x')\n"
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    code = "from cardamage.utils.env import setup_environment as run; run(); run()"
    variables = {**os.environ, "CARDAMAGE_ENV_MODULE": given and str(tmp_path / given)}
    subprocess.run([sys.executable, "-c", code], env=variables, cwd=Path(__file__).parents[2], check=True)
    assert (ran.read_text() if ran.exists() else "") == ("x" if given else "")
