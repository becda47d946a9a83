"""What is measured against each other: cardamage as its commands run it, plain cardamage, and its peers."""

from __future__ import annotations

__all__: list[str] = []
