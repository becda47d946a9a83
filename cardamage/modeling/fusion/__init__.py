"""Making a trained model fast for inference (docs/decisions/009-fast-inference.md)."""

from __future__ import annotations

from .prepare import FastInference, inference_dtype, prepare_for_inference

__all__ = ["FastInference", "inference_dtype", "prepare_for_inference"]
