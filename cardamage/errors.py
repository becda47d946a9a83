"""The exceptions a user can meet, one for each layer.

Every message is one plain sentence: what is wrong, where (file, shape index, key), and what to do.
Commands print it without a traceback (see :func:`cardamage.utils.cli.run`). Some are an ``AssertionError`` as
well: Detectron2 asserts there, and code ported from it may catch that.
"""

from __future__ import annotations

__all__ = [
    "AbsentError",
    "BackendError",
    "CardamageError",
    "CheckpointError",
    "ConfigError",
    "ConfigKeyError",
    "ConfigValueError",
    "DataError",
    "DownloadError",
    "EvaluationError",
    "LaunchError",
    "LossError",
    "ModelZooError",
    "TrainingError",
    "UnknownDatasetError",
]


class CardamageError(Exception):
    """Base of all errors that are the input's fault and explain themselves."""

    def __str__(self) -> str:
        """Return the sentence itself (``KeyError`` would print its ``repr``)."""
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class ConfigError(CardamageError):
    """A config file, key or value that can't be used."""


class ConfigKeyError(ConfigError, KeyError):
    """A config key that doesn't exist."""


class ConfigValueError(ConfigError, ValueError, AssertionError):
    """A config value of the wrong type or out of its range."""


class DataError(CardamageError, ValueError, AssertionError):
    """An annotation file, image or dataset name that can't be used."""


class UnknownDatasetError(DataError, KeyError):
    """A dataset name that is neither registered nor says where the data is."""


class CheckpointError(CardamageError, RuntimeError, ValueError):
    """A weights file that can't be read, or that doesn't fit the model."""


class DownloadError(CardamageError, OSError):
    """A file of the network that can't be had."""


class EvaluationError(CardamageError, ValueError, AssertionError):
    """Predictions or ground truth that can't be evaluated."""


class TrainingError(CardamageError, RuntimeError):
    """A training run that can't go on."""


class LossError(TrainingError, FloatingPointError):
    """A loss that is not finite; ``FloatingPointError`` is what Detectron2 raises then."""


class LaunchError(CardamageError, RuntimeError):
    """Processes or devices that can't be started as asked."""


class ModelZooError(ConfigError, RuntimeError):
    """A name that the model zoo has no config or no weights for."""


class AbsentError(CardamageError, NotImplementedError):
    """A part of Detectron2 that cardamage doesn't have."""


class BackendError(CardamageError, ImportError):
    """Detectron2, asked for as the engine, that isn't there or doesn't work."""
