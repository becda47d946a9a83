"""Defaults of SOLVER."""

from __future__ import annotations

from typing import Any

__all__ = ["solver"]


def solver() -> dict[str, Any]:
    """Periods and steps are in iterations; learning rates are for IMS_PER_BATCH images over all devices."""
    return {
        **_schedule(),
        "BASE_LR": 0.001,
        "MOMENTUM": 0.9,
        "NESTEROV": False,
        "WEIGHT_DECAY": 0.0001,
        "WEIGHT_DECAY_NORM": 0.0,
        "BIAS_LR_FACTOR": 1.0,
        # None: biases decay as weights do.
        "WEIGHT_DECAY_BIAS": None,
        "IMS_PER_BATCH": 16,
        # Devices the schedule was written for; with another count it is scaled. 0 turns this off.
        "REFERENCE_WORLD_SIZE": 0,
        "CHECKPOINT_PERIOD": 5000,
        "CLIP_GRADIENTS": {"ENABLED": False, "CLIP_TYPE": "value", "CLIP_VALUE": 1.0, "NORM_TYPE": 2.0},
        # DTYPE is ours; "auto" is bfloat16 where the device has it, else float16 on CUDA.
        "AMP": {"ENABLED": False, "DTYPE": "auto"},
        # Ours: one kernel for the optimizer's step; "auto" does so on a GPU.
        "FUSED": "auto",
        # Ours: a moving average of the weights, used for evaluation.
        "EMA": {"ENABLED": False, "DECAY": 0.999},
    }


def _schedule() -> dict[str, Any]:
    return {
        "LR_SCHEDULER_NAME": "WarmupMultiStepLR",
        "MAX_ITER": 40000,
        "BASE_LR_END": 0.0,
        "GAMMA": 0.1,
        "STEPS": (30000,),
        "NUM_DECAYS": 3,
        "RESCALE_INTERVAL": False,
        "WARMUP_FACTOR": 0.001,
        "WARMUP_ITERS": 1000,
        "WARMUP_METHOD": "linear",
    }
