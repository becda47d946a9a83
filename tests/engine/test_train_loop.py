"""The loop, its order, its errors, and its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.engine import AMPTrainer, HookBase, SimpleTrainer, TrainerBase, hooks
from cardamage.errors import ConfigValueError, LossError, TrainingError
from cardamage.utils.events import EventStorage

Tiny = Callable[..., Any]


class Recorder(HookBase):
    """Notes when it is called, and counts."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls, self.count = name, calls, 0

    def _note(self, what: str) -> None:
        self.calls.append(f"{self.name} {what} {self.trainer.iter}")

    def before_train(self) -> None:
        self._note("before_train")

    def after_train(self) -> None:
        self._note("after_train")

    def before_step(self) -> None:
        self._note("before_step")

    def after_backward(self) -> None:
        self._note("after_backward")

    def after_step(self) -> None:
        self.count += 1
        self._note("after_step")

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count = state_dict["count"]


def test_hooks_are_called_in_their_order(tiny: Tiny) -> None:
    calls: list[str] = []
    trainer = SimpleTrainer(*tiny())
    trainer.register_hooks([Recorder("a", calls), None, Recorder("b", calls)])
    trainer.train(3, 5)
    step = ["before_step", "after_backward", "after_step"]
    expected = [f"{hook} before_train 3" for hook in "ab"]
    expected += [f"{hook} {what} {number}" for number in (3, 4) for what in step for hook in "ab"]
    expected += [f"{hook} after_train 5" for hook in "ab"]
    assert calls == expected
    with pytest.raises(TypeError, match="is no HookBase"):
        trainer.register_hooks([object()])  # type: ignore[list-item]


def test_two_hooks_of_one_class_both_come_back(tiny: Tiny) -> None:
    trainer = SimpleTrainer(*tiny())
    first, second = Recorder("a", []), Recorder("b", [])
    trainer.register_hooks([first, second])
    first.count, second.count = 5, 9
    state = trainer.state_dict()
    assert state["hooks"] == {"Recorder": {"count": 5}, "Recorder#2": {"count": 9}}
    first.count = second.count = 0
    trainer.load_state_dict(state)
    assert (first.count, second.count) == (5, 9)


def test_metrics_are_put_at_their_iterations_however_they_are_read(tiny: Tiny) -> None:
    stored = []
    for later in (False, True):
        trainer = SimpleTrainer(*tiny(), async_write_metrics=later)
        trainer.read_period = 3
        trainer.train(0, 8)
        names = ("total_loss", "loss_a", "loss_b")
        stored.append([trainer.storage.history(name).values() for name in names])
        total, a, b = ([value for value, _ in values] for values in stored[-1])
        assert total == [x + y for x, y in zip(a, b, strict=True)]
    assert stored[0] == stored[1]
    assert [iteration for _, iteration in stored[1][0]] == list(range(8))


def test_losses_are_kept_once_a_period(tiny: Tiny) -> None:
    every, some = SimpleTrainer(*tiny()), SimpleTrainer(*tiny(), gather_metric_period=3)
    for trainer in (every, some):
        torch.manual_seed(2)
        trainer.train(0, 8)
    for name in ("total_loss", "loss_a", "data_time"):
        assert [iteration for _, iteration in some.storage.history(name).values()] == [2, 5]
    kept = [value for value in every.storage.history("loss_a").values() if value[1] in (2, 5)]
    assert some.storage.history("loss_a").values() == kept


def test_losses_of_a_step_written_by_hand(tiny: Tiny) -> None:
    with EventStorage(4) as storage:
        SimpleTrainer.write_metrics({"a": torch.tensor(1.0), "b": torch.tensor(2.5)}, 0.5, 4, prefix="my_")
    latest = storage.latest()
    assert latest["my_total_loss"] == (3.5, 4)
    assert (latest["a"], latest["b"], latest["data_time"]) == ((1.0, 4), (2.5, 4), (0.5, 4))


@pytest.mark.parametrize("later", [False, True])
def test_nan_names_iteration_and_images(tiny: Tiny, later: bool) -> None:
    trainer = SimpleTrainer(*tiny(poison=3), async_write_metrics=later)
    with pytest.raises(LossError) as caught:
        trainer.train(0, 10)
    assert isinstance(caught.value, FloatingPointError)
    assert str(caught.value) == (
        "The loss is not finite at iteration 3 (loss_a nan, loss_b nan), on the images /photos/3_0.jpg, "
        "/photos/3_1.jpg, /photos/3_2.jpg: look at their annotations, lower SOLVER.BASE_LR, or set "
        "SOLVER.CLIP_GRADIENTS.ENABLED True."
    )
    if not later:
        assert all(value.isfinite().all() for value in trainer.model.parameters())


def test_a_failed_training_lets_hooks_close_but_not_evaluate(tiny: Tiny) -> None:
    calls: list[str] = []
    trainer = SimpleTrainer(*tiny(poison=4))
    trainer.register_hooks([hooks.EvalHook(0, lambda: calls.append("eval")), Recorder("a", calls)])  # type: ignore[func-returns-value]
    with pytest.raises(TrainingError):
        trainer.train(0, 5)
    assert "eval" not in calls
    assert calls[-1] == "a after_train 4"


def test_what_a_trainer_refuses(tiny: Tiny) -> None:
    model, loader, optimizer = tiny()
    trainer = SimpleTrainer(model, [next(iter(loader))], optimizer)
    with pytest.raises(TrainingError, match="data loader came to an end"):
        trainer.train(0, 2)
    model.eval()
    with pytest.raises(TrainingError, match="in eval mode"):
        SimpleTrainer.train(trainer, 0, 1)
    with pytest.raises(NotImplementedError):
        TrainerBase().train(0, 1)


def test_model_returning_one_loss(tiny: Tiny) -> None:
    _, loader, _ = tiny()
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.ones(1))
    model.forward = lambda batch: model.weight.square().sum()
    trainer = SimpleTrainer(model, loader, torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.train(0, 2)
    assert [value for value, _ in trainer.storage.history("total_loss").values()] == pytest.approx(
        [1.0, 0.64]
    )


def test_bfloat16_on_the_cpu_stays_close(tiny: Tiny) -> None:
    losses = []
    for cls, extra in ((SimpleTrainer, {}), (AMPTrainer, {"precision": torch.bfloat16})):
        trainer = cls(*tiny(), **extra)
        torch.manual_seed(1)
        trainer.train(0, 10)
        losses.append([value for value, _ in trainer.storage.history("total_loss").values()])
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_float16_needs_a_gpu(tiny: Tiny) -> None:
    with pytest.raises(ConfigValueError, match=r"SOLVER\.AMP\.DTYPE is float16, which needs a GPU"):
        AMPTrainer(*tiny(), precision=torch.float16)


def test_state_goes_on_exactly(tiny: Tiny) -> None:
    whole = SimpleTrainer(*tiny())
    torch.manual_seed(5)
    whole.train(0, 10)
    first = SimpleTrainer(*tiny())
    torch.manual_seed(5)
    first.train(0, 6)
    state, rng = first.state_dict(), torch.get_rng_state()
    second = SimpleTrainer(*tiny())
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict(state)
    second.data_loader.skip(6)
    torch.set_rng_state(rng)
    second.train(6, 10)
    assert second.storage.history("total_loss").values() == whole.storage.history("total_loss").values()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
