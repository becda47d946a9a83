"""The process: its random state, torch's version, and a user's own preparations."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import random
from types import ModuleType

import numpy as np
import torch

from cardamage.errors import TrainingError

__all__ = [
    "TORCH_VERSION",
    "cpu_has_bfloat16",
    "seed_all_rng",
    "setup_custom_environment",
    "setup_environment",
]

logger = logging.getLogger(__name__)

TORCH_VERSION: tuple[int, ...] = tuple(int(part) for part in torch.__version__.split(".")[:2])
"""Major and minor version of torch."""

_NUMPY_SEED_LIMIT = 2**32
_MODULE_VARIABLE = "CARDAMAGE_ENV_MODULE"


def seed_all_rng(seed: int | None = None) -> int:
    """Seed Python's, numpy's and torch's (every device's) generators.

    Args:
        seed: any integer from 0; None or a negative one draws a fresh one and logs it.

    Returns:
        The seed used.
    """
    if seed is None or seed < 0:
        seed = int.from_bytes(os.urandom(4), "little") % 2**31
        logger.info("Using the random seed %d", seed)
    random.seed(seed)
    np.random.seed(seed % _NUMPY_SEED_LIMIT)
    torch.manual_seed(seed)
    return seed


def cpu_has_bfloat16() -> bool:
    """Tell whether the processor itself multiplies bfloat16 (AVX-512 BF16 or AMX).

    Without, torch emulates it, slower than float32.
    """
    # Underscored in torch, and not there on every platform.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


@functools.lru_cache(maxsize=1)
def setup_environment() -> None:
    """Run, once, the preparations that the environment variable ``CARDAMAGE_ENV_MODULE`` names, if it is set.

    Nothing calls this by itself: importing cardamage runs nobody's code.

    Raises:
        TrainingError: see :func:`setup_custom_environment`.
    """
    custom_module = os.environ.get(_MODULE_VARIABLE)
    if custom_module:
        setup_custom_environment(custom_module)


def setup_custom_environment(custom_module: str) -> None:
    """Import a module of the user's and call its ``setup_environment()``.

    Args:
        custom_module: the path of a ``.py`` file, or a module's name.

    Raises:
        TrainingError: there is no such module, or it has no such function.
    """
    try:
        read = _import_file if custom_module.endswith(".py") else importlib.import_module
        module = read(custom_module)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise TrainingError(
            f"The environment module '{custom_module}' can't be imported: {error}."
        ) from error
    prepare = getattr(module, "setup_environment", None)
    if not callable(prepare):
        raise TrainingError(
            f"The environment module '{custom_module}' needs a function setup_environment() of no arguments."
        )
    prepare()


def _import_file(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cardamage_environment", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
