"""Annotations in memory as Labelme files: the files, their shapes, and the fields that go with these."""

from __future__ import annotations

from .files import labelme_content, labelme_text, write_labelme

__all__ = ["labelme_content", "labelme_text", "write_labelme"]
