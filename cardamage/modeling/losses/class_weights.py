"""How much each class counts in the loss, from how many objects of it there are."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cardamage.catalog import MetadataCatalog
from cardamage.catalog.consistency import get_class_instance_counts
from cardamage.errors import ConfigValueError
from cardamage.utils.logger import log_first_n

__all__ = ["ClassWeights", "weights_of_counts"]


def weights_of_counts(counts: Sequence[int], kind: str, beta: float = 0.999) -> torch.Tensor:
    """Return a factor for each class, larger for rarer ones.

    Their mean over the objects is 1, so that objects as a whole keep their weight against the background:
    divided by the number of classes instead, as in the paper, those of common classes would hardly count.

    Args:
        counts: objects of each of K classes; a class without any is treated as if it had one.
        kind: ``inverse`` for one over the number of objects; ``effective`` for one over their effective
            number (Cui et al., https://arxiv.org/abs/1901.05555), which grows ever slower.
        beta: the effective number of many objects is at most 1 / (1 - ``beta``).

    Returns:
        (K,) float32.
    """
    number = torch.tensor(list(counts), dtype=torch.float64)
    at_least_one = number.clamp(min=1)
    if kind == "inverse":
        rarity = 1 / at_least_one
    else:
        rarity = -1 / torch.expm1(at_least_one * (math.log(beta) if beta > 0 else -math.inf))
    total = number.sum()
    scale = total / (rarity * number).sum() if total > 0 else 1 / rarity.mean()
    return (rarity * scale).float()


@dataclass(frozen=True)
class ClassWeights:
    """The factors of classes that ``MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS`` asks for.

    Attributes:
        kind: the key's value.
        values: (K,) float32; None where the data is not known, as in inference.
    """

    kind: str
    values: torch.Tensor | None

    @classmethod
    def from_config(cls, cfg: Any) -> ClassWeights | None:
        """Read ``MODEL.ROI_BOX_HEAD`` and the counts of ``DATASETS.TRAIN``, and tell the weights in the log.

        Raises:
            ConfigValueError: the data has another number of classes than ``NUM_CLASSES``.
        """
        node = cfg.MODEL.ROI_BOX_HEAD
        if node.CLASS_WEIGHTS == "none":
            return None
        counts = get_class_instance_counts(cfg.DATASETS.TRAIN)
        if counts is None:
            return cls(node.CLASS_WEIGHTS, None)
        if len(counts) != cfg.MODEL.ROI_HEADS.NUM_CLASSES:
            raise ConfigValueError(
                f"MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS has counts of {len(counts)} classes, but "
                f"MODEL.ROI_HEADS.NUM_CLASSES is {cfg.MODEL.ROI_HEADS.NUM_CLASSES}."
            )
        values = weights_of_counts(counts, node.CLASS_WEIGHTS, node.CLASS_WEIGHTS_BETA)
        _tell(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("thing_classes"), counts, values)
        return cls(node.CLASS_WEIGHTS, values)

    def table(self, num_classes: int) -> torch.Tensor:
        """Return (K + 1,) factors, that of background 1; all 1 where nothing is known."""
        known = torch.ones(num_classes) if self.values is None else self.values
        return torch.cat([known, torch.ones(1)])

    def missing(self) -> str:
        """Say why a training can't begin."""
        return (
            f"MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS is {self.kind!r}, but nobody has counted the objects of "
            "DATASETS.TRAIN: train with train_net.py or DefaultTrainer, or call "
            "cardamage.data.prepare_datasets(cfg) before the model is built."
        )


def _tell(names: Sequence[str] | None, counts: Sequence[int], values: torch.Tensor) -> None:
    shown = names or [str(number) for number in range(len(counts))]
    parts = zip(shown, values.tolist(), counts, strict=True)
    text = ", ".join(f"{name} {value:.3g} ({count})" for name, value, count in parts)
    log_first_n(
        logging.INFO,
        f"Weight of each class in the loss (number of its objects): {text}",
        key="message",
        name=__name__,
    )
