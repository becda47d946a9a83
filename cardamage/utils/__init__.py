"""What every room leans on: logging, files, processes, random state and the ends of commands.

Modules are imported one by one (``from cardamage.utils import comm``), so that a command which only needs
:mod:`cardamage.utils.cli` does not wait for torch.
"""

from __future__ import annotations
