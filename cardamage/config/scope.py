"""What Detectron2 and its projects have that is not here, and the sentence for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["ARCHITECTURES", "BY_ITSELF", "INSTEAD", "PARTS", "find_absent", "project_message", "project_of"]

INSTEAD = (
    "run it on Detectron2 itself with --backend detectron2, or start from one of configs/, such as "
    "configs/damage/mask_rcnn_R_50_FPN.yaml."
)
"""What to do with a setting that Detectron2 has and cardamage hasn't."""

BY_ITSELF = (
    "run it with Detectron2's own programs, or start from one of configs/, such as "
    "configs/damage/mask_rcnn_R_50_FPN.yaml."
)
"""What to do with a config file that only Detectron2 reads."""

_SEMANTIC, _PANOPTIC, _ONE_STAGE = "semantic segmentation", "panoptic segmentation", "a one-stage detector"

ARCHITECTURES: dict[str, str] = {
    "FCOS": _ONE_STAGE,
    "RetinaNet": _ONE_STAGE,
    "PanopticFPN": _PANOPTIC,
    "SemanticSegmentor": _SEMANTIC,
    "PanopticDeepLab": "of the project Panoptic-DeepLab",
    "TensorMask": "of the project TensorMask",
}
"""Values of MODEL.META_ARCHITECTURE that are not here, and what each is."""

PARTS: dict[str, str] = {
    "RRPN": "rotated boxes",
    "RROIHeads": "rotated boxes",
    "RotatedAnchorGenerator": "rotated boxes",
    "ROIAlignRotated": "rotated boxes",
    "KRCNNConvDeconvUpsampleHead": "keypoints",
    "build_retinanet_resnet_fpn_backbone": _ONE_STAGE,
    "build_resnet_deeplab_backbone": "of the project DeepLab",
    "CoarseMaskHead": "of the project PointRend",
    "ImplicitPointRendMaskHead": "of the project PointRend",
    "PointRendROIHeads": "of the project PointRend",
    "DensePoseROIHeads": "of the project DensePose",
    "TridentRPN": "of the project TridentNet",
    "TridentRes5ROIHeads": "of the project TridentNet",
    "TridentStandardROIHeads": "of the project TridentNet",
    "build_trident_resnet_backbone": "of the project TridentNet",
}
"""Values of the model's other NAME keys that are not here, and what each is."""

# Keys that projects on Detectron2 add to its tree. Groups stand for everything below them.
_PROJECTS: dict[str, tuple[str, ...]] = {
    "PointRend": (
        "INPUT.COLOR_AUG_SSD",
        "MODEL.IMPLICIT_POINTREND",
        "MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME",
    ),
    "PointSup": ("INPUT.POINT_SUP", "INPUT.SAMPLE_POINTS"),
    "DensePose": (
        "BOOTSTRAP_DATASETS",
        "BOOTSTRAP_MODEL",
        "DATASETS.CATEGORY_MAPS",
        "DATASETS.CLASS_TO_MESH_NAME_MAPPING",
        "DATASETS.WHITELISTED_CATEGORIES",
        "DENSEPOSE_EVALUATION",
        "INPUT.ROTATION_ANGLES",
        "MODEL.DENSEPOSE_ON",
        "MODEL.HRNET",
        "MODEL.ROI_DENSEPOSE_HEAD",
    ),
    "DeepLab": (
        "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA",
        "MODEL.RESNETS.RES4_DILATION",
        "MODEL.RESNETS.RES5_MULTI_GRID",
        "MODEL.RESNETS.STEM_TYPE",
        "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS",
        "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS",
        "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT",
        "MODEL.SEM_SEG_HEAD.LOSS_TYPE",
        "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS",
        "MODEL.SEM_SEG_HEAD.PROJECT_FEATURES",
        "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV",
        "SOLVER.POLY_LR_CONSTANT_ENDING",
        "SOLVER.POLY_LR_POWER",
    ),
    "Panoptic-DeepLab": (
        "INPUT.GAUSSIAN_SIGMA",
        "INPUT.IGNORE_CROWD_IN_SEMANTIC",
        "INPUT.IGNORE_STUFF_IN_OFFSET",
        "INPUT.SMALL_INSTANCE_AREA",
        "INPUT.SMALL_INSTANCE_WEIGHT",
        "MODEL.INS_EMBED_HEAD",
        "MODEL.PANOPTIC_DEEPLAB",
        "MODEL.SEM_SEG_HEAD.HEAD_CHANNELS",
        "MODEL.SEM_SEG_HEAD.LOSS_TOP_K",
    ),
    "TensorMask": ("MODEL.TENSOR_MASK",),
    "TridentNet": ("MODEL.TRIDENT",),
    "AdelaiDet": ("MODEL.BASIS_MODULE", "MODEL.BLENDMASK", "MODEL.CONDINST", "MODEL.FCOS", "MODEL.SOLOV2"),
    "CenterNet2": ("MODEL.CENTERNET",),
    "DETR": ("MODEL.DETR",),
    "MaskFormer": ("MODEL.MASK_FORMER",),
    "Swin Transformer": ("MODEL.SWIN", "MODEL.SWINT"),
    "VoVNet": ("MODEL.VOVNET",),
}
_OWNERS = {key: project for project, keys in _PROJECTS.items() for key in keys}


def project_of(key: str) -> str | None:
    """Return the project on Detectron2 that a config key belongs to, None for a key of none.

    Args:
        key: full dotted name.
    """
    parts = key.split(".")
    return next(
        (
            _OWNERS[".".join(parts[:end])]
            for end in range(1, len(parts) + 1)
            if ".".join(parts[:end]) in _OWNERS
        ),
        None,
    )


def project_message(key: str, where: str, project: str) -> str:
    """Return the sentence that refuses a project's key.

    Args:
        key: full dotted name.
        where: ``" in FILE"`` or empty.
        project: as of :func:`project_of`.
    """
    return (
        f"{key}{where} is a config key of {project}, a project on Detectron2 that cardamage doesn't have: "
        "train it with that project's own program, or start from configs/damage/mask_rcnn_R_50_FPN.yaml."
    )


def find_absent(content: dict[str, Any], where: str) -> str | None:
    """Return the sentence for the first setting of a config file that is known not to be here.

    Args:
        content: nested dicts.
        where: ``" in FILE"``.

    Returns:
        None where nothing is known to be absent.
    """
    for key, value in _settings(content):
        project = project_of(key)
        if project is not None:
            return project_message(key, where, project)
        if key == "MODEL.META_ARCHITECTURE" and value in ARCHITECTURES:
            kind = ARCHITECTURES[value]
            return f"{key}{where} is {value!r} ({kind}), which cardamage doesn't have: {BY_ITSELF}"
    return None


def _settings(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
