"""Dents, scratches and cracks: where they may go on the panels, and how big they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .damage import Damage, Pen, crack, crack_lines, dent, scratch, scratch_band, scratch_line
from .geometry import Points, area, blob, crosses_itself, outline_mask
from .paint_car import BODY, BUMPER, LAMP, WHEEL, Site

TRIES = 30
NEAR_PIXELS = 40


@dataclass
class Frame:
    """What is where in the picture, for placing the next damage."""

    pen: Pen
    taken: np.ndarray
    """``(H, W)`` bool, the pixels that some damage covers."""

    def inside(self, pixels: Points) -> bool:
        """Tell whether an outline lies inside the picture, a pixel off its edge."""
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        height, width = self.taken.shape
        return bool((low >= 1).all() and high[0] <= width - 1 and high[1] <= height - 1)

    def mask(self, pieces: list[Points]) -> np.ndarray:
        """Return the ``(H, W)`` bool pixels inside the outlines."""
        return outline_mask(pieces, *self.taken.shape) > 127

    def shows(self, pieces: list[Points], kinds: tuple[int, ...], share: float = 0.985) -> bool:
        """Tell whether outlines lie in the picture, and ``share`` of them on the given parts."""
        if not pieces or not all(self.inside(p) for p in pieces):
            return False
        mask = self.mask(pieces)
        canvas = self.pen.canvas
        step = canvas.scale
        parts = canvas.parts[step // 2 :: step, step // 2 :: step]
        return bool(mask.any() and np.isin(parts[mask], kinds).mean() >= share)


@dataclass
class Place:
    """One try at a place for damage."""

    frame: Frame
    site: Site
    spot: Points
    near: bool
    """Whether it is meant to touch other damage."""

    def lift(self, points: Points) -> Points:
        """Map metres around the spot to pixels."""
        return self.site.project(self._on_site(points))

    def _on_site(self, points: Points) -> Points:
        return points * [1.0, 1 / self.site.across] + self.spot

    def holds(self, points: Points) -> bool:
        """Tell whether the surface is large enough for metres around the spot."""
        placed, outline = self._on_site(points), self.site.outline
        return bool((placed >= outline.min(axis=0)).all() and (placed <= outline.max(axis=0)).all())

    def free(self, pieces: list[Points]) -> bool:
        """Tell whether outlines fit: on the panels, and off other damage unless meant to touch it."""
        kinds = (BODY, BUMPER, LAMP, WHEEL) if self.near else (BODY, BUMPER)
        if not self.frame.shows(pieces, kinds):
            return False
        covered = float(self.frame.taken[self.frame.mask(pieces)].mean())
        return covered < (0.5 if self.near else 0.05)

    def dent(self) -> Damage | None:
        """Try a dent."""
        rng = self.frame.pen.rng
        outline = blob(rng, (0, 0), rng.uniform(0.15, 0.32), rng.uniform(0.13, 0.22))
        if not self.holds(outline):
            return None
        pixels = self.lift(outline)
        width, height = pixels.max(axis=0) - pixels.min(axis=0)
        if min(width, height) < 11 or not self.free([pixels]):
            return None
        return dent(self.frame.pen, pixels)

    def scratch(self) -> Damage | None:
        """Try a scratch, one in three a single thin line."""
        rng = self.frame.pen.rng
        heading = float(rng.normal(0, 0.3) + rng.choice([0, np.pi]))
        path = scratch_line(rng, np.zeros(2), rng.uniform(0.45, 1.3), heading)
        if not self.holds(path):
            return None
        line = self.lift(path)
        width = rng.uniform(2.6, 4.0) if rng.random() < 0.33 else rng.uniform(6.5, 12.0)
        band = scratch_band(line, float(width))
        if np.ptp(line, axis=0).max() < 24 or crosses_itself(band) or not self.free([line]):
            return None
        return scratch(self.frame.pen, line, float(width))

    def crack(self) -> Damage | None:
        """Try a crack, half of them in two pieces."""
        rng = self.frame.pen.rng
        lines = crack_lines(rng, np.zeros(2), rng.uniform(0.32, 0.6), rng.uniform(0, 2 * np.pi))
        if rng.random() < 0.5:
            gap = np.array([rng.uniform(0.22, 0.34), rng.uniform(-0.1, 0.1)])
            more = crack_lines(rng, np.zeros(2), 0.22, rng.uniform(0, 2 * np.pi))
            lines += [(line + gap, share) for line, share in more]
        if not all(self.holds(line) for line, _ in lines):
            return None
        drawn = [(self.lift(line), share) for line, share in lines]
        if not self.free([line for line, _ in drawn]):
            return None
        return crack(self.frame.pen, drawn, float(rng.uniform(3.6, 5.4)))


def panel_damage(frame: Frame, sites: list[Site], near: Points | None) -> Damage | None:
    """Draw one dent, scratch or crack.

    Args:
        frame: the picture so far.
        sites: panels and bumpers.
        near: ``(2,)`` pixel to stay close to, or None for anywhere.

    Returns:
        The damage, or None if no place was found.
    """
    rng = frame.pen.rng
    kind = str(rng.choice(["dent", "scratch", "crack"], p=[0.36, 0.34, 0.3]))
    sizes = np.array([abs(area(s.pixels)) for s in sites])
    for _ in range(TRIES):
        site = sites[int(rng.choice(len(sites), p=sizes / sizes.sum()))]
        low, high = site.outline.min(axis=0), site.outline.max(axis=0)
        spot = low + (high - low) * rng.uniform(0, 1, 2)
        if near is not None and np.linalg.norm(site.project(spot[None])[0] - near) > NEAR_PIXELS:
            continue
        place = Place(frame, site, spot, near is not None)
        damage = {"dent": place.dent, "scratch": place.scratch, "crack": place.crack}[kind]()
        if damage is not None:
            return damage
    return None
