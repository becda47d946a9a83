"""Defaults of INPUT, DATASETS and DATALOADER."""

from __future__ import annotations

from typing import Any

__all__ = ["dataloader", "datasets", "input_"]


def input_() -> dict[str, Any]:
    """Sizes are in pixels: the short edge is resized to MIN_SIZE, unless the long one would pass MAX_SIZE."""
    return {
        "MIN_SIZE_TRAIN": (800,),
        # "choice" draws one of the sizes; "range" any whole number between the two given.
        "MIN_SIZE_TRAIN_SAMPLING": "choice",
        "MAX_SIZE_TRAIN": 1333,
        # 0 turns resizing off at test time.
        "MIN_SIZE_TEST": 800,
        "MAX_SIZE_TEST": 1333,
        "RANDOM_FLIP": "horizontal",
        # Ours: the classes that change places in a mirrored picture, as a left and a right door do. "auto" is
        # the pairs of the dataset's metadata (thing_flip_map), which are found in the names of its classes;
        # "none" leaves every class as it is; or a list such as [[left_door, right_door]].
        "FLIP_CLASS_PAIRS": "auto",
        # SIZE is (height, width): shares of the picture, or pixels for the absolute types.
        "CROP": {"ENABLED": False, "TYPE": "relative_range", "SIZE": [0.9, 0.9]},
        # Channel order the model gets; MODEL.PIXEL_MEAN and PIXEL_STD are in this order.
        "FORMAT": "BGR",
        # Ours: colors changed on the model's device while training, each picture by its own factors.
        # PROBABILITY is the share of the pictures that are changed; HUE is in turns, the others are factors.
        "COLOR": {
            "PROBABILITY": 0.0,
            "BRIGHTNESS": (0.8, 1.2),
            "CONTRAST": (0.8, 1.2),
            "SATURATION": (0.8, 1.2),
            "HUE": (-0.02, 0.02),
        },
        # How ground-truth masks are kept: "polygon" is small, "bitmask" also takes RLE.
        "MASK_FORMAT": "polygon",
        # Ours: "native" resizes in torch's vectorized code, at most two levels of 255 from Detectron2's
        # pixels; "exact" gives those.
        "RESIZE": "native",
        # Ours: a JPEG at least 2.5 times as large as needed is decoded at a half, a quarter or an eighth.
        # False decodes in full, as Detectron2 does.
        "SCALED_DECODE": True,
        # Ours: look at every image file before the first step.
        "CHECK_IMAGES": True,
    }


def datasets() -> dict[str, Any]:
    """Names are those of the catalog, or ad-hoc ones such as ``labelme:/photos/train``."""
    return {
        "TRAIN": (),
        "PROPOSAL_FILES_TRAIN": (),
        "PRECOMPUTED_PROPOSAL_TOPK_TRAIN": 2000,
        "TEST": (),
        "PROPOSAL_FILES_TEST": (),
        "PRECOMPUTED_PROPOSAL_TOPK_TEST": 1000,
        # Ours: sets of pictures without objects, such as images:/undamaged, for DATALOADER.BACKGROUND_RATIO.
        "BACKGROUND": (),
    }


def dataloader() -> dict[str, Any]:
    """NUM_WORKERS is for each training process."""
    return {
        "NUM_WORKERS": 4,
        # Wide and tall pictures go into batches of their own, so that less is padding.
        "ASPECT_RATIO_GROUPING": True,
        # Ours: how alike the pictures of a batch are, where ASPECT_RATIO_GROUPING is on. "orientation" is
        # Detectron2's; "ratio" puts near height-to-width ratios together; "size" also draws one of
        # INPUT.MIN_SIZE_TRAIN for the whole batch.
        "SIZE_GROUPING": "orientation",
        # Ours: on a GPU, batches wait in pinned memory and are copied while the step before them runs.
        "PIN_MEMORY": True,
        "PREFETCH_DEVICE": True,
        # "ClassAwareSampler" is ours: each class is drawn as often as any other, then one of its pictures
        # (Shen et al., Relay Backpropagation, ECCV 2016).
        "SAMPLER_TRAIN": "TrainingSampler",
        # Share of the images below which a category's images are repeated (RepeatFactorTrainingSampler).
        "REPEAT_THRESHOLD": 0.0,
        "REPEAT_SQRT": True,
        "FILTER_EMPTY_ANNOTATIONS": True,
        # Ours: share of the pictures seen that have no objects, over any sampler. They are those of
        # DATASETS.BACKGROUND, or the training sets' own where none is named there. 0 asks for none.
        "BACKGROUND_RATIO": 0.0,
    }
