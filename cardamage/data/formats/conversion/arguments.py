"""The flags that commands of conversions share."""

from __future__ import annotations

import argparse

__all__ = ["add_conversion_flags"]


def add_conversion_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every conversion to a command's own."""
    add = parser.add_argument
    add("--split", type=float, nargs="+", default=(), metavar="SHARE", help="of train and val (and test)")
    add("--seed", type=int, default=0, help="of the division (default: 0)")
    add(
        "--line-width",
        type=float,
        default=5.0,
        metavar="PX",
        help="of lines and line strips, in pixels (default: 5)",
    )
    add(
        "--skip-unreviewed",
        action="store_true",
        help="leave out Labelme files of a model that nobody changed",
    )
    add("--workers", type=int, default=0, metavar="N", help="processes that read (default: one a core)")
    add("--no-cache", action="store_true", help="read everything, also what did not change")
