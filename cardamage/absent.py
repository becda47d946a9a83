"""Detectron2's public names that are not here: importing one works, using it says in one sentence what to do.

A ported script often imports more than it runs. So that it fails where the missing part is used and not at
its first line, every such name stands in ``ABSENT`` below, by module and subject. A module that exists takes
its names with ``__getattr__ = absent_names(__name__)``; modules that don't exist are made on import by the
finder that ``cardamage`` installs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from cardamage.errors import AbsentError

__all__ = ["ABSENT", "absent_names", "install_finder"]

_ROTATED = "rotated boxes"
_KEYPOINTS = "keypoints"
_SCRIPTING = "TorchScript export"
_PANOPTIC = "semantic and panoptic segmentation"
_LAZY = "LazyConfig"
_BACKBONES = "backbone but ResNet and its pyramids"
_MMDET = "wrapper of MMDetection"
_ONE_STAGE = "one-stage detectors"
_VOC = "Pascal VOC"

# Module below cardamage -> subject -> names; "*" stands for any name, in modules that are absent as a whole.
ABSENT: dict[str, dict[str, tuple[str, ...]]] = {
    "config": {_LAZY: ("LazyCall", "LazyConfig", "instantiate")},
    "config.lazy": {_LAZY: ("*",)},
    "data.benchmark": {"data loader benchmark": ("*",)},
    "data.datasets": {
        _PANOPTIC: ("load_sem_seg", "register_coco_panoptic", "register_coco_panoptic_separated"),
        _VOC: ("load_voc_instances", "register_pascal_voc"),
    },
    "data.datasets.builtin": {
        _PANOPTIC: ("register_all_ade20k", "register_all_cityscapes_panoptic"),
        _VOC: ("register_all_pascal_voc",),
    },
    "data.datasets.cityscapes": {_PANOPTIC: ("load_cityscapes_semantic",)},
    "data.datasets.cityscapes_panoptic": {_PANOPTIC: ("*",)},
    "data.datasets.coco": {_PANOPTIC: ("load_sem_seg",)},
    "data.datasets.coco_panoptic": {_PANOPTIC: ("*",)},
    "data.datasets.pascal_voc": {_VOC: ("*",)},
    "data.datasets.register_coco": {_PANOPTIC: ("register_coco_panoptic_separated",)},
    "data.detection_utils": {_ROTATED: ("annotations_to_instances_rotated",)},
    "data.transforms.transform": {_ROTATED: ("HFlip_rotated_box", "Resize_rotated_box")},
    "evaluation": {
        _PANOPTIC: ("COCOPanopticEvaluator", "CityscapesSemSegEvaluator", "SemSegEvaluator"),
        _ROTATED: ("RotatedCOCOEvaluator",),
        _VOC: ("PascalVOCDetectionEvaluator",),
    },
    "evaluation.cityscapes_evaluation": {_PANOPTIC: ("CityscapesSemSegEvaluator",)},
    "evaluation.panoptic_evaluation": {_PANOPTIC: ("*",)},
    "evaluation.pascal_voc_evaluation": {_VOC: ("*",)},
    "evaluation.rotated_coco_evaluation": {_ROTATED: ("*",)},
    "evaluation.sem_seg_evaluation": {_PANOPTIC: ("*",)},
    "export": {_SCRIPTING: ("*",)},
    "export.torchscript": {_SCRIPTING: ("*",)},
    "export.torchscript_patch": {_SCRIPTING: ("*",)},
    "layers": {
        _ROTATED: ("ROIAlignRotated", "batched_nms_rotated", "nms_rotated"),
        "DeepLab": ("ASPP",),
        "RetinaNet": ("CycleBatchNormList",),
    },
    "layers.aspp": {"DeepLab": ("*",)},
    "layers.batch_norm": {"RetinaNet": ("CycleBatchNormList",)},
    "layers.nms": {_ROTATED: ("batched_nms_rotated", "nms_rotated")},
    "layers.roi_align_rotated": {_ROTATED: ("*",)},
    "layers.rotated_boxes": {_ROTATED: ("*",)},
    "modeling": {
        _BACKBONES: ("MViT", "SimpleFeaturePyramid", "SwinTransformer", "ViT", "get_vit_lr_decay_rate"),
        _KEYPOINTS: ("BaseKeypointRCNNHead", "build_keypoint_head"),
        _MMDET: ("MMDetBackbone", "MMDetDetector"),
        _PANOPTIC: ("PanopticFPN", "SemanticSegmentor", "build_sem_seg_head"),
        _ONE_STAGE: ("FCOS", "RetinaNet"),
    },
    "modeling.anchor_generator": {_ROTATED: ("RotatedAnchorGenerator",)},
    "modeling.backbone": {
        _BACKBONES: (
            "MViT",
            "RegNet",
            "SimpleFeaturePyramid",
            "SwinTransformer",
            "ViT",
            "get_vit_lr_decay_rate",
        )
    },
    "modeling.backbone.fpn": {_ONE_STAGE: ("build_retinanet_resnet_fpn_backbone",)},
    "modeling.backbone.mvit": {_BACKBONES: ("*",)},
    "modeling.backbone.regnet": {_BACKBONES: ("*",)},
    "modeling.backbone.swin": {_BACKBONES: ("*",)},
    "modeling.backbone.utils": {_BACKBONES: ("*",)},
    "modeling.backbone.vit": {_BACKBONES: ("*",)},
    "modeling.box_regression": {_ROTATED: ("Box2BoxTransformRotated",)},
    "modeling.meta_arch": {
        _ONE_STAGE: ("DenseDetector", "FCOS", "RetinaNet"),
        _PANOPTIC: ("PanopticFPN", "SemanticSegmentor", "build_sem_seg_head"),
    },
    "modeling.meta_arch.dense_detector": {_ONE_STAGE: ("*",)},
    "modeling.meta_arch.fcos": {_ONE_STAGE: ("*",)},
    "modeling.meta_arch.panoptic_fpn": {_PANOPTIC: ("*",)},
    "modeling.meta_arch.retinanet": {_ONE_STAGE: ("*",)},
    "modeling.meta_arch.semantic_seg": {_PANOPTIC: ("*",)},
    "modeling.mmdet_wrapper": {_MMDET: ("*",)},
    "modeling.postprocessing": {_PANOPTIC: ("sem_seg_postprocess",)},
    "modeling.proposal_generator.rrpn": {_ROTATED: ("*",)},
    "modeling.roi_heads": {
        _KEYPOINTS: (
            "BaseKeypointRCNNHead",
            "KRCNNConvDeconvUpsampleHead",
            "build_keypoint_head",
        ),
        _ROTATED: ("RROIHeads",),
    },
    "modeling.roi_heads.keypoint_head": {_KEYPOINTS: ("*",)},
    "modeling.roi_heads.roi_heads": {
        _KEYPOINTS: ("build_keypoint_head", "select_proposals_with_visible_keypoints")
    },
    "modeling.roi_heads.rotated_fast_rcnn": {_ROTATED: ("*",)},
    "projects.deeplab": {"DeepLab": ("*",)},
    "projects.panoptic_deeplab": {"Panoptic-DeepLab": ("*",)},
    "projects.point_rend": {"PointRend's own functions": ("*",)},
    "projects.point_rend.point_features": {"PointRend's own functions": ("*",)},
    "structures": {
        _ROTATED: ("RotatedBoxes", "pairwise_iou_rotated"),
        _KEYPOINTS: ("Keypoints", "heatmaps_to_keypoints"),
    },
    "structures.keypoints": {_KEYPOINTS: ("*",)},
    "structures.rotated_boxes": {_ROTATED: ("*",)},
    "tracking": {"object tracking": ("*",)},
    "utils.develop": {"placeholders for missing libraries": ("*",)},
    "utils.testing": {
        "sample pictures of COCO": ("get_sample_coco_image",),
        _LAZY: ("reload_lazy_config",),
        _SCRIPTING: (
            "convert_scripted_instances",
            "has_dynamic_axes",
            "register_custom_op_onnx_export",
            "skipIfUnsupportedMinOpsetVersion",
            "skipIfUnsupportedMinTorchVersion",
            "unregister_custom_op_onnx_export",
        ),
    },
    "utils.torch_version_utils": {"comparisons of torch's version": ("*",)},
    "utils.tracing": {"torch.fx tracing": ("*",)},
    "utils.video_visualizer": {_PANOPTIC: ("draw_panoptic_seg_predictions", "draw_sem_seg")},
    "utils.visualizer": {
        _PANOPTIC: ("draw_panoptic_seg", "draw_panoptic_seg_predictions", "draw_sem_seg"),
        _ROTATED: ("draw_rotated_box_with_label", "overlay_rotated_instances"),
        _KEYPOINTS: ("draw_and_connect_keypoints",),
    },
}


class _Absent(type):
    """The type of placeholders: whatever is done with one says what is missing."""

    subject: str

    def _refuse(cls) -> NoReturn:
        raise AbsentError(
            f"cardamage has no {cls.subject}, which '{cls.__module__}.{cls.__qualname__}' belongs to: run "
            "that on Detectron2 itself (what is here and what is not: docs/migrating-from-detectron2.md)."
        )

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        cls._refuse()

    def __getattr__(cls, name: str) -> NoReturn:
        # Private names are asked for by the machinery (copy, inspect, typing), not by a user.
        if name.startswith("_"):
            raise AttributeError(name)
        cls._refuse()


def _refuse_subclass(cls: type, **_: Any) -> None:
    base = next(base for base in cls.__mro__[1:] if isinstance(base, _Absent))
    base._refuse()


def _placeholder(module: str, name: str, subject: str) -> type:
    body = {"__module__": module, "subject": subject, "__init_subclass__": classmethod(_refuse_subclass)}
    return _Absent(name, (), body)


def absent_names(module: str) -> Callable[[str], Any]:
    """Make a module's ``__getattr__`` that gives placeholders for its absent names.

    Args:
        module: the module's ``__name__``.

    Returns:
        The function to bind to ``__getattr__`` in that module. It raises ``AttributeError`` for names that
        are not in :data:`ABSENT`; the placeholders it gives raise :class:`cardamage.errors.AbsentError` when
        they are called, subclassed or asked for an attribute, and nothing is an instance of them.
    """
    subjects = ABSENT.get(module.partition(".")[2], {})
    found = {name: subject for subject, names in subjects.items() for name in names}
    made: dict[str, type] = {}

    def getattr_(name: str) -> Any:
        subject = found.get(name) or found.get("*")
        # The import machinery asks for modules below this one and for special names.
        if subject is None or name.startswith("__") or f"{module}.{name}".partition(".")[2] in _MODULES:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        return made.setdefault(name, _placeholder(module, name, subject))

    return getattr_


class _AbsentFinder(MetaPathFinder, Loader):
    """Makes the modules of :data:`ABSENT` that no file stands for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root, _, below = fullname.partition(".")
        if root != "cardamage" or below not in _MODULES:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "Not part of cardamage: the names in it are placeholders."
        vars(module)["__getattr__"] = absent_names(module.__name__)


def _with_parents(modules: Mapping[str, Any]) -> set[str]:
    return {".".join(parts[:end]) for parts in map(_parts, modules) for end in range(1, len(parts) + 1)}


def _parts(module: str) -> list[str]:
    return module.split(".")


_MODULES = _with_parents(ABSENT)


def install_finder() -> None:
    """Let the modules of :data:`ABSENT` be imported. It is asked last: a file of that name goes before."""
    if not any(isinstance(finder, _AbsentFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AbsentFinder())
