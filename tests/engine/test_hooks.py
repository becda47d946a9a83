"""What the hooks do, and what they remember."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fvcore.common.param_scheduler import LinearParamScheduler

from cardamage.checkpoint import DetectionCheckpointer, read_checkpoint
from cardamage.engine import HookBase, SimpleTrainer, hooks
from cardamage.engine.hooks.writing import describe_progress
from cardamage.engine.resume import check_finite_weights
from cardamage.errors import ConfigValueError, EvaluationError, TrainingError
from cardamage.solver import ModelEMA
from cardamage.utils.events import EventStorage

Tiny = Callable[..., Any]


def run(trainer: SimpleTrainer, hook_list: list[HookBase], start: int, end: int) -> SimpleTrainer:
    trainer.register_hooks(hook_list)
    trainer.train(start, end)
    return trainer


def best_of(
    values: list[float], folder: Path, tiny: Tiny, mode: str = "max"
) -> tuple[hooks.BestCheckpointer, int]:
    """Train with an evaluation every two iterations that gives these values; the last is the final one's."""
    trainer = SimpleTrainer(*tiny())
    saver = DetectionCheckpointer(trainer.model, str(folder), trainer=trainer)
    results = iter(values)
    best = hooks.BestCheckpointer(2, saver, "segm/AP", mode)
    run(trainer, [hooks.EvalHook(2, lambda: {"segm": {"AP": next(results)}}), best], 0, 2 * len(values))
    return best, read_checkpoint(folder / "model_best.pth")["iteration"]


@pytest.mark.parametrize(
    ("values", "mode", "metric", "iteration", "saved"),
    [
        ([1.0, 3.0, 2.0], "max", 3.0, 3, 3),
        ([1.0, 3.0, 5.0], "max", 5.0, 6, 5),
        ([float("nan"), 1.0, 1.0], "max", 1.0, 3, 3),
        ([3.0, 1.0, 2.0], "min", 1.0, 3, 3),
        ([-1.0, float("-inf"), -0.5], "max", -0.5, 6, 5),
    ],
)
def test_best_counts_every_evaluation_and_the_final_one(
    tiny: Tiny, tmp_path: Path, values: list[float], mode: str, metric: float, iteration: int, saved: int
) -> None:
    best, in_file = best_of(values, tmp_path, tiny, mode)
    assert (best.best_metric, best.best_iter) == (metric, iteration)
    assert in_file == saved
    assert not (tmp_path / "last_checkpoint").exists()


def test_best_is_remembered_and_unknown_modes_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    best, _ = best_of([1.0, 7.0], tmp_path, tiny)
    again = hooks.BestCheckpointer(2, DetectionCheckpointer(torch.nn.Linear(1, 1)), "segm/AP")
    again.load_state_dict(best.state_dict())
    assert (again.best_metric, again.best_iter) == (7.0, 4)
    with pytest.raises(ConfigValueError, match="use max or min"):
        hooks.BestCheckpointer(2, DetectionCheckpointer(torch.nn.Linear(1, 1)), "segm/AP", "best")


def test_best_falls_back_to_boxes(tiny: Tiny, tmp_path: Path) -> None:
    trainer = SimpleTrainer(*tiny())
    saver = DetectionCheckpointer(trainer.model, str(tmp_path))
    best = hooks.BestCheckpointer(0, saver, "segm/AP", fallback_metrics=("bbox/AP",))
    run(trainer, [hooks.EvalHook(0, lambda: {"bbox": {"AP": 4.0}}), best], 0, 1)
    assert best.best_metric == 4.0


def test_evaluation_leaves_the_random_numbers_alone(tiny: Tiny) -> None:
    draws = []
    for evaluate in (None, lambda: {"x": float(torch.rand(7).sum())}):
        trainer = SimpleTrainer(*tiny())
        torch.manual_seed(3)
        run(trainer, [] if evaluate is None else [hooks.EvalHook(1, evaluate)], 0, 4)
        draws.append(torch.rand(1))
    assert torch.equal(*draws)


def test_an_evaluation_lost_to_a_kill_is_made_up_for(tiny: Tiny) -> None:
    ran: list[int] = []
    trainer = SimpleTrainer(*tiny())

    def evaluate() -> dict[str, float]:
        ran.append(trainer.storage.iter)
        return {"metric": 1.0}

    hook = hooks.EvalHook(2, evaluate)
    hook.load_state_dict({"last": 2})
    run(trainer, [hook], 4, 7)
    assert ran == [3, 5, 7]
    trainer = SimpleTrainer(*tiny())
    done = hooks.EvalHook(2, evaluate)
    done.load_state_dict({"last": 4})
    ran.clear()
    run(trainer, [done], 4, 5)
    assert ran == [5]


@pytest.mark.parametrize("results", [[1.0], {"AP": "high"}])
def test_evaluations_must_return_numbers(tiny: Tiny, results: Any) -> None:
    with pytest.raises(EvaluationError, match="An evaluation must return"):
        run(SimpleTrainer(*tiny()), [hooks.EvalHook(1, lambda: results)], 0, 2)


