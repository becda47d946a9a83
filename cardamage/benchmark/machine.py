"""What was measured on: processor, GPU, versions."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import torch

from cardamage import __version__
from cardamage.utils.env import cpu_has_bfloat16

__all__ = ["describe_machine", "is_importable", "versions"]

# What decides how fast a processor multiplies, by its name in /proc/cpuinfo.
_ISA = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_fp16", "asimd", "bf16")
_PACKAGES = ("torchvision", "detectron2", "pycocotools", "faster-coco-eval", "labelme2coco", "numpy")
_CPUINFO = Path("/proc/cpuinfo")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return ``cpu``, ``cores``, ``threads``, ``isa``, ``bfloat16``, ``gpu``, ``gpu_memory``, ``platform``.

    Args:
        device: what is measured; without a GPU ``gpu`` is None.
    """
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "isa": isa_flags(),
        "bfloat16": cpu_has_bfloat16(),
        "gpu": gpu.name if gpu else None,
        "gpu_memory": gpu.total_memory if gpu else None,
        "platform": platform.platform(),
    }


def isa_flags() -> list[str]:
    """Return those of the processor's instruction sets that matter for networks, as Linux names them."""
    flags = set((_cpu_field("flags") or _cpu_field("Features") or "").split())
    return [name for name in _ISA if name in flags]


def _cpu_field(name: str) -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in values if key.strip() == name), "")


def versions() -> dict[str, str]:
    """Return the version of everything that takes part, without what isn't there."""
    found = {"cardamage": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    if torch.version.cuda and torch.cuda.is_available():
        found["CUDA"] = str(torch.version.cuda)
    for package in _PACKAGES:
        if is_importable(package.replace("-", "_")):
            found[package] = _version(package)
    return found


def is_importable(module: str) -> bool:
    """Tell whether a package is installed; a mere folder of its name isn't it."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # A checkout on the path has no record.
        module = importlib.import_module(package.replace("-", "_"))
        return str(getattr(module, "__version__", "?"))
