"""Puts one picture together: place, car, damage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .car import Car, random_shape
from .damage import Damage, Pen, glass_shatter, lamp_broken
from .geometry import Camera, Rng, area, blob
from .look import draw_scene, photograph, random_look
from .paint_car import BODY, BUMPER, GLASS, LAMP, Painter, Site
from .panels import TRIES, Frame, panel_damage
from .parts import draw_lamp, draw_wheel, squash_lines

EMPTY_SHARE = 0.08


@dataclass
class Scene:
    """A finished picture, ``(H, W, 3)`` uint8 BGR, and what is damaged in it."""

    picture: np.ndarray
    damages: list[Damage]


class SceneMaker:
    """Draws one scene from its own generator."""

    def __init__(self, rng: Rng, width: int, height: int) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.canvas = Canvas(width, height)
        self.look = random_look(rng)
        self.car = Car(random_shape(rng))
        self.camera = self._camera()
        self.pen = Pen(self.canvas, self.look, rng)
        self.frame = Frame(self.pen, np.zeros((height, width), bool))
        self.damages: list[Damage] = []

    def _camera(self) -> Camera:
        rng, s = self.rng, self.car.shape
        azimuth = float(np.clip(rng.normal(0, 0.42), -0.9, 0.9))
        target = np.array([s.length / 2, 0.6, 0.0])
        camera = Camera.looking_at(target, azimuth, rng.uniform(0.07, 0.3), rng.uniform(6.0, 9.0))
        corners = np.stack(np.meshgrid([0, s.length], [0, s.height], [-0.9, 0.9]), axis=-1).reshape(-1, 3)
        size = (self.width, self.height)
        if rng.random() < 0.3:
            return camera.fitted(corners, np.array([0.5, 0.48]), size, rng.uniform(0.88, 0.99))
        end = rng.choice([rng.uniform(0.24, 0.4), rng.uniform(0.6, 0.76)])
        return camera.fitted(corners, np.array([end, 0.52]), size, rng.uniform(1.15, 1.8))

    def make(self) -> Scene:
        """Draw the scene."""
        rng = self.rng
        draw_scene(self.canvas, rng, self.camera, self.look, -self.car.shape.width / 2)
        damaged = bool(rng.random() >= EMPTY_SHARE)
        sites = Painter(self.canvas, self.camera, self.car, self.look, rng).paint()
        self._wheels(0.45 if damaged else 0.0)
        self._lamps([s for s in sites if s.kind == LAMP], 0.5 if damaged else 0.0)
        if damaged:
            self._glass([s for s in sites if s.kind == GLASS])
            self._panels([s for s in sites if s.kind in (BODY, BUMPER)])
        picture, damages = self.canvas.finished(), self.damages
        if rng.random() < 0.5:
            picture = np.ascontiguousarray(picture[:, ::-1])
            damages = [self._mirrored(d) for d in damages]
        return Scene(photograph(rng, picture, self.look), damages)

    def _mirrored(self, damage: Damage) -> Damage:
        pieces = [np.stack([self.width - p[:, 0], p[:, 1]], axis=1)[::-1] for p in damage.pieces]
        return Damage(damage.label, pieces, damage.rectangle)

    def _keep(self, damage: Damage | None) -> None:
        if damage is not None and damage.pieces:
            self.damages.append(damage)
            self.frame.taken |= self.frame.mask(damage.pieces)

    def _wheels(self, chance: float) -> None:
        """Draw both near wheels, at most one of them without air."""
        flat = 0.0
        for axle in (1, 0):
            x = self.car.shape.axles[axle]
            room = np.array([[x + d, y, 0.87] for d in (-0.5, 0.5) for y in (0.0, 0.7)])
            want = not flat and self.rng.random() < chance and self.frame.inside(self.camera.project(room))
            sunk = float(self.rng.uniform(0.2, 0.33)) if want else 0.0
            outline = draw_wheel(self.canvas, self.camera, self.car, self.rng, axle, sunk)
            if sunk:
                flat = sunk
                squash_lines(self.canvas, outline, self.rng)
                self._keep(Damage("tire_flat", [outline]))

    def _lamps(self, sites: list[Site], chance: float) -> None:
        for site in sites:
            draw_lamp(self.canvas, site)
        for site in sites:
            pixels = site.pixels
            if self.frame.inside(pixels) and abs(area(pixels)) > 130 and self.rng.random() < chance:
                self._keep(lamp_broken(self.pen, site, pixels))

    def _glass(self, sites: list[Site]) -> None:
        for site in sites:
            if abs(area(site.pixels)) > 700 and self.rng.random() < 0.34:
                self._shatter(site)

    def _shatter(self, site: Site) -> None:
        """Look for a place on a pane and shatter it there."""
        rng, pane = self.rng, site.pixels
        low, high = site.outline.min(axis=0), site.outline.max(axis=0)
        for _ in range(TRIES):
            center = low + (high - low) * rng.uniform(0.25, 0.75, 2)
            reach = rng.uniform(0.2, 0.38)
            around = blob(rng, (center[0], center[1]), reach, reach * 0.9 / site.across, 0.25)
            spread = site.project(around)
            if not self.frame.shows([spread], (GLASS,), 0.6) or np.ptp(spread, axis=0).min() < 14:
                continue
            middle = site.project(center[None])[0]
            self._keep(glass_shatter(self.pen, pane, middle, spread))
            return

    def _panels(self, sites: list[Site]) -> None:
        """Draw dents, scratches and cracks, some on top of the one before."""
        rng = self.rng
        big = [s for s in sites if abs(area(s.pixels)) > 1500]
        wanted = int(rng.integers(1, 6)) if self.damages else int(rng.integers(2, 6))
        for _ in range(wanted if big else 0):
            touching = bool(self.damages) and rng.random() < 0.35
            near = self.damages[-1].pieces[0].mean(axis=0) if touching else None
            self._keep(panel_damage(self.frame, big, near))


def make_scene(seed: int, index: int, width: int = 384, height: int = 256) -> Scene:
    """Draw picture ``index`` of the set ``seed``; the same numbers draw the same picture."""
    return SceneMaker(np.random.default_rng([seed, index]), width, height).make()
