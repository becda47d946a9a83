"""A model over a video: an annotated copy, and the objects of each frame."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from cardamage.errors import DataError
from cardamage.utils.files import atomic_write

from .prediction_records import Predictor, batched, describe_instances, draw_instances, keep_above

__all__ = ["predict_video"]


def predict_video(
    predictor: Predictor, file: Path, target: Path, metadata: Any, threshold: float, batch_size: int
) -> dict[str, Any]:
    """Predict each frame and write ``TARGET.mp4`` and ``TARGET.json``, both whole or not at all.

    The JSON holds ``file``, ``fps``, ``width``, ``height`` and ``frames``: their ``index``, ``time_s`` and
    ``instances``. It is written as frames come, so a long video needs no more memory than a short one.

    Args:
        predictor: from a list of BGR pictures to a list of ``{"instances": ...}``.
        file: the video.
        target: where to write, without an ending.
        metadata: class names and colors.
        threshold: lowest score of an object.
        batch_size: frames given to the predictor at a time.

    Returns:
        ``file``, ``overlay``, ``json``, ``fps`` and the numbers of ``frames`` and ``objects``.

    Raises:
        DataError: the video can't be read.
    """
    capture = cv2.VideoCapture(str(file))
    ok, first = capture.read()
    if not ok:
        capture.release()
        raise DataError(f"{file} can't be read as a video; convert it to an .mp4 with H.264.")
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    total = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) or None
    overlay, partial = target.with_name(f"{target.name}.mp4"), target.with_name(f".{target.name}.part.mp4")
    writer = _open_writer(partial, fps, first)
    frames = objects = 0
    try:
        with atomic_write(target.with_name(f"{target.name}.json")) as stream:
            head = {"file": str(file), "fps": fps, "width": first.shape[1], "height": first.shape[0]}
            stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "frames": [')
            progress = tqdm(
                _frames(capture, first), file.name, total, unit="frame", disable=None, leave=False
            )
            for batch in batched(progress, batch_size):
                for image, output in zip(batch, predictor(batch), strict=True):
                    found = keep_above(output["instances"], threshold)
                    drawn = draw_instances(image, found, metadata).get_image()
                    writer.write(np.ascontiguousarray(drawn[..., ::-1]))
                    record: dict[str, Any] = {"index": frames, "time_s": round(frames / fps, 3)}
                    record["instances"] = describe_instances(found, metadata)
                    stream.write(("," if frames else "") + "\n" + json.dumps(record, ensure_ascii=False))
                    frames += 1
                    objects += len(found)
            stream.write("\n]}\n")
        writer.release()
        os.replace(partial, overlay)
    finally:
        writer.release()
        capture.release()
        partial.unlink(missing_ok=True)
    names = {"file": str(file), "overlay": overlay.name, "json": f"{target.name}.json"}
    return {**names, "fps": fps, "frames": frames, "objects": objects}


def _open_writer(path: Path, fps: float, frame: np.ndarray) -> cv2.VideoWriter:
    height, width = frame.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not writer.isOpened():
        raise DataError(f"This OpenCV can't write {path.parent / path.name}; install opencv-python-headless.")
    return writer


def _frames(capture: cv2.VideoCapture, first: np.ndarray) -> Iterator[np.ndarray]:
    frame: np.ndarray | None = first
    while frame is not None:
        yield frame
        ok, frame = capture.read()
        frame = frame if ok else None
