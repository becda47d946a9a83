"""Draw a set of damaged cars in Labelme format.

    python datasets/make_demo.py --output output/demo/images --num 200 --seed 0

Every ``car_0001.jpg`` gets its ``car_0001.json`` beside it. The same seed draws the same files, byte by byte.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from demo.labelme import write
from demo.scene import make_scene


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw a set of damaged cars in Labelme format.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures and their JSON")
    parser.add_argument("--num", type=int, default=200, help="number of pictures (200)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws another set (0)")
    parser.add_argument("--width", type=int, default=384, help="pixels (384)")
    parser.add_argument("--height", type=int, default=256, help="pixels (256)")
    args = parser.parse_args(argv)
    if args.num < 1 or args.seed < 0 or min(args.width, args.height) < 128:
        parser.error("--num must be 1 or more, --seed 0 or more, --width and --height 128 or more")
    return args


def make(output: Path, num: int, seed: int, width: int, height: int) -> int:
    """Draw ``num`` pictures into ``output`` and return how many objects they hold."""
    output.mkdir(parents=True, exist_ok=True)
    objects = 0
    for index in range(num):
        scene = make_scene(seed, index, width, height)
        stem = f"car_{index + 1:04d}"
        quality = int(np.random.default_rng([seed, index, 1]).integers(88, 97))
        done, data = cv2.imencode(".jpg", scene.picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise RuntimeError(f"OpenCV could not encode {stem}.jpg")
        (output / f"{stem}.jpg").write_bytes(data.tobytes())
        write(output / f"{stem}.json", f"{stem}.jpg", scene.damages, width, height)
        objects += len(scene.damages)
    return objects


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse(argv)
    try:
        objects = make(args.output, args.num, args.seed, args.width, args.height)
    except OSError as error:
        print(
            f"error: cannot write the demo set to {args.output} ({error.strerror}); give another --output.",
            file=sys.stderr,
        )
        return 1
    print(f"{args.num} pictures with {objects} damages in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
