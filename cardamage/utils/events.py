"""Scalars of a training and their writers, under Detectron2's module path."""

from __future__ import annotations

from cardamage.utils.event_storage import EventStorage, get_event_storage, has_event_storage
from cardamage.utils.writers import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]
