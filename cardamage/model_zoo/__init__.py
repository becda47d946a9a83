"""Config files and trained weights by Detectron2's names.

``model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml", trained=True)`` works as it
does there. The config files are cardamage's own; the weights are those that Detectron2's authors publish.
"""

from __future__ import annotations

from .model_zoo import get, get_checkpoint_url, get_config, get_config_file

__all__ = ["get", "get_checkpoint_url", "get_config", "get_config_file"]
