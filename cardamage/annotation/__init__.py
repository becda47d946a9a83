"""The loop with Labelme: photos labelled ahead by a model, and photos chosen for a person to label.

Nothing heavy is imported here, so that the commands' ``--help`` is quick.
"""

from __future__ import annotations

__all__: list[str] = []
