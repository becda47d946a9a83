"""A whole training step, from the batch to the averaged weights: nothing in it waits for a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from cardamage.engine import hooks
from cardamage.engine.simple_trainer import AMPTrainer, SimpleTrainer
from cardamage.modeling import build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.regions import compile_model
from cardamage.solver import ModelEMA, build_lr_scheduler, build_optimizer

Make = Callable[..., Any]


class _Watch(hooks.CallbackHook):
    """Opens a context for the steps from the third on, which are then warm, and closes it after the fifth."""

    def __init__(self, enter: Callable[[], Any], leave: Callable[[], Any]) -> None:
        super().__init__()
        self._enter, self._leave = enter, leave

    def before_step(self) -> None:
        if self.trainer.iter == 2:
            self._enter()

    def after_step(self) -> None:
        if self.trainer.iter == 4:
            self._leave()


def _options(clip: str) -> dict[str, Any]:
    return {
        "MODEL.RPN.BBOX_REG_LOSS_TYPE": "giou",
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "ciou" if clip else "smooth_l1",
        "SOLVER.MAX_ITER": 6,
        "SOLVER.FUSED": True,
        "SOLVER.BASE_LR": 1e-4,
        "SOLVER.CLIP_GRADIENTS.ENABLED": bool(clip),
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": clip or "value",
    }


def _batches(sample: Make) -> Iterator[list[dict[str, Any]]]:
    sizes = [((96, 128), (64, 100)), ((128, 96), (128, 90)), ((64, 64), (96, 160))]
    for number in range(6):
        first, second = sizes[number % len(sizes)]
        yield [sample(number, 3, first), sample(10 + number, number % 2, second, bitmasks=number > 3)]


def _trainer(
    cfg: Any, data: Any, precision: torch.dtype | None, scaled: bool, compiled: bool
) -> SimpleTrainer:
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    ema = ModelEMA(model)
    if compiled:
        compile_model(model)
    trainer: SimpleTrainer
    if precision is None:
        trainer = SimpleTrainer(model, data, optimizer, async_write_metrics=True)
    else:
        scaler = torch.amp.GradScaler(cfg.MODEL.DEVICE, enabled=scaled)
        trainer = AMPTrainer(
            model, data, optimizer, precision=precision, grad_scaler=scaler, async_write_metrics=True
        )
    schedule = hooks.LRScheduler(optimizer, build_lr_scheduler(cfg, optimizer))
    trainer.register_hooks([hooks.IterationTimer(), schedule, hooks.EMAHook(ema)])
    return trainer


@pytest.mark.parametrize(
    ("precision", "scaled", "clip"),
    [
        (None, False, "norm"),
        (torch.bfloat16, False, "full_model"),
        (torch.bfloat16, True, "value"),
    ],
)
def test_a_step_of_fixed_shapes_reads_nothing(
    tiny_cfg: Make, sample: Make, waits: Any, precision: torch.dtype | None, scaled: bool, clip: str
) -> None:
    torch.manual_seed(0)
    trainer = _trainer(tiny_cfg(**_options(clip)), _batches(sample), precision, scaled, compiled=False)
    trainer.register_hooks([_Watch(waits.__enter__, lambda: waits.__exit__(None, None, None))])
    with force_fixed_shapes(True):
        trainer.train(0, 6)
    assert waits.found == []
    assert len(trainer.storage.history("total_loss").values()) == 6
    assert trainer.storage.latest()["mask_rcnn/accuracy"][0] <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("precision", "clip"),
    [(None, ""), (torch.float16, "full_model"), (torch.bfloat16, "norm"), (torch.bfloat16, "value")],
)
def test_a_gpu_is_never_waited_for(
    tiny_cfg: Make, sample: Make, precision: torch.dtype | None, clip: str, compiled: bool
) -> None:
    torch.manual_seed(0)
    options = {**_options(clip), "MODEL.DEVICE": "cuda", "MODEL.CHANNELS_LAST": precision is not None}
    scaled = precision is torch.float16
    # Made before the steps that are watched: the test's own work is none of the step's.
    data = iter(list(_batches(sample)))
    trainer = _trainer(tiny_cfg(**options), data, precision, scaled, compiled)
    watch = _Watch(
        lambda: torch.cuda.set_sync_debug_mode("error"), lambda: torch.cuda.set_sync_debug_mode("default")
    )
    trainer.register_hooks([watch])
    try:
        trainer.train(0, 6)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(trainer.storage.history("total_loss").values()) == 6
