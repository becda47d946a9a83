"""The random state and a description of the machine."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import random
import sys

import numpy as np
import torch
from tabulate import tabulate

logger = logging.getLogger(__name__)

_PACKAGES = ("torchvision", "numpy", "opencv-python-headless", "Pillow", "pycocotools", "fvcore")
_NUMPY_SEED_LIMIT = 2**32


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


def collect_env_info() -> str:
    """Return a table of platform, package versions, processors and devices, for logs and bug reports."""
    rows = [
        ("platform", platform.platform()),
        ("python", sys.version.split()[0]),
        ("cardamage", _version("cardamage")),
        # The module knows which CUDA it was built for, the installed package's record may not.
        ("torch", torch.__version__),
        *((name, _version(name)) for name in _PACKAGES),
        ("CPU cores", str(os.cpu_count())),
        ("CPU capability", torch.backends.cpu.get_cpu_capability()),
        ("CPU bfloat16", "yes" if cpu_has_bfloat16() else "emulated"),
        ("torch threads", str(torch.get_num_threads())),
        *_gpu_rows(),
    ]
    return tabulate(rows)


def _gpu_rows() -> list[tuple[str, str]]:
    if not torch.cuda.is_available():
        return [("GPU", "none")]
    rows = [("CUDA", str(torch.version.cuda)), ("cuDNN", str(torch.backends.cudnn.version()))]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        rows.append((f"GPU {index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"))
    return rows


def _version(package: str) -> str:
    if package == "cardamage":
        from cardamage import __version__

        return __version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
