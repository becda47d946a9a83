"""Convert a folder of Labelme files into COCO files, divided into train and val where asked for.

It is the short form of ``tools/convert.py --from labelme --to coco --pictures keep``.
Example: ``python tools/labelme2coco.py photos -o coco --split 0.8 0.2 --seed 1``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from cardamage.data.formats.conversion.arguments import add_conversion_flags
from cardamage.data.formats.conversion.convert import Conversion, ConvertOptions, convert, read_class_list
from cardamage.data.formats.conversion.options import cache_folder
from cardamage.data.formats.registry import ReadOptions, WriteOptions
from cardamage.utils.cli import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the conversion and print what was written.

    Args:
        argv: arguments; those of the command line by default.

    Raises:
        CardamageError: for input that can't be used.
    """
    args = _parser().parse_args(argv)
    options = ConvertOptions(
        source_format="labelme",
        split=args.split,
        seed=args.seed,
        classes=read_class_list(args.labels) if args.labels else None,
        into_used=True,
        parts_by_folder=False,
        read=ReadOptions(
            line_width=args.line_width,
            workers=args.workers,
            cache=None if args.no_cache else cache_folder(),
            skip_unreviewed=args.skip_unreviewed,
        ),
        write=WriteOptions(pictures="keep"),
    )
    done = convert([args.source], args.output, "coco", options)
    _print_findings(done)
    print(_table(done))
    files = dict(zip(done.written.dataset, done.written.files, strict=True))
    for part in done.images:
        print(f"{part}: {files[part]}   (as a dataset: {done.written.dataset[part]})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", type=Path, help="folder of Labelme files; those below it are read too")
    add("-o", "--output", type=Path, required=True, help="folder of the result")
    add_conversion_flags(parser)
    add(
        "--labels",
        type=Path,
        help="text file with one class a line, in the order of their ids (default: all, sorted by name)",
    )
    return parser


def _print_findings(done: Conversion) -> None:
    """List every shape that was left out, clipped or doubtful."""
    for report in (*done.reports, done.losses):
        if report.findings:
            print(report.summary(shown=len(report.findings)))


def _table(done: Conversion) -> str:
    rows = [[name, *(count[name] for count in done.objects.values())] for name in done.classes]
    rows.append(["objects", *(count.total() for count in done.objects.values())])
    rows.append(["images", *done.images.values()])
    return tabulate(rows, headers=["class", *done.images])


if __name__ == "__main__":
    run(main)
