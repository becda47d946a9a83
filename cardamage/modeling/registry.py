"""The registries of a model's parts."""

from __future__ import annotations

from typing import Any

from fvcore.common.registry import Registry as _Registry

from cardamage.errors import ConfigKeyError
from cardamage.utils.suggest import did_you_mean

__all__ = ["ROI_KEYPOINT_HEAD_REGISTRY", "SEM_SEG_HEADS_REGISTRY", "Registry"]


class Registry(_Registry):
    """Parts by name; a name that is none says which config key holds it."""

    def __init__(self, name: str, key: str) -> None:
        """Make an empty registry.

        Args:
            name: of the registry, as in Detectron2.
            key: the config key that chooses from it.
        """
        super().__init__(name)
        self._key = key

    def get(self, name: str) -> Any:
        """Return the part of a name.

        Raises:
            ConfigKeyError: where there is none.
        """
        if name in self:
            return super().get(name)
        known = sorted(known for known, _ in self)
        hint = did_you_mean(name, known) or "."
        raise ConfigKeyError(f"{self._key} is {name!r}; it must be one of {', '.join(known)}{hint}")


# No model here has such heads. Projects written for Detectron2 register theirs when they are imported.
ROI_KEYPOINT_HEAD_REGISTRY = Registry("ROI_KEYPOINT_HEAD", "MODEL.ROI_KEYPOINT_HEAD.NAME")
SEM_SEG_HEADS_REGISTRY = Registry("SEM_SEG_HEADS", "MODEL.SEM_SEG_HEAD.NAME")
