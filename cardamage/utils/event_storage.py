"""What happens during training, by iteration: scalars, images, histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, SupportsFloat

import torch
from fvcore.common.history_buffer import HistoryBuffer

from cardamage.errors import TrainingError

__all__ = ["EventStorage", "get_event_storage", "has_event_storage"]

_STACK: list[EventStorage] = []
# Ranks without a writer never read their scalars: resolve them at this many.
_MAX_PENDING = 4096
# How much of each history a checkpoint carries: the widest smoothing window.
_KEPT_VALUES = 1000


def get_event_storage() -> EventStorage:
    """Return the storage of the innermost ``with EventStorage()`` block.

    Raises:
        TrainingError: outside any such block.
    """
    if not _STACK:
        raise TrainingError(
            "get_event_storage() was called outside training: use it inside 'with EventStorage():'."
        )
    return _STACK[-1]


def has_event_storage() -> bool:
    """Tell whether a ``with EventStorage()`` block is open."""
    return bool(_STACK)


class EventStorage:
    """Scalars, images and histograms of the running training, each with its iteration.

    Scalars may be tensors on any device: they are kept as they are and fetched together, one transfer for
    each device, when somebody reads. A training step that only puts never waits for the device.
    """

    def __init__(self, start_iter: int = 0) -> None:
        """Open an empty storage.

        Args:
            start_iter: the iteration to start at.
        """
        self._iter = int(start_iter)
        self._prefix = ""
        self._pending: list[tuple[str, SupportsFloat, int]] = []
        self._history: dict[str, HistoryBuffer] = {}
        self._latest: dict[str, tuple[float, int]] = {}
        self._hints: dict[str, bool] = {}
        self._vis_data: list[tuple[str, Any, int]] = []
        self._histograms: list[dict[str, Any]] = []

    # ------------------------------------------------------------------ putting
    def put_scalar(
        self, name: str, value: SupportsFloat, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Add a scalar.

        Args:
            name: its name; the present name scope goes before it.
            value: a number or a 0-d tensor, which is copied on its device and read later.
            smoothing_hint: whether it is noisy, so that writers show a median of the last iterations.
            cur_iter: its iteration; None is the present one.

        Raises:
            ValueError: if the name was used with the other ``smoothing_hint`` before.
        """
        name = self._prefix + name
        if self._hints.setdefault(name, smoothing_hint) != smoothing_hint:
            raise ValueError(f"scalar {name!r} was put with smoothing_hint={not smoothing_hint} before")
        if isinstance(value, torch.Tensor):
            value = value.detach().clone()
        self._pending.append((name, value, self._iter if cur_iter is None else int(cur_iter)))
        if len(self._pending) >= _MAX_PENDING:
            self._resolve()

    def put_scalars(self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **kwargs: Any) -> None:
        """Add several scalars, ``name=value``; see :meth:`put_scalar`."""
        for name, value in kwargs.items():
            self.put_scalar(name, value, smoothing_hint=smoothing_hint, cur_iter=cur_iter)

    def put_image(self, img_name: str, img_tensor: Any) -> None:
        """Add a picture for TensorBoard.

        Args:
            img_name: its name.
            img_tensor: (3, H, W) RGB, uint8 in [0, 255] or float in [0, 1], tensor or array.
        """
        self._vis_data.append((img_name, img_tensor, self._iter))

    def put_histogram(self, hist_name: str, hist_tensor: torch.Tensor, bins: int = 1000) -> None:
        """Add a histogram of a tensor's values for TensorBoard.

        Args:
            hist_name: its name.
            hist_tensor: values, any shape.
            bins: the number of equal bins between the smallest and the largest value.
        """
        values = hist_tensor.detach().float().flatten()
        low, high = values.min().item(), values.max().item()
        edges = torch.linspace(low, high, bins + 1)
        self._histograms.append(
            {
                "tag": hist_name,
                "min": low,
                "max": high,
                "num": values.numel(),
                "sum": values.sum().item(),
                "sum_squares": values.square().sum().item(),
                "bucket_limits": edges[1:].tolist(),
                "bucket_counts": torch.histc(values, bins=bins).tolist(),
                "global_step": self._iter,
            }
        )

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Put ``name/`` before the name of every scalar of a ``with`` block."""
        outer, self._prefix = self._prefix, name.rstrip("/") + "/"
        try:
            yield
        finally:
            self._prefix = outer

    # ------------------------------------------------------------------ reading
    def history(self, name: str) -> HistoryBuffer:
        """Return all values of one scalar.

        Raises:
            KeyError: if it was never put.
        """
        self._resolve()
        if name not in self._history:
            raise KeyError(f"no scalar named {name!r} was put")
        return self._history[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        """Return all values of all scalars, by name."""
        self._resolve()
        return self._history

    def latest(self) -> dict[str, tuple[float, int]]:
        """Return each scalar's last value and its iteration, by name."""
        self._resolve()
        return self._latest

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """Return what to show for each scalar: its last value, or the median of its last iterations.

        Args:
            window_size: how many iterations back the median reaches, for scalars whose hint asks for it.

        Returns:
            Value and iteration of the last put, by name.
        """
        shown = {}
        for name, (value, iteration) in self.latest().items():
            if self._hints[name]:
                value = float(self._history[name].median(self.count_samples(name, window_size)))
            shown[name] = (value, iteration)
        return shown

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """Return how many values of a scalar lie in the ``window_size`` iterations up to its last."""
        values = self.history(name).values()
        oldest = values[-1][1] - window_size
        count = 0
        for _, iteration in reversed(values):
            if iteration <= oldest:
                break
            count += 1
        return count

    def smoothing_hints(self) -> dict[str, bool]:
        """Return which scalars are noisy, by name."""
        return self._hints

    def _resolve(self) -> None:
        """Fetch the pending tensors, one transfer for each device and type, and file all pending scalars."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        together: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for index, (_, value, _) in enumerate(pending):
            if isinstance(value, torch.Tensor):
                together.setdefault((value.device, value.dtype), []).append(index)
        fetched: dict[int, float] = {}
        for indices in together.values():
            tensors = [pending[index][1] for index in indices]
            values = torch.stack([t.reshape(()) for t in tensors if isinstance(t, torch.Tensor)]).tolist()
            fetched.update(zip(indices, values, strict=True))
        for index, (name, value, iteration) in enumerate(pending):
            number = float(fetched.get(index, value))
            self._history.setdefault(name, HistoryBuffer()).update(number, iteration)
            self._latest[name] = (number, iteration)

    # ------------------------------------------------------------------ iteration
    def step(self) -> None:
        """Go to the next iteration."""
        self._iter += 1

    @property
    def iter(self) -> int:
        """The present iteration; a trainer keeps it equal to its own."""
        return self._iter

    @iter.setter
    def iter(self, value: int) -> None:
        self._iter = int(value)

    @property
    def iteration(self) -> int:
        """The older name of :attr:`iter`."""
        return self._iter

    def clear_images(self) -> None:
        """Drop the pictures, once written."""
        self._vis_data = []

    def clear_histograms(self) -> None:
        """Drop the histograms, once written."""
        self._histograms = []

    def __enter__(self) -> EventStorage:
        _STACK.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _STACK.remove(self)

    # ------------------------------------------------------------------ checkpointing
    def state_dict(self) -> dict[str, Any]:
        """Return the scalars for a checkpoint: of each the last 1000 values, count and mean of all."""
        self._resolve()
        scalars = {}
        for name, buffer in self._history.items():
            kept = buffer.values()[-_KEPT_VALUES:]
            scalars[name] = {
                "values": torch.tensor([value for value, _ in kept], dtype=torch.float64),
                "iterations": torch.tensor([iteration for _, iteration in kept], dtype=torch.int64),
                "count": buffer._count,
                "mean": float(buffer.global_avg()),
                "smoothing_hint": self._hints[name],
            }
        return {"iter": self._iter, "scalars": scalars}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned; what is here now is dropped."""
        self._iter = int(state["iter"])
        self._pending, self._history, self._latest, self._hints = [], {}, {}, {}
        for name, saved in state["scalars"].items():
            buffer = HistoryBuffer()
            buffer._data = list(zip(saved["values"].tolist(), saved["iterations"].tolist(), strict=True))
            buffer._count = int(saved["count"])
            buffer._global_avg = float(saved["mean"])
            self._history[name] = buffer
            self._hints[name] = bool(saved["smoothing_hint"])
            if buffer._data:
                self._latest[name] = (buffer._data[-1][0], int(buffer._data[-1][1]))
