"""Detectron2 itself as the engine: the same command, configs, data and checkpoints, run by its trainer.

Only :mod:`presence` may be imported where Detectron2 isn't; the other modules need it. Nothing here imports
``detectron2.model_zoo``, which depends on a part of setuptools that is gone.
"""

from __future__ import annotations

import argparse

from .presence import require_detectron2

__all__ = ["launch_detectron2", "require_detectron2"]


def launch_detectron2(args: argparse.Namespace) -> None:
    """Train or evaluate with Detectron2's engine, in the processes that the flags ask for.

    Args:
        args: the flags of ``train_net.py``.

    Raises:
        BackendError: if Detectron2 isn't installed, or can't be imported.
        CardamageError: as the training or evaluation.
    """
    require_detectron2()
    from .run import launch_processes

    launch_processes(args)
