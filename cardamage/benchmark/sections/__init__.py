"""What can be measured, by the name the command line knows it by."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from cardamage.benchmark.report import Section
from cardamage.benchmark.settings import Settings

__all__ = ["SECTIONS", "run_section"]

SECTIONS = ("train", "inference", "suppression", "loader", "evaluation", "conversion", "start", "quality")
"""All of them, in the order they run."""


def run_section(name: str, settings: Settings) -> list[Section]:
    """Measure one thing.

    Args:
        name: one of :data:`SECTIONS`.
        settings: what all sections share.

    Returns:
        Its tables; inference has one for each batch.

    Raises:
        CardamageError: if it can't be measured with these settings.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    run: Callable[[Settings], list[Section]] = module.run
    return run(settings)
