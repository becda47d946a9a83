from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def rng(fresh_seed: int) -> np.random.Generator:
    """Random numbers that differ from run to run."""
    return np.random.default_rng(fresh_seed)
