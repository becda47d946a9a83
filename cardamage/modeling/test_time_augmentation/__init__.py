"""Finding objects in several views of a photo, larger, smaller and mirrored, and merging what is found."""

from __future__ import annotations

from .mapper import DatasetMapperTTA
from .rcnn import GeneralizedRCNNWithTTA

__all__ = ["DatasetMapperTTA", "GeneralizedRCNNWithTTA"]
