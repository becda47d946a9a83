"""Folders that tests look into."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# Real photos and annotations, beside the repository; tests of them are skipped where there are none.
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
