"""The six kinds of damage. Each is drawn where its outline says, and the outline is returned in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Canvas, Color, Floats, Window
from .geometry import Points, Rng, area, blob, normals, outline_mask, ribbon, smooth, wander
from .look import Look, grain, tone
from .paint_car import Site

CLASSES = ("dent", "scratch", "crack", "glass_shatter", "lamp_broken", "tire_flat")


@dataclass
class Damage:
    """One drawn damage: its class and the outlines of its pieces in pixels."""

    label: str
    pieces: list[Points]
    rectangle: bool = False


@dataclass
class Pen:
    """What every kind of damage is drawn with."""

    canvas: Canvas
    look: Look
    rng: Rng


def outlines_of(canvas: Canvas, pieces: list[Points], within: Points | None = None) -> list[Points]:
    """Return the outer outlines of the union of ``pieces``, or of what of it lies ``within`` another outline.

    Args:
        canvas: gives the frame.
        pieces: outlines that may cross each other.
        within: outline that limits the union.

    Returns:
        Outlines of the connected parts, largest first, parts below 6 pixels left out.
    """
    scale, frame = 4, (canvas.height, canvas.width)
    low = np.floor(np.maximum(np.concatenate(pieces).min(axis=0) - 2, 0))
    high = np.ceil(np.minimum(np.concatenate(pieces).max(axis=0) + 2, frame[::-1]))
    width, height = ((high - low) * scale).astype(int)
    if width < 4 or height < 4:
        return []
    mask = outline_mask([p - low for p in pieces], height, width, scale)
    for piece in pieces:
        mask |= outline_mask([piece - low], height, width, scale)
    if within is not None:
        mask &= outline_mask([within - low], height, width, scale)
    found, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = [cv2.approxPolyDP(c, 0.7, True)[:, 0].astype(np.float64) for c in found]
    shapes = [(c + 0.5) / scale + low for c in found if len(c) >= 3]
    return sorted((s for s in shapes if abs(area(s)) >= 6), key=lambda s: -abs(area(s)))


def dent(pen: Pen, pixels: Points) -> Damage:
    """Press a hollow into a panel: dark where it turns from the light, bright opposite, with sharp folds."""
    canvas, rng = pen.canvas, pen.rng
    window = canvas.window([pixels], 1)
    assert window is not None
    cover = canvas.mask([pixels], window)
    depth = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    reach = float(depth.max()) or 1.0
    bowl = 1 - (1 - np.minimum(depth / reach, 1)) ** 2
    bowl += 0.35 * grain(rng, bowl.shape[0], bowl.shape[1], (4, 9)) * bowl
    bowl = cv2.GaussianBlur(bowl.astype(np.float32), (0, 0), max(reach / 7, 0.8))
    slope_x = cv2.Sobel(bowl, cv2.CV_32F, 1, 0, ksize=3) * reach / 8
    slope_y = cv2.Sobel(bowl, cv2.CV_32F, 0, 1, ksize=3) * reach / 8
    lit = np.clip(-slope_y * 0.95 - slope_x * 0.6 * pen.look.light, -1.2, 1.2) * rng.uniform(0.8, 1.1)
    below = canvas.pixels[window]
    darker, lighter = np.clip(lit, -1, 0)[..., None], np.clip(lit, 0, 1)[..., None]
    shaded = below * (1 + 0.66 * darker) + (235 - below) * lighter * 0.45
    shaded *= (1 - 0.18 * np.clip(bowl, 0, 1))[..., None]
    canvas.blend(window, shaded, cover)
    center = pixels.mean(axis=0)
    for _ in range(int(rng.integers(1, 4))):
        a, b = pixels[rng.integers(len(pixels), size=2)]
        knee = center + rng.normal(0, reach / 12, 2)
        line = smooth(np.stack([center + (a - center) * 0.75, knee, center + (b - center) * 0.6]))
        canvas.paint(ribbon(line, 1.3), (20, 20, 22), 0.55, feather=0.4, within=pixels)
        canvas.paint(ribbon(line + [0, 1.1], 1.0), (245, 245, 245), 0.4, feather=0.3, within=pixels)
    return Damage("dent", [pixels])


def scratch_color(pen: Pen) -> Color:
    """Return bare metal or primer on dark paint, dirt or primer on light paint."""
    light = sum(pen.look.paint) / 3
    if light > 120:
        return tone((60, 62, 66), pen.rng.uniform(0.7, 1.3))
    return tone((214, 218, 222), pen.rng.uniform(0.85, 1.05))


def scratch_taper(count: int) -> Points:
    """Return the share of a scratch's width at ``count`` points along it."""
    return np.sqrt(np.clip(np.minimum(np.linspace(0, 12, count), np.linspace(12, 0, count)), 0.2, 1))


