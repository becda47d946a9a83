"""Lists laid out as padded groups come back as they were."""

from __future__ import annotations

import random

import pytest
import torch

from cardamage.layers.suppression import arrange

SEED = random.randrange(10**6)
# Names of tests must be the same in all processes that run them.
FRESH = pytest.param(SEED, id="fresh")


@pytest.mark.parametrize("seed", [0, FRESH])
@pytest.mark.parametrize("count", [0, 1, 200])
def test_there_and_back(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(9, (count,), generator=generator).float()
    idxs = torch.randint(-3, 40, (count,), generator=generator)
    values = torch.rand(count, 4, generator=generator)
    groups = arrange(scores, idxs)
    assert torch.equal(groups.unpad(groups.pad(values)), values)
    assert int(groups.used().sum()) == count
    rows = zip(groups.pad(values), groups.used(), idxs.unique().tolist(), strict=True)
    for row, used, group in rows:
        members = sorted((i for i in range(count) if idxs[i] == group), key=lambda i: (-scores[i], i))
        assert torch.equal(row[used], values[members])
        assert not row[~used].any()
        assert used.tolist() == [place < len(members) for place in range(len(used))]
