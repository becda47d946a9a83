"""How fast it is beside others: one run, the same photos, weights and batch, sides measured in turn.

Nothing heavy is imported here, so that ``tools/benchmark.py --help`` is quick.
"""

from __future__ import annotations

__all__: list[str] = []
