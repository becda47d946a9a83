"""Convert a folder of Labelme files into COCO files, divided into train and val where asked for.

Example: ``python tools/labelme2coco.py photos -o coco --split 0.8 0.2 --seed 1``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from cardamage.data.formats.labelme_to_coco import Conversion, convert_labelme
from cardamage.data.formats.reading import read_text
from cardamage.errors import ConfigValueError
from cardamage.utils.cli import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the conversion and print what was written.

    Args:
        argv: arguments; those of the command line by default.

    Raises:
        CardamageError: for input that can't be used.
    """
    args = _parser().parse_args(argv)
    if not args.line_width > 0:
        raise ConfigValueError(f"--line-width must be above 0, not {args.line_width:g}.")
    classes = None
    if args.labels:
        lines = read_text(args.labels, "labels file").splitlines()
        classes = [line.strip() for line in lines if line.strip() and not line.startswith("__")]
    done = convert_labelme(args.source, args.output, args.split, args.seed, classes, args.line_width)
    _print_skipped(done)
    print(_table(done))
    for name, path in done.files.items():
        print(f"{name}: {path}   (as a dataset: coco:{path}@{done.image_root})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder of Labelme files; those below it are read too")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the result")
    parser.add_argument(
        "--split", type=float, nargs="+", default=(), metavar="SHARE", help="of train and val (and test)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the division (default: 0)")
    parser.add_argument(
        "--labels",
        type=Path,
        help="text file with one class a line, in the order of their ids (default: all, sorted by name)",
    )
    parser.add_argument(
        "--line-width", type=float, default=5.0, help="of lines and line strips, in pixels (default: 5)"
    )
    return parser


def _print_skipped(done: Conversion) -> None:
    """List every shape that was left out, clipped or doubtful."""
    if done.report.findings:
        print(done.report.summary(shown=len(done.report.findings)))


def _table(done: Conversion) -> str:
    parts = list(done.files)
    rows = [[name, *(done.objects[part][i] for part in parts)] for i, name in enumerate(done.classes)]
    rows.append(["objects", *(done.objects[part].total() for part in parts)])
    rows.append(["images", *(done.images[part] for part in parts)])
    return tabulate(rows, headers=["class", *parts])


if __name__ == "__main__":
    run(main)
