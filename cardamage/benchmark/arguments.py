"""The flags of ``tools/benchmark.py``; imports nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cardamage.errors import ConfigValueError
from cardamage.utils.suggest import did_you_mean

__all__ = ["CONFIG", "NAMES", "QUALITY_CONFIG", "parse_args"]

NAMES = ("train", "inference", "suppression", "loader", "evaluation", "conversion", "start", "quality")
"""The sections; ``quality`` trains for long, so it runs only where it is named."""

CONFIG = "configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"
QUALITY_CONFIG = "configs/parts/mask_rcnn_R_50_FPN.yaml"

# Of the config tree: LIKE.THIS, or one of those without a dot.
_KEY = re.compile(
    r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+|OUTPUT_DIR|SEED|VERSION|CUDNN_BENCHMARK|FLOAT32_PRECISION|[A-Z]+_PERIOD"
)

_EPILOG = """
examples:
  all but quality:       %(prog)s
  one step, quickly:     %(prog)s train --size 256 384 --rounds 2
  a GPU:                 %(prog)s train inference --device cuda --batch-size 16 --rounds 5
  own photos:            %(prog)s loader --images labelme:/photos/train
  another model:         %(prog)s train --config-file FILE MODEL.COMPILE False
  time to quality:       %(prog)s quality --iterations 800
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv: the words; those of the command line by default. From the first one in capitals on they are
            config keys and values.

    Raises:
        ConfigValueError: a section isn't one, or a number is out of its range.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # Before argparse, whose flags of several words would take keys for theirs.
    first_key = next((place for place, word in enumerate(words) if _KEY.fullmatch(word)), len(words))
    args = _parser().parse_args(words[:first_key])
    args.command, args.opts = words, words[first_key:]
    for name in args.sections:
        if name not in NAMES:
            raise ConfigValueError(
                f"There is no section {name!r}"
                + (did_you_mean(name, NAMES) or f": name some of {', '.join(NAMES)}.")
            )
    args.sections = args.sections or [name for name in NAMES if name != "quality"]
    _check(args)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [SECTION ...] [flags] [KEY VALUE ...]",
        description="How fast cardamage is beside Detectron2, torchvision and others that are installed. "
        "Config keys and values go last, as for train_net.py.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(NAMES)} (default: all but the last)")
    add("--config-file", default=CONFIG, metavar="FILE", help="model (default: Mask R-CNN R-50-FPN)")
    add("--weights", default="", metavar="FILE", help="checkpoint for all sides (default: made up)")
    add("--device", default="auto", help="cpu, cuda or auto (default)")
    add(
        "--images",
        nargs="+",
        default=[],
        metavar="DIR|NAME",
        help="annotated photos (default: those at hand)",
    )
    add("--photos", type=int, default=32, metavar="N", help="how many photos at most (default: 32)")
    add(
        "--size",
        type=int,
        nargs=2,
        default=[800, 1216],
        metavar=("H", "W"),
        help="network's input (800 1216)",
    )
    add("--photo-size", type=int, nargs=2, metavar=("H", "W"), help="of the files (default: 1.5 x --size)")
    add("--batch-size", type=int, metavar="N", help="of a training step (default: 2, on a GPU 16)")
    add("--inference-batches", type=int, nargs="+", default=[1, 8], metavar="N", help="(default: 1 8)")
    add("--rounds", type=int, default=3, metavar="N", help="turns of every side (default: 3)")
    add("--repeat", type=int, metavar="N", help="runs of a turn (default: 1, on a GPU 10)")
    add("--warmup", type=int, metavar="N", help="runs before the first turn (default: 1, on a GPU 10)")
    add("--threads", type=int, metavar="N", help="of torch on the processor (default: torch's)")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--profile", type=Path, metavar="DIR", help="write traces there and print the top operators")
    quality = parser.add_argument_group("the section quality")
    quality.add_argument("--iterations", type=int, default=800, metavar="N", help="(default: 800)")
    quality.add_argument("--quality-batch", type=int, default=16, metavar="N", help="(default: 16)")
    quality.add_argument("--quality-config", default=QUALITY_CONFIG, metavar="FILE", help="(car parts, R-50)")
    quality.add_argument("--quality-data", nargs=2, metavar=("TRAIN", "TEST"), help="(default: car parts)")
    return parser


def _check(args: argparse.Namespace) -> None:
    for name in (
        "photos",
        "rounds",
        "repeat",
        "warmup",
        "batch_size",
        "threads",
        "iterations",
        "quality_batch",
    ):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigValueError(f"--{name.replace('_', '-')} must be 1 or more, not {value}.")
    if min(args.inference_batches) < 1:
        raise ConfigValueError(f"--inference-batches must be 1 or more, not {min(args.inference_batches)}.")
    for name in ("size", "photo_size"):
        value = getattr(args, name)
        if value is not None and min(value) < 64:
            raise ConfigValueError(
                f"--{name.replace('_', '-')} must be 64 pixels or more, not {min(value)}: "
                "give height and width."
            )