def scratch_band(line: Points, width: float) -> Points:
    """Return the outline of a scratch along a line."""
    return ribbon(line, width * scratch_taper(len(line)))


def scratch(pen: Pen, line: Points, width: float) -> Damage:
    """Scrape a band along ``line``: one line up to 4 pixels, a bundle of parallel strokes above.

    Args:
        pen: what to draw with.
        line: ``(N, 2)`` centre line in pixels.
        width: the band's full width in pixels.
    """
    canvas, rng = pen.canvas, pen.rng
    color = scratch_color(pen)
    taper = scratch_taper(len(line))
    band = scratch_band(line, width)
    if width <= 4.2:
        canvas.paint(band, color, 0.92)
        core = ribbon(line, np.maximum(width * 0.3 * taper, 0.7))
        canvas.paint(core, tone(color, 1.25, 0.1) if sum(color) > 380 else tone(color, 0.55), 0.8)
        return Damage("scratch", [band])
    canvas.paint(band, color, 0.42)
    across = normals(line)
    for offset in np.linspace(-0.4, 0.4, max(3, int(width / 2.4))):
        start, stop = sorted(rng.integers(0, len(line), 2))
        start, stop = (start, stop) if stop - start > len(line) // 2 else (0, len(line))
        shift = (offset + 0.03 * rng.normal(0, 1, (len(line), 1))) * width * taper[:, None]
        stroke = ribbon((line + across * shift)[start:stop], rng.uniform(1.0, 1.7))
        canvas.paint(stroke, tone(color, rng.uniform(0.85, 1.15)), rng.uniform(0.7, 1.0), within=band)
    return Damage("scratch", [band])


def scratch_line(rng: Rng, start: Points, length: float, heading: float) -> Points:
    """Return a long bent line from ``start``, smooth, in the surface's coordinates."""
    knots = wander(rng, start, heading, length, 6, 0.16)
    return smooth(knots, 6)


def crack_lines(rng: Rng, start: Points, size: float, heading: float) -> list[tuple[Points, float]]:
    """Return (line, thickness share) of a crack: a jagged trunk and its branches."""
    trunk = wander(rng, start, heading, size, 9, 0.5)
    lines = [(trunk, 1.0)]
    for _ in range(int(rng.integers(3, 6))):
        root = int(rng.integers(2, len(trunk) - 1))
        turn = heading + rng.choice([-1, 1]) * rng.uniform(0.6, 1.3)
        lines.append((wander(rng, trunk[root], turn, size * rng.uniform(0.2, 0.45), 5, 0.4), 0.75))
    return lines


def crack(pen: Pen, lines: list[tuple[Points, float]], width: float) -> Damage:
    """Break a panel open along jagged lines; the outline is the union of all branches.

    Args:
        pen: what to draw with.
        lines: (centre line in pixels, share of the width).
        width: thickness of the trunk in pixels.
    """
    canvas, rng = pen.canvas, pen.rng
    pieces = []
    for line, share in lines:
        taper = np.linspace(1.15, 0.45, len(line)) * share
        pieces.append(ribbon(line, np.maximum(width * taper, 1.6)))
    trunk = lines[0][0]
    for at in rng.choice(len(trunk) - 2, 2, replace=False) + 1:
        chip = trunk[at] + width * rng.uniform(0.9, 1.7, (5, 1)) * np.stack(
            [np.cos(np.arange(5) * 1.26 + at), np.sin(np.arange(5) * 1.26 + at)], axis=1
        )
        pieces.append(chip)
    canvas.paint([p + [0.8, 0.9] for p in pieces], (206, 206, 206), 0.45)
    for piece in pieces:
        canvas.paint(piece, (15, 14, 15), 0.96)
    for piece in pieces[len(lines) :]:
        middle = piece.mean(axis=0)
        canvas.paint(middle + (piece - middle) * 0.5, (70, 74, 82), 0.8)
    return Damage("crack", outlines_of(canvas, pieces))


