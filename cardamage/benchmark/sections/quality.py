"""Time to quality: the same training by either engine, as commands, to the AP they reach."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from cardamage.benchmark.commands import run_python, train_net
from cardamage.benchmark.machine import is_importable
from cardamage.benchmark.measuring import say
from cardamage.benchmark.report import Row, Section
from cardamage.benchmark.rounds import Timing
from cardamage.benchmark.settings import Quality, Settings
from cardamage.catalog import DatasetCatalog
from cardamage.errors import DataError

__all__ = ["check_datasets", "last_scores", "run"]

_STEP = "ms a step"
_SCORES = {"segm/AP": "mask AP", "segm/AP50": "mask AP50", "bbox/AP": "box AP"}


def run(settings: Settings) -> list[Section]:
    """Train the section's config once with each engine, one after the other, and score both."""
    quality = settings.quality
    rows: list[Row] = []
    check_datasets(quality)
    for name, backend, role in (("cardamage", "cardamage", "own"), ("Detectron2", "detectron2", "peer")):
        if not is_importable(backend):
            continue
        say(f"quality: {quality.iterations} iterations of {name}")
        output = settings.scratch / f"quality_{backend}"
        words = (str(train_net()), "--backend", backend, "--config-file", quality.config_file)
        seconds = run_python((*words, *quality.pairs(settings.device, settings.opts, output)))
        values = last_scores(output / "metrics.json")
        rows.append(Row(name, role, Timing((seconds,)), values=values))
    title = f"Time to quality, {quality.iterations} x {quality.batch} photos from the command to the scores"
    return [Section("quality", title, "", rows)]


def check_datasets(quality: Quality) -> None:
    """Read the data before the first training starts.

    Raises:
        DataError: a set can't be read.
    """
    if not quality.train or not quality.test:
        raise DataError(
            "The section quality needs annotated photos to train on and others to score: name both sets with "
            "--quality-data TRAIN TEST, such as coco:train.json@photos coco:val.json@photos."
        )
    for name in (quality.train, quality.test):
        DatasetCatalog.get(name)


def last_scores(path: Path) -> dict[str, float]:
    """Return the AP of the last evaluation in a ``metrics.json``, and the median time of a step before it.

    Args:
        path: the file; what it doesn't hold is left out.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    records = list(map(json.loads, lines))
    scored = [record for record in records if "bbox/AP" in record]
    found = {name: scored[-1][key] for key, name in _SCORES.items() if key in scored[-1]} if scored else {}
    times = [record["time"] for record in records if "time" in record]
    return {**found, _STEP: 1000 * statistics.median(times)} if times else found
