"""Whole models."""

from __future__ import annotations

from cardamage.absent import absent_names
from cardamage.modeling.registry import SEM_SEG_HEADS_REGISTRY

from .build import META_ARCH_REGISTRY, build_model
from .rcnn import GeneralizedRCNN, ProposalNetwork

__all__ = [
    "SEM_SEG_HEADS_REGISTRY",
    "META_ARCH_REGISTRY",
    "GeneralizedRCNN",
    "ProposalNetwork",
    "build_model",
]

__getattr__ = absent_names(__name__)
