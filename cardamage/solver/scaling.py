"""Keep a config's meaning when the number of workers changes."""

from __future__ import annotations

import logging

from cardamage.config import CfgNode
from cardamage.errors import ConfigValueError

__all__ = ["auto_scale_workers"]

logger = logging.getLogger(__name__)


def auto_scale_workers(cfg: CfgNode, num_workers: int) -> CfgNode:
    """Rescale a config written for ``SOLVER.REFERENCE_WORLD_SIZE`` workers to another number of them.

    Each worker keeps its batch size; the learning rate grows with the total batch (linear scaling, Goyal et
    al., 2017), and iteration counts shrink by the same factor.

    Args:
        cfg: the full config, left as it is.
        num_workers: the number of workers there are.

    Returns:
        A scaled copy, or ``cfg`` itself when the reference is 0 or already met.

    Raises:
        ConfigValueError: if the batch can't be divided among the reference workers.
    """
    reference = cfg.SOLVER.REFERENCE_WORLD_SIZE
    if reference in (0, num_workers):
        return cfg
    if cfg.SOLVER.IMS_PER_BATCH % reference != 0:
        raise ConfigValueError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} can't be divided among "
            f"SOLVER.REFERENCE_WORLD_SIZE {reference} workers: change one of them."
        )
    frozen = cfg.is_frozen()
    cfg = cfg.clone()
    cfg.defrost()
    scale = num_workers / reference
    solver = cfg.SOLVER
    solver.IMS_PER_BATCH = round(solver.IMS_PER_BATCH * scale)
    solver.BASE_LR = solver.BASE_LR * scale
    solver.MAX_ITER = round(solver.MAX_ITER / scale)
    solver.WARMUP_ITERS = round(solver.WARMUP_ITERS / scale)
    solver.STEPS = tuple(round(step / scale) for step in solver.STEPS)
    solver.CHECKPOINT_PERIOD = round(solver.CHECKPOINT_PERIOD / scale)
    cfg.TEST.EVAL_PERIOD = round(cfg.TEST.EVAL_PERIOD / scale)
    solver.REFERENCE_WORLD_SIZE = num_workers
    logger.info(
        "Scaled from %d to %d workers: batch %d, learning rate %g, %d iterations, %d of them warm-up.",
        reference,
        num_workers,
        solver.IMS_PER_BATCH,
        solver.BASE_LR,
        solver.MAX_ITER,
        solver.WARMUP_ITERS,
    )
    if frozen:
        cfg.freeze()
    return cfg
