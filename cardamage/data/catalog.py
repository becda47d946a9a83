"""The catalogs, under the path where Detectron2 has them."""

from __future__ import annotations

from ..catalog import DatasetCatalog, Metadata, MetadataCatalog

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]
