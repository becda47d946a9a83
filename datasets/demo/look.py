"""How one picture looks: paint, light, ground, and the noise of its photograph."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Canvas, Color, Floats
from .geometry import Camera, Points, Rng

PAINTS: list[Color] = [
    (226, 228, 230), (178, 182, 184), (120, 124, 126), (58, 60, 62), (34, 33, 32),
    (46, 40, 150), (36, 30, 104), (134, 74, 34), (92, 52, 26), (170, 130, 84),
    (62, 84, 48), (120, 160, 182), (38, 104, 190), (66, 140, 168),
]  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colours and light of one picture."""

    paint: Color
    sky: Color
    ground: Color
    wall: Color
    light: float
    """Side the light comes from, -1 left to 1 right."""


def tone(color: Color, factor: float, toward: float = 0.0) -> Color:
    """Scale a colour by ``factor`` and move it ``toward`` white (1 is white)."""
    b, g, r = (min(max(c * factor, 0.0), 255.0) * (1 - toward) + 250 * toward for c in color)
    return b, g, r


def random_look(rng: Rng) -> Look:
    """Draw the colours and the light."""
    paint = PAINTS[int(rng.integers(len(PAINTS)))]
    jitter = rng.uniform(0.9, 1.1, 3)
    b, g, r = (float(np.clip(c * j, 12, 238)) for c, j in zip(paint, jitter, strict=True))
    grey = rng.uniform(86, 150)
    warm = rng.uniform(-8, 8)
    wall = rng.uniform(120, 195) * rng.uniform(0.92, 1.06, 3)
    overcast = rng.uniform(0, 1)
    sky = (240 - 10 * overcast, 205 + 20 * overcast, 165 + 55 * overcast)
    return Look(
        (b, g, r), sky, (grey + warm, grey, grey - warm), tuple(wall.tolist()), float(rng.uniform(-1, 1))
    )


