"""Find what is wrong with a dataset, say where, and repair what is safe into a copy.

Example: ``python tools/check_dataset.py photos/train photos/test --json found.json --fix repaired``

Several sources are checked as the splits of one set. The codes of the findings are in docs/check-dataset.md.
The exit status is 1 where there are errors (with --strict warnings too), else 0.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from cardamage.data.doctor import find_all, read_sources
from cardamage.data.doctor.plots import plot_dataset
from cardamage.data.doctor.repair.fixing import repairs_text, write_repaired
from cardamage.data.doctor.reporting import as_json, as_text, exit_status
from cardamage.data.formats.registry import FORMATS
from cardamage.errors import ConfigValueError, TrainingError
from cardamage.utils.cli import run
from cardamage.utils.files import atomic_write


def main(argv: Sequence[str] | None = None) -> int:
    """Check a dataset and print what was found.

    Args:
        argv: arguments; those of the command line by default.

    Returns:
        The exit status.

    Raises:
        CardamageError: for sources that are not there or hold nothing that is known.
    """
    args = _parser().parse_args(argv)
    if args.shown < 0:
        raise ConfigValueError(f"--shown must not be below 0, not {args.shown}.")
    subject = read_sources(args.sources, args.format, args.images, args.threads)
    findings = find_all(subject)
    print(as_text(subject, findings, args.shown))
    if args.json is not None:
        try:
            with atomic_write(args.json) as file:
                json.dump(as_json(subject, findings), file, indent=1)
        except OSError as error:
            raise TrainingError(f"{args.json} can't be written: {error.strerror}.") from None
        print(f"All cases: {args.json}")
    if args.fix is not None:
        print(repairs_text(write_repaired(subject, args.fix), args.fix))
    if args.plot is not None:
        print(f"Plot: {plot_dataset(subject, args.plot)}")
    return exit_status(findings, args.strict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="SRC", help="annotation file or folder")
    parser.add_argument("--from", dest="format", metavar="F", help=f"its format: {', '.join(FORMATS)}")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--json", type=Path, metavar="F", help="write every case to this file")
    parser.add_argument("--fix", type=Path, metavar="DST", help="write a repaired copy into this new folder")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw classes and sizes into this folder")
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    parser.add_argument("--shown", type=int, default=2, metavar="N", help="cases named of each (default: 2)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="that read (default: all cores)")
    return parser


if __name__ == "__main__":
    run(main)