def star(rng: Rng, center: Points, reach: float) -> tuple[list[Points], list[Points]]:
    """Return the ribbons of rays from an impact and of the rings between them, in pixels."""
    count = int(rng.integers(11, 18))
    angles = np.sort(np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.12, count))
    rays, knees = [], []
    for angle in angles:
        line = wander(rng, center, float(angle), reach * 1.6, 7, 0.1)
        rays.append(ribbon(line, np.linspace(1.5, 0.6, len(line))))
        knees.append(line)
    rings = []
    for step in range(1, 6):
        points = np.stack([k[min(step, 7)] + rng.normal(0, reach * 0.03, 2) for k in knees])
        for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
            if rng.random() < 0.72:
                rings.append(ribbon(np.stack([a, b]), 0.9))
    return rays, rings


def glass_shatter(pen: Pen, pane: Points, center: Points, spread: Points) -> Damage | None:
    """Shatter a pane around an impact.

    Args:
        pen: what to draw with.
        pane: the pane's outline in pixels.
        center: place of the impact in pixels.
        spread: outline of the shattered region in pixels; what leaves the pane is cut off.

    Returns:
        The damage, or None if nothing of it is on the pane.
    """
    canvas, rng = pen.canvas, pen.rng
    outlines = outlines_of(canvas, [spread], within=pane)[:1]
    if not outlines:
        return None
    region = outlines[0]
    reach = float(np.linalg.norm(spread - center, axis=1).mean())
    canvas.paint(region, (226, 224, 214), 0.3)
    window = canvas.window([region])
    assert window is not None
    frost(canvas, rng, window, region)
    rays, rings = star(rng, center, reach)
    canvas.paint([r + [0.7, 0.7] for r in rays], (24, 22, 20), 0.5, within=region)
    canvas.paint(rings, (244, 246, 242), 0.75, within=region)
    canvas.paint(rays, (250, 251, 248), 0.9, within=region)
    if rng.random() < 0.5:
        hole = blob(rng, (float(center[0]), float(center[1])), reach * 0.2, reach * 0.17, 0.35)
        canvas.paint(hole, (14, 13, 13), 0.95, within=region)
    return Damage("glass_shatter", [region])


def frost(canvas: Canvas, rng: Rng, window: Window, region: Points) -> None:
    """Speckle a region as crushed glass is."""
    cover = canvas.mask([region], window)
    height, width = cover.shape
    small = rng.standard_normal(((height + 3) // 4, (width + 3) // 4)).astype(np.float32)
    speckle: Floats = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    canvas.pixels[window] += (speckle * cover * 17)[..., None]


def lamp_broken(pen: Pen, site: Site, pixels: Points) -> Damage:
    """Smash a lamp: a dark hole with jagged edges, shards and splits in what is left of the lens."""
    canvas, rng = pen.canvas, pen.rng
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    size = high - low
    canvas.paint(pixels, (58, 56, 58), 0.55)
    middle = pixels.mean(axis=0) + size * rng.uniform(-0.16, 0.16, 2)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    radius = rng.uniform(0.24, 0.4, 16) * np.where(np.arange(16) % 2, 0.6, 1.15)
    hole = middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None] * size
    canvas.paint(hole, (10, 10, 11), 0.96, within=pixels)
    shard_color: Color = (70, 62, 190) if site.tail else (236, 236, 230)
    for _ in range(int(rng.integers(4, 8))):
        at = low + size * rng.uniform(0.1, 0.9, 2)
        angle = rng.uniform(0, 2 * np.pi, 3)
        shard = at + np.stack([np.cos(angle), np.sin(angle)], axis=1) * size.max() * rng.uniform(0.05, 0.14)
        canvas.paint(shard, tone(shard_color, rng.uniform(0.7, 1.1), 0.2), 0.9, within=pixels)
    for _ in range(int(rng.integers(5, 9))):
        line = wander(rng, middle, float(rng.uniform(0, 2 * np.pi)), float(size.max()) * 0.7, 5, 0.3)
        canvas.paint(ribbon(line, 1.0), (242, 242, 242), 0.8, within=pixels)
    return Damage("lamp_broken", [pixels], rectangle=box_like(pixels) and bool(rng.random() < 0.6))


def box_like(pixels: Points) -> bool:
    """Tell whether an outline fills most of its bounding box, so that an annotator would drag a rectangle."""
    width, height = pixels.max(axis=0) - pixels.min(axis=0)
    return abs(area(pixels)) > 0.84 * float(width * height)
