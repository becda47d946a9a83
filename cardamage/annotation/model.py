"""A trained model, ready to label photos."""

from __future__ import annotations

from collections.abc import Sequence

from cardamage.config import get_cfg, validate_cfg
from cardamage.engine import DefaultPredictor
from cardamage.errors import ConfigValueError

__all__ = ["load_predictor"]


def load_predictor(
    config_file: str,
    weights: str,
    device: str | None = None,
    options: Sequence[str] = (),
    *,
    masks: bool = False,
) -> DefaultPredictor:
    """Load a model that returns masks as run lengths: large photos would need gigabytes otherwise.

    Args:
        config_file: the config that it was trained with.
        weights: the checkpoint.
        device: ``"cuda"`` or ``"cpu"``; None leaves it to the config.
        options: keys and values of the config, in turn.
        masks: whether it must find masks.

    Raises:
        ConfigError: the config, or an option, can't be used, or the model finds boxes only.
        CheckpointError: the weights can't be read or don't fit.
    """
    cfg = get_cfg()
    cfg.merge_from_file(config_file)
    cfg.merge_from_list(list(options))
    if device is not None:
        cfg.MODEL.DEVICE = device
    cfg.MODEL.WEIGHTS = weights
    validate_cfg(cfg)
    if masks and not cfg.MODEL.MASK_ON:
        raise ConfigValueError(
            f"The model of {config_file} finds boxes only (MODEL.MASK_ON is False); give one with masks."
        )
    predictor = DefaultPredictor(cfg)
    setattr(predictor.model, "mask_output", "rle")  # noqa: B010 (to the type checker, a submodule)
    return predictor
