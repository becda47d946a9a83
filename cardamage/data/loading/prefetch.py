"""Batches handed out one by one, opened, and on the device before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

from cardamage.data.loading.parcel import Parcel

__all__ = ["hand_out"]


def hand_out(batches: Iterator[Any], device: torch.device | None = None) -> Iterator[Any]:
    """Open the parcels among batches.

    With a device, what is for it lies there, and its copy was begun a batch ahead: while the device works on
    one batch, the next one arrives. An error of the batches comes after those before it, as it would have.

    Args:
        batches: parcels, or batches that never were in one.
        device: where pictures and masks shall be; None, or the CPU, leaves them.

    Yields:
        The batches.
    """
    if device is None or device.type == "cpu":
        yield from map(_open, batches)
        return
    copies = _SideStream(device) if device.type == "cuda" else _Copies(device)
    sent: deque[Parcel] = deque()
    failures: list[Exception] = []
    ahead = 0
    for batch in _until_failure(batches, failures):
        sent.append(copies.send(batch))
        if len(sent) > ahead:
            yield copies.receive(sent.popleft())
        ahead = 1  # the first batch doesn't wait for the second
    while sent:
        yield copies.receive(sent.popleft())
    if failures:
        raise failures.pop()


def _open(batch: Any) -> Any:
    return batch.unpack() if isinstance(batch, Parcel) else batch


def _until_failure(batches: Iterator[Any], failures: list[Exception]) -> Iterator[Any]:
    try:
        yield from batches
    except Exception as error:
        failures.append(error)


class _Copies:
    """Copies to a device in the order of its other work."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, batch: Any) -> Parcel:
        """Begin to copy a batch."""
        parcel = batch if isinstance(batch, Parcel) else Parcel.pack(batch)
        parcel.send(self.device)
        return parcel

    def receive(self, parcel: Parcel) -> Any:
        """Let the work to come wait for a batch's copy, and open it."""
        return parcel.unpack()


class _SideStream(_Copies):
    """Copies from pinned memory, beside the device's other work."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.stream = torch.cuda.Stream(device)
        self.copied: deque[torch.cuda.Event] = deque()

    def send(self, batch: Any) -> Parcel:
        if not isinstance(batch, Parcel):
            batch = Parcel.pack(batch).pin_memory()
        with torch.cuda.stream(self.stream):
            parcel = super().send(batch)
        self.copied.append(self.stream.record_event())
        return parcel

    def receive(self, parcel: Parcel) -> Any:
        working = torch.cuda.current_stream(self.device)
        working.wait_event(self.copied.popleft())
        # The memory belongs to the side stream, which must not reuse it while the step is at work.
        if parcel.moved is not None:
            parcel.moved.record_stream(working)
        return parcel.unpack()
