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
from cardamage.data.formats.registry import ReadOptions, WriteOptions
from cardamage.utils.heap import frozen_objects

__all__ = ["run"]

# Of each photo, so that what a run costs once doesn't count.
_COPIES = 128


def run(settings: Settings) -> list[Section]:
    """Measure the conversion; ours also checks every photo and outline as before a training."""
    source = settings.scratch / "labelme"
    count = len(settings.files.records) * _COPIES
    if not source.is_dir():
        write_labelme(settings.files, _COPIES, source)
    output = settings.scratch / "converted"
    kinds = {
        "cardamage": ReadOptions(),
        "cardamage, one core": ReadOptions(workers=1),
        "cardamage, again": ReadOptions(workers=1, cache=settings.scratch / "cache"),
    }
    lineup: Lineup = {
        name: ("own", partial(Side, name, partial(_own, source, output / f"own{number}", read), count))
        for number, (name, read) in enumerate(kinds.items())
    }
    failed = []
    if is_importable("labelme2coco"):
        run_theirs = partial(_labelme2coco, source, output / "theirs")
        lineup["labelme2coco"] = ("peer", partial(Side, "labelme2coco", run_theirs, count, "peer"))
    else:
        failed.append(Row("labelme2coco", "peer", None, note="not installed: pip install labelme2coco"))
    rows, broken = measure_results(lineup, settings, "conversion", "objects")
    title = f"Conversion, {count} Labelme files to COCO"
    return [Section("conversion", title, "file", [*rows, *broken, *failed])]


def _own(source: Path, output: Path, read: ReadOptions) -> int:
    keep = WriteOptions(pictures="keep")
    options = ConvertOptions(source_format="labelme", into_used=True, read=read, write=keep)
    done = convert([source], output, "coco", options)
    return sum(counter.total() for counter in done.objects.values())


# What torch keeps in memory would slow it down, which it doesn't in a process of its own.
@frozen_objects()
def _labelme2coco(source: Path, output: Path) -> int:
    import labelme2coco

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        labelme2coco.convert(str(source), str(output))
    return len(json.loads((output / "dataset.json").read_text(encoding="utf-8"))["annotations"])
