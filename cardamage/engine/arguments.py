"""The flags of training commands; imports nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import os
import sys

__all__ = ["default_argument_parser"]

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


def _port_of_user() -> int:
    """Return a port above 49151 that is always the same for a user, so that a leftover job shows itself."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return 2**15 + 2**14 + user % 2**14
