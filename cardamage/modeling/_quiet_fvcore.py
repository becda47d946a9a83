"""Imports ``fvcore.nn`` first, without the warning on ``torch.jit.script`` that newer torch gives there.

It scripts two losses on import that are not used here; users could do nothing about the message.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=DeprecationWarning)
    import fvcore.nn

__all__ = ["fvcore"]