def test_learning_rate_is_noted_before_it_changes(tiny: Tiny) -> None:
    trainer = SimpleTrainer(*tiny(lr=2.0))
    run(trainer, [hooks.LRScheduler(scheduler=LinearParamScheduler(1.0, 0.0))], 0, 4)
    assert [value for value, _ in trainer.storage.history("lr").values()] == [2.0, 1.5, 1.0, 0.5]


def test_the_rate_shown_is_of_the_largest_group() -> None:
    def optimizer(*groups: tuple[int, float]) -> torch.optim.Optimizer:
        def group(count: int, rate: float) -> dict[str, Any]:
            return {"params": [torch.nn.Parameter(torch.zeros(1)) for _ in range(count)], "lr": rate}

        made = [group(count, rate) for count, rate in groups]
        return torch.optim.SGD(made, lr=1.0)

    find = hooks.LRScheduler.get_best_param_group_id
    assert find(optimizer((1, 0.1), (3, 0.2), (2, 0.3))) == 1
    assert find(optimizer((1, 0.1), (1, 0.2), (1, 0.2))) == 1


def test_average_starts_from_the_weights_at_the_start(tiny: Tiny) -> None:
    trainer = SimpleTrainer(*tiny())
    ema = ModelEMA(trainer.model, 0.9)
    with torch.no_grad():
        trainer.model.fc.weight.fill_(3.0)
    run(trainer, [hooks.EMAHook(ema)], 0, 3)
    assert ema.updates == 3
    assert (ema.averaged_state_dict()["fc.weight"] - 3.0).abs().max() < 1.0


def test_sigterm_finishes_the_step_saves_and_leaves(tiny: Tiny, tmp_path: Path) -> None:
    trainer = SimpleTrainer(*tiny())
    saver = DetectionCheckpointer(trainer.model, str(tmp_path), trainer=trainer)

    def ask(trainer: Any) -> None:
        if trainer.iter == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        run(trainer, [hooks.CallbackHook(before_step=ask), hooks.StopOnSignal(saver)], 0, 10)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000004.pth"
    assert read_checkpoint(tmp_path / "model_0000004.pth")["iteration"] == 4


def test_broken_weights_are_not_saved(tiny: Tiny) -> None:
    model, *_ = tiny()
    check_finite_weights(model, 3)
    with torch.no_grad():
        model.fc.bias[0] = float("inf")
    said = "Weights are not finite after iteration 3 (fc.bias), so they are not saved: "
    for last, advice in (
        ("", "start again with a lower SOLVER.BASE_LR."),
        ("o/m.pth", "go on from 'o/m.pth' with --resume and a lower SOLVER.BASE_LR."),
    ):
        with pytest.raises(TrainingError) as caught:
            check_finite_weights(model, 3, last)
        assert str(caught.value) == said + advice


def test_validation_loss_changes_nothing(tiny: Tiny) -> None:
    trainer = SimpleTrainer(*tiny())
    _, loader, _ = tiny()
    batches = [batch for batch, _ in zip(loader, range(3), strict=False)]
    hook = hooks.ValidationLoss(0, trainer.model, batches)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    random_state = torch.get_rng_state()
    losses = hook.compute()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert losses["validation_loss"] == pytest.approx(
        losses["validation/loss_a"] + losses["validation/loss_b"]
    )
    run(trainer, [hook], 0, 2)
    assert trainer.storage.latest()["validation_loss"][1] == 1


def test_precise_statistics_are_the_mean_over_batches(tiny: Tiny) -> None:
    model, loader, _ = tiny()
    batches = [batch for batch, _ in zip(loader, range(5), strict=False)]
    outputs = [model.fc(torch.stack([item["x"] for item in batch])).detach() for batch in batches]
    hooks.PreciseBN(0, model, loader, 5).update_stats()
    torch.testing.assert_close(model.norm.running_mean, torch.stack([out.mean(0) for out in outputs]).mean(0))


def test_profiler_writes_traces(tiny: Tiny, tmp_path: Path) -> None:
    hook = hooks.TorchProfiler(lambda trainer: trainer.iter == 1, str(tmp_path))
    run(SimpleTrainer(*tiny()), [hook, hooks.TorchMemoryStats()], 0, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["profiler-trace-iter1-rank0.json"]


def test_progress_shows_what_matters() -> None:
    with EventStorage() as storage:
        storage.put_scalars(total_loss=1.5, data_time=0.25, time=1.0)
        storage.put_scalar("lr", 0.02, smoothing_hint=False)
        text = describe_progress(storage)
        later = describe_progress(storage, 90)
    assert text.startswith("loss 1.5, lr 0.02, data 25%, ")
    assert later == f"ETA 0:01:30, {text}"
    with EventStorage() as storage:
        storage.put_scalars(data_time=0.25, time=1.0)
        storage.put_scalar("data_share", 0.125, smoothing_hint=False)
        assert describe_progress(storage).startswith("data 12%, ")


def test_bar_mutes_metric_lines_on_the_terminal(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    run(SimpleTrainer(*tiny()), [hooks.ProgressBar(enabled=True)], 0, 3)
    shown = capsys.readouterr().err
    assert "training: 100%" in shown
    assert "loss" in shown


def test_plot_failures_are_only_logged(tiny: Tiny) -> None:
    def plot() -> None:
        raise ValueError("no display")

    run(SimpleTrainer(*tiny()), [hooks.PlotHook(plot)], 0, 1)
