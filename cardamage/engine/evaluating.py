"""What an evaluation decides before it builds the model: which weights, and which classes."""

from __future__ import annotations

from torch import nn

from cardamage.checkpoint import DetectionCheckpointer, checkpoint_thing_classes
from cardamage.config import CfgNode
from cardamage.engine.setup import prepare_classes
from cardamage.errors import CheckpointError, ConfigValueError

__all__ = ["prepare_evaluation"]


def prepare_evaluation(cfg: CfgNode, resume: bool = False) -> tuple[str, list[str]]:
    """Find the weights to evaluate and bring the test data's classes into their order.

    Class names that the weights carry count, and the training data isn't read. Weights without names are
    taken to know the classes of the config's data.

    Args:
        cfg: MODEL.WEIGHTS, OUTPUT_DIR and DATASETS are read; NUM_CLASSES is set unless the user set it.
        resume: whether to take the last checkpoint of the output folder, where there is one.

    Returns:
        The weights file and the class names.

    Raises:
        CheckpointError: if there are no weights, or they can't be read.
        ConfigError: if the config names no test data, or another number of classes.
        DataError: if the test data can't be used, or has objects of a class that the weights lack.
    """
    if not cfg.DATASETS.TEST:
        raise ConfigValueError(
            "DATASETS.TEST is empty, so --eval-only has nothing to evaluate: "
            "name the data, such as DATASETS.TEST \"('labelme:FOLDER',)\"."
        )
    path, names = _find_weights(cfg, resume)
    if names is None:
        return path, prepare_classes(cfg, eval_only=True)
    count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES") and count != len(names):
        raise ConfigValueError(
            f"MODEL.ROI_HEADS.NUM_CLASSES is {count}, but the weights file '{path}' knows {len(names)} "
            f"classes ({', '.join(names)}): set it to {len(names)}, or leave the key out and it "
            "follows from the weights."
        )
    return path, prepare_classes(cfg, eval_only=True, weights_classes=names)


def _find_weights(cfg: CfgNode, resume: bool) -> tuple[str, list[str] | None]:
    """Return the file and the class names in it."""
    reader = DetectionCheckpointer(nn.Module(), cfg.OUTPUT_DIR)
    if resume and reader.has_checkpoint():
        path, checkpoint = reader.read_last()
    elif cfg.MODEL.WEIGHTS:
        path, checkpoint = cfg.MODEL.WEIGHTS, reader.read(cfg.MODEL.WEIGHTS)
    elif resume:
        raise CheckpointError(
            f"There is no checkpoint in '{cfg.OUTPUT_DIR}' to evaluate: set OUTPUT_DIR to the folder of a "
            "training, or add MODEL.WEIGHTS FILE."
        )
    else:
        raise CheckpointError("--eval-only needs weights: add MODEL.WEIGHTS FILE, or --resume.")
    return path, checkpoint_thing_classes(checkpoint)
