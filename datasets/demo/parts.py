"""Lamps and wheels, whole or broken."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Color
from .car import Car
from .geometry import Camera, Points, Rng, ellipse, inset
from .look import tone
from .paint_car import LAMP, OTHER, TYRE, WHEEL, Site


def draw_lamp(canvas: Canvas, site: Site) -> None:
    """Draw a whole lamp: bezel, lens, reflector, glare."""
    outline = site.pixels
    lens: Color = (40, 34, 196) if site.tail else (222, 218, 212)
    canvas.paint(site.project(inset(site.outline, -0.08)), (34, 33, 33), part=OTHER)
    axis = np.array([outline[outline[:, 1].argmin()], outline[outline[:, 1].argmax()]])
    canvas.shade(outline, axis, [(0, tone(lens, 1.05, 0.25)), (0.5, lens), (1, tone(lens, 0.62))], part=LAMP)
    low, high = site.outline.min(axis=0), site.outline.max(axis=0)
    center, size = (low + high) / 2, high - low
    for shift in (-0.22, 0.2):
        ring = ellipse((center[0] + shift * size[0], center[1]), size[0] * 0.14, size[1] * 0.28, 20)
        canvas.paint(site.project(ring), tone(lens, 0.55), 0.7, within=outline)
        bulb: Color = (120, 120, 250) if site.tail else (248, 248, 250)
        canvas.paint(site.project(inset(ring, 0.35)), bulb, 0.9, within=outline)


def wheel_outline(center: tuple[float, float], radius: float, flat: float) -> Points:
    """Return a tyre's outline on the ground (y = 0), sunk by ``flat`` of its radius and bulging there."""
    x, y = ellipse((0, 0), radius, radius, 60).T
    sunk = y + radius * (1 - flat)
    squeeze = np.clip(1 - sunk / (radius * 0.75), 0, 1) * flat
    return np.stack([center[0] + x * (1 + 0.85 * squeeze), np.maximum(sunk, 0.004)], axis=1)


def draw_wheel(canvas: Canvas, camera: Camera, car: Car, rng: Rng, axle: int, flat: float) -> Points:
    """Draw a wheel on the near side.

    Args:
        canvas: what to draw on.
        camera: maps metres to pixels.
        car: the car.
        rng: source of chance.
        axle: 0 rear, 1 front.
        flat: 0 for a sound tyre, up to 0.35 for one without air.

    Returns:
        ``(N, 2)`` the tyre's outline in the picture.
    """
    s = car.shape
    x, radius = s.axles[axle], s.wheel
    y, z = radius * (1 - flat), s.width / 2 * 0.97
    outline = wheel_outline((x, y), radius, flat)

    def flatten(points: Points, inward: float = 0.0) -> Points:
        return camera.project(np.c_[points, np.full(len(points), z - inward)])

    canvas.paint(flatten(outline, 0.18), (20, 20, 20))
    canvas.paint(flatten(outline), TYRE, part=WHEEL)
    shoulder = outline * 0.9 + np.array([x, y]) * 0.1
    canvas.paint(flatten(shoulder), (52, 51, 50), 0.8)
    rim = radius * 0.66
    canvas.paint(flatten(ellipse((x, y), rim * 1.03, rim * 1.03)), (24, 24, 24))
    metal: Color = (176, 178, 180)
    spokes = 5 if s.length < 4.4 else 7
    turn = rng.uniform(0, 2 * np.pi)
    canvas.paint(flatten(ellipse((x, y), rim, rim), 0.05), tone(metal, 0.3))
    for k in range(spokes):
        angle = turn + 2 * np.pi * k / spokes
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        quad = (
            np.array([(0.1, -0.14), (1.0, -0.1), (1.0, 0.1), (0.1, 0.14)]) * rim @ np.stack([along, across])
        )
        canvas.paint(flatten(quad + [x, y]), tone(metal, 0.9 + 0.25 * float(np.sin(angle))))
    ring = np.concatenate([ellipse((x, y), rim, rim), ellipse((x, y), rim * 0.88, rim * 0.88)[::-1]])
    canvas.paint(flatten(ring), metal)
    canvas.paint(flatten(ellipse((x, y), rim * 0.2, rim * 0.2, 20)), tone(metal, 0.7))
    return flatten(outline)


def squash_lines(canvas: Canvas, outline: Points, rng: Rng) -> None:
    """Draw the folds of a tyre without air along its foot."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    size = high - low
    for _ in range(5):
        x = rng.uniform(low[0] + size[0] * 0.2, high[0] - size[0] * 0.2)
        y = high[1] - size[1] * rng.uniform(0.03, 0.12)
        fold = ellipse((x, y), size[0] * rng.uniform(0.06, 0.14), size[1] * 0.018, 16)
        canvas.paint(fold, (92, 92, 92), 0.7, within=outline)
