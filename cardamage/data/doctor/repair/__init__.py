"""Repairing what is safe into a copy."""

from .fixing import write_repaired
from .plan import Repair

__all__ = ["Repair", "write_repaired"]
