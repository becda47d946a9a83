"""What the experiments share: scripts of the project run one after the other, and the figures they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "data_root", "last_figures", "run"]

ROOT = Path(__file__).resolve().parents[2]


def data_root() -> Path:
    """Return the folder of the datasets, and name it absolutely for the scripts that are run."""
    data = Path(os.environ.get("DETECTRON2_DATASETS", ROOT / "datasets")).resolve()
    os.environ["DETECTRON2_DATASETS"] = str(data)
    return data


def run(script: str, *arguments: Any) -> None:
    """Run a script of the project from its root.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script, *map(str, arguments)], cwd=ROOT, env=environment, check=True)


def last_figures(output: Path) -> dict[str, float]:
    """Return the last evaluation in a run's ``log.txt``, such as ``{"segm/AP": 12.3}``; empty for none."""
    found: dict[str, float] = {}
    log = output / "log.txt"
    task, names = "", list[str]()
    for line in log.read_text().splitlines() if log.exists() else []:
        _, mark, text = line.partition("copypaste: ")
        if not mark:
            continue
        if text.startswith("Task: "):
            task, names = text.removeprefix("Task: "), []
        elif not names:
            names = text.split(",")
        else:
            found.update({f"{task}/{k}": float(v) for k, v in zip(names, text.split(","), strict=True)})
    return found
