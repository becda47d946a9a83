"""COCO's scorer in C++, under the path where Detectron2 has its own."""

from __future__ import annotations

from faster_coco_eval import COCOeval_faster

__all__ = ["COCOeval_opt"]

COCOeval_opt = COCOeval_faster
