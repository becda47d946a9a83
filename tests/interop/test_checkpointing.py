"""The training state where either project looks for it."""

from __future__ import annotations

from cardamage.interop.checkpointing import to_upstream_layout


def test_states_beside_the_trainer_go_into_it() -> None:
    checkpoint = {
        "model": {},
        "iteration": 7,
        "optimizer": {"state": 1},
        "scheduler": {"last_epoch": 8},
        "ema": {"updates": 8},
        "trainer": {
            "iteration": 7,
            "hooks": {"BestCheckpointer": {"metric": 3.0, "iteration": 5}, "EvalHook": {"last": 6}},
            "storage": {},
            "seed": 4,
            "grad_scaler": {"scale": 2.0},
        },
    }
    moved = to_upstream_layout(checkpoint)
    assert moved["trainer"] == {
        "iteration": 7,
        "hooks": {"BestCheckpointer": {"metric": 3.0, "iteration": 5}, "LRScheduler": {"last_epoch": 8}},
        "_trainer": {"iteration": 7, "optimizer": {"state": 1}, "grad_scaler": {"scale": 2.0}},
    }
    assert moved.keys() == {"model", "iteration", "ema", "trainer"}
    # What was read is as it was.
    assert "optimizer" in checkpoint


def test_states_that_detectron2_reads_already_stay_the_same() -> None:
    scaler = {"scale": 2.0}
    checkpoint = {
        "iteration": 7,
        "optimizer": {"state": 1},
        "scheduler": {"last_epoch": 8},
        "trainer": {
            "iteration": 7,
            "hooks": {"LRScheduler": {"last_epoch": 8}},
            "own_hooks": {"BestCheckpointer": {"metric": 3.0, "iteration": 5}, "EvalHook": {"last": 6}},
            "_trainer": {"iteration": 7, "optimizer": {"state": 1}, "grad_scaler": scaler},
        },
    }
    moved = to_upstream_layout(checkpoint)
    assert moved["trainer"] == {
        "iteration": 7,
        "hooks": {"BestCheckpointer": {"metric": 3.0, "iteration": 5}, "LRScheduler": {"last_epoch": 8}},
        "_trainer": {"iteration": 7, "optimizer": {"state": 1}, "grad_scaler": scaler},
    }


def test_files_of_detectron2_and_plain_weights_stay_as_they_are() -> None:
    theirs = {"model": {}, "iteration": 1, "trainer": {"iteration": 1, "_trainer": {"optimizer": {}}}}
    assert to_upstream_layout(theirs) is theirs
    weights: dict[str, object] = {"model": {}}
    assert to_upstream_layout(weights) is weights
