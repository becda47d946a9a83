"""Defaults of the root keys and of TEST."""

from __future__ import annotations

from typing import Any

__all__ = ["root", "test"]


def root() -> dict[str, Any]:
    """Keys without a node of their own."""
    return {
        "VERSION": 2,
        "OUTPUT_DIR": "./output",
        # Negative: a fresh random seed each run.
        "SEED": -1,
        "CUDNN_BENCHMARK": False,
        # "highest", "high" or "medium" as in torch.set_float32_matmul_precision; empty leaves torch's own.
        "FLOAT32_PRECISION": "",
        # Iterations between pictures of training samples and predictions; 0 turns them off.
        "VIS_PERIOD": 0,
        # Ours: iterations between lines in the log, metrics.json and TensorBoard.
        "WRITER_PERIOD": 20,
        "GLOBAL": {"HACK": 1.0},
    }


def test() -> dict[str, Any]:
    """EVAL_PERIOD is in iterations; 0 evaluates only at the end."""
    return {
        # Rows of [dataset, task, metric, value, tolerance], checked after the evaluation.
        "EXPECTED_RESULTS": [],
        "EVAL_PERIOD": 0,
        # Ours: pictures in a batch of each process when testing. Smaller ones are padded to the largest,
        # which changes a little what is found near their edges, so that AP moves in the last digits.
        "IMS_PER_BATCH": 1,
        "KEYPOINT_OKS_SIGMAS": [],
        "DETECTIONS_PER_IMAGE": 100,
        # Ours, for evaluation and prediction: "auto" is bfloat16 on processors that multiply it, float16 on
        # GPUs with tensor cores, else float32; FUSE folds norms and fuses layers, and with WINOGRAD wide 3x3
        # convolutions take fewer products on processors. With float32 and no FUSE the model runs as it is.
        "PRECISION": "auto",
        "FUSE": True,
        "WINOGRAD": True,
        "AUG": {
            "ENABLED": False,
            "MIN_SIZES": tuple(range(400, 1201, 100)),
            "MAX_SIZE": 4000,
            "FLIP": True,
            # Ours: "nms" thins out the boxes of all views as MODEL.ROI_HEADS.NMS_TYPE says; "weighted_boxes"
            # takes the means of those that overlap by more than MERGE_THRESH, weighted by their scores, and
            # lowers the score of what few views show (Solovyev et al., Weighted boxes fusion, 2021).
            "MERGE": "nms",
            "MERGE_THRESH": 0.55,
        },
        "PRECISE_BN": {"ENABLED": False, "NUM_ITER": 200},
        # Ours: keep model_best.pth; where "segm/AP" is not measured, "bbox/AP" is used.
        "BEST_CHECKPOINT": {"ENABLED": True, "METRIC": "segm/AP", "MODE": "max"},
    }
