"""Keeping freed memory, in processes of their own: the setting lasts for a process's life."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import weakref
from contextlib import suppress

import pytest

from cardamage.utils.heap import frozen_objects, without_collection

SCRIPT = """
import resource, numpy as np
from cardamage.utils.heap import keep_freed_memory
made = keep_freed_memory()
def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.ones(20 << 20, dtype=np.uint8), np.ones(24 << 20, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(2)
print(made, faults(5))
"""


def _run(**variables: str) -> tuple[bool, int]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=kept | variables, capture_output=True, text=True, check=True
    )
    made, faults = done.stdout.split()
    return made == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_is_not_fetched_anew() -> None:
    made, faults = _run()
    assert made
    _, without = _run(MALLOC_MMAP_THRESHOLD_="131072")
    assert faults < without / 10


def test_the_users_setting_stays() -> None:
    assert _run(MALLOC_TRIM_THRESHOLD_="100000")[0] is False
    assert _run(GLIBC_TUNABLES="glibc.malloc.trim_threshold=100000")[0] is False


class Ring:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_objects_that_exist_are_frozen_for_a_while() -> None:
    before = gc.get_freeze_count()
    with frozen_objects():
        frozen = gc.get_freeze_count()
        assert frozen > before + 1000
        with frozen_objects():
            pass
        assert gc.get_freeze_count() >= frozen
        gone = weakref.ref(Ring())
        gc.collect()
        assert gone() is None
    assert before > 0 or gc.get_freeze_count() == 0


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(KeyError), without_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
