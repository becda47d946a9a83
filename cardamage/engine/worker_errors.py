"""What reaches the user when a data loader fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cardamage.errors import TrainingError

__all__ = ["next_batch"]


def next_batch(batches: Iterator[Any]) -> Any:
    """Return the next batch.

    Args:
        batches: an iterator over a data loader.

    Raises:
        TrainingError: if there are no more batches, or a worker died.
    """
    try:
        return next(batches)
    except StopIteration:
        raise TrainingError("The training data loader came to an end: it must be endless.") from None
    except RuntimeError as error:
        message = str(error)
        if "DataLoader worker" in message and ("exited unexpectedly" in message or "killed" in message):
            raise TrainingError(
                "A data loader worker was killed, often for lack of memory: lower DATALOADER.NUM_WORKERS, "
                "and in a container give it more shared memory (docker run --shm-size=8g)."
            ) from error
        raise
