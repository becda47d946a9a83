"""A side in a process of its own: what others do to a process's memory must not help or hinder it."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import cv2
import torch

from cardamage.benchmark.sides.side import Side

__all__ = ["apart"]


def apart(make: Callable[[], Side]) -> Side:
    """Build a side in a new process, on one core, and run it there.

    The time of a run grows by that of two short messages, some tenths of a millisecond.

    Args:
        make: builds the side; it is pickled.

    Returns:
        A side that runs the other one; it has no parts.

    Raises:
        RuntimeError: the side fails there; what it said.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=_serve, args=(there, make), daemon=True).start()
    there.close()
    name, images, role = _answer(here)

    def run() -> None:
        here.send("run")
        _answer(here)

    return Side(name, run, images, role)


def _answer(connection: Connection) -> Any:
    try:
        fine, content = connection.recv()
    except EOFError:
        raise RuntimeError("its process ended; see what it wrote above") from None
    if not fine:
        raise RuntimeError(content)
    return content


def _serve(connection: Connection, make: Callable[[], Side]) -> None:
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        side = make()
        connection.send((True, (side.name, side.images, side.role)))
        while connection.recv():
            side()
            connection.send((True, None))
    except EOFError:
        return
    # Another project can fail with anything; the benchmark says it and goes on.
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {error}"))
