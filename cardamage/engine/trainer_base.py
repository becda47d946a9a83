"""The training loop and what can hook into it."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cardamage.errors import CardamageError
from cardamage.utils.events import EventStorage

__all__ = ["HookBase", "TrainerBase"]

logger = logging.getLogger(__name__)


class HookBase:
    """Something that happens around the training or its steps.

    Registered hooks are called in their order::

        before_train()
        for iteration in range(start_iter, max_iter):
            before_step()
            <the step; after_backward() in it>
            after_step()
        after_train()

    Slow work belongs into ``after_step``, so that the timer, first of the hooks, measures steps alone.
    """

    trainer: Any = None
    """The trainer, a weak reference, from registration on."""

    def before_train(self) -> None:
        """Run before the first step."""

    def after_train(self) -> None:
        """Run after the last step, and also after an error: then ``trainer.iter < trainer.max_iter``."""

    def before_step(self) -> None:
        """Run before each step."""

    def after_backward(self) -> None:
        """Run when the gradients of a step are there."""

    def after_step(self) -> None:
        """Run after each step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint should hold; {} for a hook without state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""


class TrainerBase:
    """A loop of steps with hooks around them; it knows no model and no data.

    Attributes:
        iter: the present iteration; equal to ``max_iter`` after a training that ran to its end.
        start_iter: the first iteration of this run.
        max_iter: the iteration to end before.
        storage: the scalars of this training.
    """

    def __init__(self) -> None:
        """Start without hooks."""
        self._hooks: list[HookBase] = []
        self._storage_state: Mapping[str, Any] | None = None
        self.iter = 0
        self.start_iter = 0
        self.max_iter = 0
        self.storage: EventStorage

    def register_hooks(self, hooks: Sequence[HookBase | None]) -> None:
        """Add hooks, to be called in this order.

        Args:
            hooks: the hooks; None among them is skipped.

        Raises:
            TypeError: if one of them is no hook.
        """
        for hook in hooks:
            if hook is None:
                continue
            if not isinstance(hook, HookBase):
                raise TypeError(f"{type(hook).__name__} is no HookBase")
            # Hooks and trainer must not own each other, or neither is ever freed.
            hook.trainer = weakref.proxy(self)
            self._hooks.append(hook)

    def train(self, start_iter: int, max_iter: int) -> None:
        """Run the steps of iterations ``start_iter`` to ``max_iter - 1``.

        Args:
            start_iter: the first iteration.
            max_iter: the iteration to end before.
        """
        logger.info("Starting training from iteration %d", start_iter)
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            if self._storage_state is not None:
                self.storage.load_state_dict(self._storage_state)
                self._storage_state = None
            try:
                self._run()
            except BaseException as error:
                self._after_failure(error)
                raise
            self.after_train()

    def _run(self) -> None:
        self.storage.iter = self.iter
        self.before_train()
        for iteration in range(self.start_iter, self.max_iter):
            self.iter = iteration
            self.before_step()
            self.run_step()
            self.after_step()
        self.iter = max(self.start_iter, self.max_iter)

    def _after_failure(self, error: BaseException) -> None:
        """Let the hooks close their files without hiding what went wrong."""
        if isinstance(error, CardamageError):
            logger.error("Training stopped at iteration %d: %s", self.iter, error)
        elif isinstance(error, Exception):
            logger.exception("Training stopped at iteration %d:", self.iter)
        try:
            self.after_train()
        except Exception:
            logger.exception("A hook failed after the training had stopped:")

    def before_train(self) -> None:
        """Call the hooks' ``before_train``."""
        for hook in self._hooks:
            hook.before_train()

    def after_train(self) -> None:
        """Call the hooks' ``after_train``."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.after_train()

    def before_step(self) -> None:
        """Call the hooks' ``before_step``, with the storage at the trainer's iteration."""
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.before_step()

    def after_backward(self) -> None:
        """Call the hooks' ``after_backward``."""
        for hook in self._hooks:
            hook.after_backward()

    def after_step(self) -> None:
        """Call the hooks' ``after_step``."""
        for hook in self._hooks:
            hook.after_step()

    def run_step(self) -> None:
        """Do the work of one iteration."""
        raise NotImplementedError

    def prepare_checkpoint(self) -> None:
        """Bring everything that a checkpoint holds up to date; all ranks call it before one of them saves."""

    @contextmanager
    def at_last_step(self) -> Iterator[None]:
        """Count as being in the iteration before ``start_iter`` for the length of a ``with`` block."""
        now = self.iter
        self.iter = self.storage.iter = self.start_iter - 1
        try:
            yield
        finally:
            self.iter = self.storage.iter = now

    def _named_hooks(self) -> Iterator[tuple[str, HookBase]]:
        """Yield each hook with a name of its own: ``Name``, ``Name#2`` and so on for hooks of one class."""
        count: dict[str, int] = {}
        for hook in self._hooks:
            name = type(hook).__qualname__
            count[name] = count.get(name, 0) + 1
            yield (name if count[name] == 1 else f"{name}#{count[name]}"), hook

    def state_dict(self) -> dict[str, Any]:
        """Return the iteration just done, the hooks' states and the scalars."""
        state: dict[str, Any] = {"iteration": self.iter}
        hooks = {name: hook.state_dict() for name, hook in self._named_hooks()}
        state["hooks"] = {name: value for name, value in hooks.items() if value}
        if hasattr(self, "storage"):
            state["storage"] = self.storage.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.iter = int(state_dict["iteration"])
        self._storage_state = state_dict.get("storage")
        hooks = dict(self._named_hooks())
        for name, value in state_dict.get("hooks", {}).items():
            if name in hooks:
                hooks[name].load_state_dict(value)
            else:
                logger.warning("The checkpoint has the state of a hook %s, which is not here.", name)
