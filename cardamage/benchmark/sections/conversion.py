"""A Labelme folder to a COCO file: ours beside the public package ``labelme2coco``."""

from __future__ import annotations

import contextlib
import io
import json
from functools import partial
from pathlib import Path

from cardamage.benchmark.labelme_files import write_labelme
from cardamage.benchmark.machine import is_importable
from cardamage.benchmark.measuring import measure_results
from cardamage.benchmark.report import Row, Section
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.lineup import Lineup
from cardamage.benchmark.sides.side import Side
from cardamage.data.formats.conversion.convert import ConvertOptions, convert
from cardamage.data.formats.registry import WriteOptions

__all__ = ["run"]

_COPIES = 8


def run(settings: Settings) -> list[Section]:
    """Measure the conversion; ours also checks every photo and outline as before a training."""
    source = settings.scratch / "labelme"
    count = len(settings.files.records) * _COPIES
    if not source.is_dir():
        write_labelme(settings.files, _COPIES, source)
    output = settings.scratch / "converted"
    lineup: Lineup = {
        "cardamage": ("own", partial(Side, "cardamage", partial(_own, source, output / "own"), count)),
    }
    if is_importable("labelme2coco"):
        run_theirs = partial(_labelme2coco, source, output / "theirs")
        lineup["labelme2coco"] = ("peer", partial(Side, "labelme2coco", run_theirs, count, "peer"))
    rows, failed = measure_results(lineup, settings, "conversion", "objects")
    if len(lineup) == 1:
        failed.append(Row("labelme2coco", "peer", None, note="not installed: pip install labelme2coco"))
    title = f"Conversion, {count} Labelme files to COCO"
    return [Section("conversion", title, "file", [*rows, *failed])]


def _own(source: Path, output: Path) -> int:
    options = ConvertOptions(source_format="labelme", into_used=True, write=WriteOptions(pictures="keep"))
    done = convert([source], output, "coco", options)
    return sum(counter.total() for counter in done.objects.values())


def _labelme2coco(source: Path, output: Path) -> int:
    import labelme2coco

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        labelme2coco.convert(str(source), str(output))
    return len(json.loads((output / "dataset.json").read_text(encoding="utf-8"))["annotations"])
