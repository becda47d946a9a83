"""The checkpoint that all sides load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import torch

from cardamage.benchmark.settings import PLAIN, Settings
from cardamage.benchmark.weights import force_detections, settle
from cardamage.config import CfgNode
from cardamage.engine.setup import prepare_classes
from cardamage.modeling import build_model

__all__ = ["shared_config"]

_SEED = 7
# Pixels of the picture's short edge that layers are scaled on.
_SMALL = 224


def shared_config(settings: Settings, samples: Sequence[dict[str, Any]]) -> CfgNode:
    """Return the plain config with weights that all sides load, made up unless the user named some.

    Args:
        settings: what all sides share.
        samples: pictures that made-up weights are to find as many objects in as one may have.
    """
    cfg = settings.config(PLAIN)
    classes = prepare_classes(cfg)
    if cfg.MODEL.WEIGHTS:
        return cfg
    path = settings.scratch / f"made_up_{len(classes)}_{len(samples)}.pth"
    if not path.is_file():
        state = torch.get_rng_state()
        torch.manual_seed(_SEED)
        model: Any = build_model(cfg).eval()
        torch.set_rng_state(state)
        settle(model, [_small(samples[0])])
        force_detections(model, _inputs(samples), cfg.TEST.DETECTIONS_PER_IMAGE)
        # What is trained starts from the same file.
        weights = {name: value.cpu() for name, value in model.state_dict().items()}
        torch.save({"model": weights}, path)
    cfg.MODEL.WEIGHTS = str(path)
    return cfg


def _inputs(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"image": sample["image"]} for sample in samples]


def _small(sample: dict[str, Any]) -> dict[str, Any]:
    picture = sample["image"].permute(1, 2, 0).numpy()
    scale = min(1.0, _SMALL / min(picture.shape[:2]))
    resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return {"image": torch.from_numpy(resized.transpose(2, 0, 1).copy())}
