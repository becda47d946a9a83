"""The environment table names what matters."""

from __future__ import annotations

import torch

from cardamage.utils.collect_env import collect_env_info


def test_environment_table() -> None:
    table = collect_env_info()
    assert torch.__version__ in table
    assert "torchvision" in table
    assert "GPU" in table