def grain(rng: Rng, height: int, width: int, octaves: tuple[int, ...] = (6, 24, 90)) -> Floats:
    """Return smooth random texture around 0, ``(height, width)`` float32 of deviation near 1."""
    total = np.zeros((height, width), np.float32)
    for cells in octaves:
        coarse = rng.normal(0, 1, (max(2, cells * height // width + 2), cells)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return total / np.float32(len(octaves) ** 0.5)


def draw_scene(canvas: Canvas, rng: Rng, camera: Camera, look: Look, depth: float) -> None:
    """Fill the canvas with what stands behind and below the car.

    Args:
        canvas: what to draw on.
        rng: source of chance.
        camera: maps metres to pixels.
        look: colours.
        depth: z of the car's far side; a wall stands behind it.
    """
    is_wall = bool(rng.random() < 0.5)
    z = depth - rng.uniform(0.6, 3.0)
    if is_wall:
        foot = camera.project(np.array([(0.0, 0.0, z), (5.0, 0.0, z)]))
    else:
        foot = camera.project((camera.position + camera.axes[2] * 900)[None] * [[1, 0, 1]]).repeat(2, axis=0)
        foot[1, 0] += 1
    slope = (foot[1, 1] - foot[0, 1]) / (foot[1, 0] - foot[0, 0])
    w, h = canvas.width, canvas.height
    ends = foot[0, 1] + slope * (np.array([-20.0, w + 20.0]) - foot[0, 0])
    above = np.array([(-20, -20), (w + 20, -20), (w + 20, ends[1]), (-20, ends[0])])
    below = np.array([(-20, ends[0] - 1), (w + 20, ends[1] - 1), (w + 20, h + 20), (-20, h + 20)])
    axis = np.array([(w / 2, float(ends.mean())), (w / 2, h)])
    if is_wall:
        canvas.shade(above, axis * [[1, 1], [1, 0]], [(0, tone(look.wall, 0.82)), (1, tone(look.wall, 1.1))])
        draw_wall(canvas, rng, camera, look, z)
    else:
        canvas.shade(above, axis * [[1, 1], [1, 0]], [(0, tone(look.sky, 1.02, 0.25)), (1, look.sky)])
        draw_skyline(canvas, rng, look, ends)
    canvas.shade(below, axis, [(0, tone(look.ground, 1.12)), (1, tone(look.ground, 0.85))])
    draw_ground(canvas, rng, camera, z if is_wall else -6.0)
    texture = grain(rng, h, w)
    canvas.pixels += cv2.resize(texture, (w * canvas.scale, h * canvas.scale))[..., None] * 2.5


def draw_wall(canvas: Canvas, rng: Rng, camera: Camera, look: Look, z: float) -> None:
    """Draw courses of bricks, panels or a rolling gate on the wall."""
    kind = int(rng.integers(3))
    course, bond = [(0.24, 0.6), (0.9, 1.4), (0.16, 0.0)][kind]
    heights = np.arange(0, 4, course)
    joints = [bar(camera, (-12, y, z), (16, y, z), 0.025) for y in heights]
    if bond:
        for row, y in enumerate(heights):
            starts = np.arange(-8 + (row % 2) * bond / 2, 12, bond)
            joints += [bar(camera, (x, y, z), (x, y + course, z), 0.02) for x in starts]
    canvas.paint([j for j in joints if j is not None], tone(look.wall, 0.74), 0.5)
    foot = bar(camera, (-12, 0.02, z), (16, 0.02, z), 0.12)
    if foot is not None:
        canvas.paint(foot, tone(look.wall, 0.5), 0.7)


Place = tuple[float, float, float]


def bar(camera: Camera, start: Place, end: Place, width: float) -> Points | None:
    """Return the picture of a straight bar ``width`` metres thick, None if it lies behind the camera."""
    seen = camera.in_front(np.array(start, dtype=np.float64), np.array(end, dtype=np.float64))
    if seen is None:
        return None
    a, b = seen
    direction = (b - a) / np.linalg.norm(b - a)
    side = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.5 else np.array([1.0, 0.0, 0.0])
    if abs(a[1]) < 1e-6 and abs(b[1]) < 1e-6:
        side = np.array([-direction[2], 0.0, direction[0]])
    side = side * width / 2
    return camera.project(np.stack([a - side, b - side, b + side, a + side]))


def draw_skyline(canvas: Canvas, rng: Rng, look: Look, ends: Points) -> None:
    """Draw soft hills, trees and houses along the horizon."""
    w = canvas.width
    base = float(ends.mean())
    for layer in range(2):
        xs = np.linspace(-30, w + 30, 40)
        rise = np.cumsum(rng.normal(0, 3, 40))
        ys = base - 12 - (1 - layer) * 16 - np.abs(rise - rise.mean())
        hills = np.concatenate([np.stack([xs, ys], axis=1), [(w + 30, base + 2), (-30, base + 2)]])
        green = (96 + 40 * (1 - layer), 118 + 34 * (1 - layer), 92 + 30 * (1 - layer))
        canvas.paint(hills, tone(green, rng.uniform(0.75, 1.0)), feather=1.2)
    for _ in range(int(rng.integers(0, 7))):
        x, wide, tall = rng.uniform(-20, w), rng.uniform(24, 80), rng.uniform(18, 70)
        grey = rng.uniform(110, 190)
        house = np.array([(x, base - tall), (x + wide, base - tall), (x + wide, base + 1), (x, base + 1)])
        canvas.paint(house, (grey, grey * 0.98, grey * 1.02), feather=1.0)
        pane = np.array([(0, 0), (4, 0), (4, 5), (0, 5)])
        rows, columns = np.arange(base - tall + 6, base - 8, 9.0), np.arange(x + 4, x + wide - 6, 8.0)
        panes = [pane + [column, row] for row in rows for column in columns]
        if panes:
            canvas.paint(panes, tone(look.sky, 0.55), 0.6, feather=0.7)


def draw_ground(canvas: Canvas, rng: Rng, camera: Camera, far: float) -> None:
    """Draw a kerb, parking lines and stains."""
    lines = []
    if rng.random() < 0.6:
        z = rng.uniform(1.6, 2.6)
        lines.append(bar(camera, (-15, 0, z), (20, 0, z), 0.12))
    if rng.random() < 0.4:
        lines += [bar(camera, (x, 0, max(far, -6.0)), (x, 0, 2.4), 0.1) for x in (-0.8, 5.4)]
    for line in lines:
        if line is not None:
            canvas.paint(line, (208, 212, 214), 0.6)
    for _ in range(int(rng.integers(0, 5))):
        x, z = rng.uniform(-1, 6), rng.uniform(-1, 3)
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        stain = np.stack(
            [x + 0.6 * np.cos(angle), np.zeros(24), z + rng.uniform(0.1, 0.4) * np.sin(angle)], axis=1
        )
        canvas.paint(camera.project(stain), (40, 40, 40), 0.22, feather=1.5)


def photograph(rng: Rng, picture: Floats, look: Look) -> np.ndarray:
    """Turn the drawn picture into a photo: light falling from one side, lens blur, exposure, noise.

    Returns:
        ``(H, W, 3)`` uint8 BGR.
    """
    height, width = picture.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    falloff = 1 + 0.12 * look.light * x - 0.1 * (x**2 + y**2)
    exposure = rng.uniform(0.82, 1.14) * rng.uniform(0.96, 1.04, 3)
    lit = picture * falloff[..., None] * exposure.astype(np.float32)
    blur = rng.uniform(0, 0.75)
    if blur > 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), blur)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    color_noise = rng.standard_normal((height // 2, width // 2, 3), dtype=np.float32)
    sigma = np.float32(rng.uniform(1.0, 4.5))
    lit += noise[..., None] * sigma + cv2.resize(color_noise, (width, height)) * sigma * np.float32(0.6)
    return np.clip(lit, 0, 255).astype(np.uint8)
