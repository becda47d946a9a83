"""Measure cardamage beside its peers: training, inference, suppression, loader, evaluation and so on.

Example: ``python tools/benchmark.py train inference --rounds 5 --json figures.json``
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cardamage.benchmark.arguments import parse_args
from cardamage.utils.cli import run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its tables.

    Args:
        argv: arguments; those of the command line by default.

    Raises:
        CardamageError: for input that can't be used.
    """
    args = parse_args(argv)
    # After the arguments are known to be good: these take seconds to import.
    from cardamage.benchmark.report import write_json
    from cardamage.benchmark.run import run_benchmark

    report = run_benchmark(args)
    if args.json is not None:
        write_json(report, args.json)
        print(f"\nAll figures: {args.json}")
    return 0


if __name__ == "__main__":
    # Or the command labelme2coco.py beside this one would be taken for the package of that name.
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [folder for folder in sys.path if folder != here]
    run(main)
