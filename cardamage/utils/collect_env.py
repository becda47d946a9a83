"""A description of the machine, for logs and bug reports: ``python -m cardamage.utils.collect_env``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import torch
from tabulate import tabulate

from cardamage.utils.env import cpu_has_bfloat16

__all__ = ["collect_env_info"]

_PACKAGES = ("torchvision", "numpy", "opencv-python-headless", "Pillow", "pycocotools", "fvcore")


def collect_env_info() -> str:
    """Return a table of platform, package versions, processors and devices."""
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


if __name__ == "__main__":
    print(collect_env_info())
