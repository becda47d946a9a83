"""What reaches the user when a data loader's worker fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cardamage.errors import CardamageError, TrainingError

__all__ = ["next_batch"]

# Torch raises the worker's exception again with its whole traceback as the message.
_WORKER_MESSAGE = re.compile(
    r"^Caught \w+ in .*worker process.*\n(?:.*\n)*?cardamage\.errors\.\w+: (.+)", re.DOTALL
)


def next_batch(batches: Iterator[Any]) -> Any:
    """Return the next batch.

    Args:
        batches: an iterator over a data loader.

    Raises:
        CardamageError: what a worker raised, as the one sentence it was.
        TrainingError: if there are no more batches, or a worker died.
    """
    try:
        return next(batches)
    except StopIteration:
        raise TrainingError(
            "The training data loader came to an end: it must repeat the data endlessly."
        ) from None
    except CardamageError as error:
        match = _WORKER_MESSAGE.match(str(error))
        if match is None:
            raise
        raise type(error)(match.group(1).strip()) from error
    except RuntimeError as error:
        if "DataLoader worker" in str(error) and (
            "exited unexpectedly" in str(error) or "killed" in str(error)
        ):
            raise TrainingError(
                "A data loader worker was killed, often for lack of memory: lower DATALOADER.NUM_WORKERS."
            ) from error
        raise
