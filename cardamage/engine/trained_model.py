"""A trained model by its config and weights, for commands."""

from __future__ import annotations

from collections.abc import Sequence

from cardamage.config import get_cfg, make_exact, validate_cfg
from cardamage.engine.predictor import DefaultPredictor
from cardamage.errors import ConfigValueError

__all__ = ["load_predictor"]


def load_predictor(
    config_file: str,
    weights: str,
    options: Sequence[str] = (),
    *,
    device: str | None = None,
    threshold: float | None = None,
    masks: bool = False,
    exact: bool = False,
) -> DefaultPredictor:
    """Load a model that returns masks as run lengths: large photos would need gigabytes otherwise.

    Args:
        config_file: the config that it was trained with.
        weights: the checkpoint.
        options: keys and values of the config, in turn.
        device: ``"cuda"`` or ``"cpu"``; None leaves it to the config.
        threshold: lowest score of an object, 0 to 1; None leaves it to the config.
        masks: whether it must find masks.
        exact: whether to compute as Detectron2 does, with every faster way off.

    Raises:
        ConfigError: the config, or an option, can't be used, or the model finds boxes only.
        CheckpointError: the weights can't be read or don't fit.
    """
    cfg = get_cfg()
    cfg.merge_from_file(config_file)
    if exact:
        make_exact(cfg)
    cfg.merge_from_list(list(options))
    if device is not None:
        cfg.MODEL.DEVICE = device
    if threshold is not None:
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    cfg.MODEL.WEIGHTS = weights
    validate_cfg(cfg)
    if masks and not cfg.MODEL.MASK_ON:
        raise ConfigValueError(
            f"The model of {config_file} finds boxes only (MODEL.MASK_ON is False); give one with masks."
        )
    predictor = DefaultPredictor(cfg)
    setattr(predictor.model, "mask_output", "rle")  # noqa: B010 (to the type checker, a submodule)
    return predictor
