"""The kernels in Triton are compiled to machine code of a GPU, which needs none."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.layers.roi_align import PoolGeometry

pytest.importorskip("triton.backends.nvidia")
pytestmark = pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="Triton interprets in this process")

BOXES, MASKS = torch.rand(2, 40, 4), torch.rand(3, 28, 28)


def _paste() -> None:
    from cardamage.layers.kernels.masks import paste

    paste(MASKS, BOXES[0, :3], 37, 45, 0.5)


def _find_changes() -> None:
    from cardamage.layers.kernels.masks import find_changes

    find_changes(MASKS, BOXES[0, :3], [(37, 45)] * 3, 0.5)


def _suppress(centres: bool) -> None:
    from cardamage.layers.kernels.nms import launch_greedy_keep

    launch_greedy_keep(BOXES, BOXES[..., 0] > 0.5, 0.5, centres)


def _fade() -> None:
    from cardamage.layers.kernels.soft_nms import launch_soft_nms

    launch_soft_nms(BOXES, BOXES[..., 0], BOXES[..., 1] > 0.5, True, 0.5, 0.5, 0.05)


def _pool(dtype: torch.dtype) -> None:
    from cardamage.layers.kernels.roi_align import launch_roi_align, launch_roi_align_backward

    maps = [torch.zeros(2, 9, 8, 48, dtype=dtype)]
    rest = torch.rand(6, 5), torch.zeros(6, dtype=torch.int64)
    geometry = PoolGeometry((7, 7), (0.25,), 0, True)
    cells = launch_roi_align(maps, *rest, geometry)
    launch_roi_align_backward(cells, *rest, [(2, 9, 8, 48)], geometry)


CALLS: dict[str, Callable[[], None]] = {
    "paste": _paste,
    "find_changes": _find_changes,
    "suppress": lambda: _suppress(False),
    "suppress_centres": lambda: _suppress(True),
    "fade": _fade,
    "pool_half": lambda: _pool(torch.float16),
    "pool_bfloat": lambda: _pool(torch.bfloat16),
}


def _type_name(value: Any) -> str:
    from triton.runtime.jit import mangle_type

    return "fp32" if isinstance(value, float) else str(mangle_type(value))


def _compile(kernel: Any, values: dict[str, Any], options: dict[str, Any]) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    fixed = {p.name: values[p.name] for p in kernel.params if p.is_constexpr}
    types = {name: _type_name(value) for name, value in values.items() if name not in fixed}
    if "constexprs" in inspect.signature(ASTSource.__init__).parameters:
        types = {name: types.get(name, "constexpr") for name in kernel.arg_names}
        constants = {(kernel.arg_names.index(name),): value for name, value in fixed.items()}
        source = ASTSource(kernel, signature=types, constexprs=constants)
    else:
        source = ASTSource(kernel, signature=types, constants=fixed)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


@pytest.mark.parametrize("name", list(CALLS))
def test_every_launch_compiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.jit import JITFunction

    compiled = []

    def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        assert all(0 < size <= limit for size, limit in zip(grid, (2**31 - 1, 65535, 65535), strict=False))
        values = dict(zip(kernel.arg_names, args, strict=True))
        compiled.append(_compile(kernel, values, options))

    monkeypatch.setattr(JITFunction, "run", run)
    CALLS[name]()
    assert all(kernel.asm["cubin"] for kernel in compiled)
    assert len(compiled) == (1 if name in ("paste", "fade") else 2)
