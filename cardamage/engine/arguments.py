"""The flags of commands that train a model or use one; imports nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import os
import sys

from cardamage.errors import ConfigValueError

__all__ = [
    "add_overrides",
    "check_prediction_limits",
    "default_argument_parser",
    "trained_model_parser",
]

_EPILOG = """
examples:
  train:              {program} --config-file configs/damage/mask_rcnn_R_50_FPN.yaml
  on your own photos: {program} --config-file FILE DATASETS.TRAIN "('labelme:/photos/train',)"
  on 8 GPUs:          {program} --num-gpus 8 --config-file FILE
  with torchrun:      torchrun --nproc-per-node 8 {program} --config-file FILE
  go on after a stop: {program} --config-file FILE --resume
  evaluate:           {program} --config-file FILE --eval-only MODEL.WEIGHTS model_final.pth
  on two machines:    {program} --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT ...
                      {program} --num-machines 2 --machine-rank 1 --dist-url tcp://HOST:PORT ...

exit codes: 0 done, 1 an error (one sentence says which), 130 Ctrl-C, 143 SIGTERM (a checkpoint was saved)
"""


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with Detectron2's flags.

    Args:
        epilog: the text below the flags; None gives examples.
    """
    parser = argparse.ArgumentParser(
        epilog=epilog or _EPILOG.format(program=os.path.basename(sys.argv[0])),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="config file (YAML)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in OUTPUT_DIR, if there is one",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS and don't train")
    parser.add_argument("--num-gpus", type=int, default=1, help="GPUs on this machine, a process each")
    parser.add_argument("--num-machines", type=int, default=1, help="machines of the job")
    parser.add_argument("--machine-rank", type=int, default=0, help="which of them this is, from 0")
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{_port_of_user()}",
        help="where the processes meet; 'auto' finds a free port on one machine (default: %(default)s)",
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="config keys and their values, last on the line",
    )
    return parser


def trained_model_parser(description: str, about: str = "") -> argparse.ArgumentParser:
    """Return a parser with the first flags of commands that use a trained model.

    Args:
        description: what the command does.
        about: further sentences below the flags.

    Returns:
        The parser; :func:`add_overrides` adds the last one.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"{about} Any config key can be set at the end: --opts KEY VALUE ...".strip(),
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="YAML", help="the config the model was trained with")
    add("--weights", required=True, metavar="PTH", help="the trained model")
    return parser


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--opts``, which takes all that is behind it: it comes last."""
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config overrides"
    )


def check_prediction_limits(threshold: float, batch_size: int = 1) -> None:
    """Make sure that a lowest score and a number of photos can be.

    Raises:
        ConfigValueError: otherwise.
    """
    if not 0 <= threshold <= 1:
        raise ConfigValueError(f"--threshold is a score from 0 to 1, not {threshold:g}.")
    if batch_size < 1:
        raise ConfigValueError(f"--batch-size must be 1 or more, not {batch_size}.")


def _port_of_user() -> int:
    """Return a port above 49151 that is always the same for a user, so that a leftover job shows itself."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return 2**15 + 2**14 + user % 2**14
