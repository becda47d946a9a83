"""Reading for the doctor: as far as the files can be understood, the rest noted."""

from .sources import read_sources

__all__ = ["read_sources"]
