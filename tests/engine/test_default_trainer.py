"""What a trainer refuses before it builds anything."""

from __future__ import annotations

import pytest

from cardamage.config import get_cfg
from cardamage.engine import DefaultTrainer
from cardamage.errors import ConfigValueError


def test_output_folder_without_a_name() -> None:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = ""
    with pytest.raises(ConfigValueError) as caught:
        DefaultTrainer(cfg)
    assert str(caught.value) == (
        "OUTPUT_DIR is empty, but a training writes checkpoints and metrics: set it to a folder."
    )
