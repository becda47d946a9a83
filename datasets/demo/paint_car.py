"""Draws a whole car and notes where damage can sit on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .canvas import Canvas, Color
from .car import Car, Lift
from .geometry import Camera, Points, Rng, densify, ellipse, inset, smooth
from .look import Look, tone

BODY, BUMPER, GLASS, LAMP, WHEEL, OTHER = 1, 2, 3, 4, 5, 6
TRIM: Color = (44, 42, 41)
TYRE: Color = (34, 33, 33)


@dataclass
class Site:
    """A place where damage can sit: a region of a surface and the map from it to pixels."""

    kind: int
    outline: Points
    """Region in the surface's own coordinates, metres (across a strip: -1 to 1)."""
    project: Callable[[Points], Points]
    across: float = 1.0
    """Metres in one unit of the second coordinate."""
    tail: bool = False
    """Whether a lamp is a red one."""

    @property
    def pixels(self) -> Points:
        """The region's outline in the picture."""
        return self.project(self.outline)


@dataclass
class Painter:
    """Paints one car on a canvas."""

    canvas: Canvas
    camera: Camera
    car: Car
    look: Look
    rng: Rng
    sites: list[Site] = field(default_factory=list)

    def on_side(self, points: Points) -> Points:
        """Map (x, y) on the near side to pixels."""
        return self.camera.project(self.car.side(points))

    def through(self, lift: Lift) -> Callable[[Points], Points]:
        """Return the map from a surface's coordinates to pixels."""
        return lambda points: self.camera.project(lift(points))

    def faces_camera(self, profile: Points) -> bool:
        """Tell whether the strip over ``profile`` is seen from outside, and not too flat to draw on."""
        middle = (profile[0] + profile[-1]) / 2
        along = profile[-1] - profile[0]
        outward = np.array([along[1], -along[0], 0.0])
        to_camera = self.camera.position - np.array([middle[0], middle[1], 0.0])
        cosine = outward @ to_camera / (np.linalg.norm(outward) * np.linalg.norm(to_camera))
        return bool(cosine > 0.02)

    def strip(self, profile: Points, color: Color, part: int, site: int | None = None) -> None:
        """Paint the strip over ``profile``; with ``site`` damage may sit on it."""
        if not self.faces_camera(profile):
            return
        length = self.car.run(profile)
        corners = np.array([(0.0, -1.0), (length, -1.0), (length, 1.0), (0.0, 1.0)])
        project = self.through(self.car.strip(profile))
        outline = project(densify(corners, 12))
        axis = project(np.array([(0.0, 0.0), (length, 0.0)]))
        glassy = part == GLASS
        ends = (tone(color, 0.9), tone(color, 1.1, 0.16 if glassy else 0.06))
        self.canvas.shade(outline, axis, [(0, ends[0]), (1, ends[1])], part=part)
        if site is not None:
            self.sites.append(Site(site, inset(corners, 0.1), project, across=self.car.shape.width / 2))

    def paint(self) -> list[Site]:
        """Draw the car and return its sites."""
        self._shadow()
        self._far_wheels()
        self._strips()
        self._side()
        self._windows()
        self._side_details()
        self._ends()
        return self.sites

    def _shadow(self) -> None:
        s = self.car.shape
        for grow, alpha in ((0.35, 0.35), (0.02, 0.6)):
            w = s.width / 2 + grow
            end = s.length + grow
            corners = np.array([(-grow, 0, -w), (end, 0, -w), (end, 0, w), (-grow, 0, w)])
            self.canvas.paint(self.camera.project(densify(corners, 4)), (22, 22, 22), alpha, feather=3.0)

    def _far_wheels(self) -> None:
        s = self.car.shape
        for x in s.axles:
            for z in (-s.width / 2 + 0.25, -s.width / 2 + 0.02):
                ring = ellipse((x, s.wheel), s.wheel, s.wheel, 28)
                self.canvas.paint(self.camera.project(np.c_[ring, np.full(28, z)]), (20, 20, 20))
        under = np.array([(0.4, s.sill), (s.length - 0.5, s.sill), (s.length - 0.6, 0.12), (0.5, 0.12)])
        for z in (-s.width / 2 + 0.1, s.width / 2 - 0.25):
            self.canvas.paint(self.camera.project(np.c_[under, np.full(4, z)]), (16, 16, 16))

    def _strips(self) -> None:
        paint, car = self.look.paint, self.car
        glass = (92, 84, 74)
        self.strip(car.rear, tone(paint, 0.72), BUMPER, BUMPER)
        self.strip(car.tail, tone(paint, 0.86), BODY, BODY)
        self.strip(car.deck, tone(paint, 1.02, 0.12), BODY)
        self.strip(car.back_glass, glass, GLASS, GLASS)
        self.strip(car.roof, tone(paint, 1.05, 0.2), BODY)
        self.strip(car.screen, glass, GLASS, GLASS)
        self.strip(car.hood, tone(paint, 1.02, 0.14), BODY, BODY)
        self.strip(car.nose, tone(paint, 0.88), BODY)
        self.strip(car.front, tone(paint, 0.74), BUMPER, BUMPER)

    def _side(self) -> None:
        s, paint = self.car.shape, self.look.paint
        middle = s.length / 2
        axis = self.on_side(np.array([(middle, s.belt + 0.05), (middle, s.sill)]))
        cabin = self.on_side(densify(self.car.cabin_side(), 2))
        self.canvas.paint(cabin, tone(paint, 0.95, 0.05), part=BODY)
        lower = self.on_side(densify(self.car.lower_side(), 2))
        stops = [
            (0.0, tone(paint, 1.08, 0.16)),
            (0.12, tone(paint, 1.0, 0.04)),
            (0.45, tone(paint, 0.92)),
            (0.62, tone(paint, 0.72)),
            (1.0, tone(paint, 0.58)),
        ]
        self.canvas.shade(lower, axis, stops, part=BODY)
        knots = [(0.1, s.belt - 0.14), (middle, s.belt - 0.11), (s.length - 0.25, s.hood - 0.03)]
        crease = smooth(np.array(knots))
        for shift, factor, alpha in ((0.0, 1.3, 0.45), (-0.025, 0.6, 0.35)):
            self._stroke(
                crease + [0, shift], 0.016, tone(paint, factor, 0.2 if factor > 1 else 0.0), alpha, BODY
            )
        low, high = s.sill + 0.12, s.belt - 0.05
        region = np.array([(0.12, low), (s.length - 0.2, low), (s.length - 0.3, s.hood - 0.06), (0.12, high)])
        self.sites.append(Site(BODY, region, self.on_side))

    def _stroke(
        self, line: Points, width: float, color: Color, alpha: float, part: int | None = None
    ) -> None:
        offset = np.array([0.0, width / 2])
        outline = np.concatenate([line + offset, (line - offset)[::-1]])
        self.canvas.paint(self.on_side(outline), color, alpha)

    def _windows(self) -> None:
        panes = self.car.windows()
        frame = tone(self.look.paint, 0.4)
        sky = tone(self.look.sky, 0.72)
        for pane in panes:
            self.canvas.paint(self.on_side(densify(inset(pane, -0.035), 5)), frame, part=OTHER)
            outline = self.on_side(densify(pane, 5))
            axis = np.array([outline[:, 1].argmin(), outline[:, 1].argmax()])
            stops = [(0.0, sky), (0.35, (104, 94, 82)), (0.4, (64, 58, 52)), (1.0, (46, 42, 40))]
            self.canvas.shade(outline, outline[axis], stops, part=GLASS)
            low, high = pane.min(axis=0), pane.max(axis=0)
            at = self.rng.uniform(0.2, 0.7)
            x0 = low[0] + (high[0] - low[0]) * at
            glare = np.array([(0.0, low[1]), (0.16, low[1]), (0.34, high[1]), (0.18, high[1])]) + [x0, 0]
            beam = self.on_side(densify(glare, 4))
            self.canvas.paint(beam, (240, 236, 230), 0.2, feather=0.6, within=outline)
            self.sites.append(Site(GLASS, densify(pane, 5), self.on_side))

    def _side_details(self) -> None:
        s, paint = self.car.shape, self.look.paint
        seam = tone(paint, 0.34)
        split = (s.axles[0] + s.axles[1]) / 2 - 0.05
        for x in (s.cowl - 0.02, split, max(split - 0.98, s.axles[0] + 0.12)):
            y0 = s.sill + 0.06 if abs(x - s.axles[0]) > s.wheel * 1.3 else s.wheel * 1.9
            line = np.array([(x, y0), (x + 0.012, y0), (x + 0.03, s.belt), (x + 0.018, s.belt)])
            self.canvas.paint(self.on_side(densify(line, 6)), seam, 0.85)
        for x in (split + 0.1, split - 0.86):
            handle = np.array([(0, -0.19), (0.2, -0.18), (0.2, -0.14), (0, -0.15)]) + [x, s.belt]
            self.canvas.paint(self.on_side(densify(handle, 3)), tone(paint, 0.5), 0.9, part=OTHER)
        skirt = np.array(
            [(0.9, s.sill - 0.03), (s.length - 0.9, s.sill - 0.03), (s.length - 0.9, s.sill + 0.06)]
        )
        skirt = np.concatenate([skirt, [(0.9, s.sill + 0.06)]])
        self.canvas.paint(self.on_side(densify(skirt, 10)), TRIM, 0.85, part=OTHER)
        mirror = self.car.side(ellipse((s.cowl - 0.26, s.belt + 0.07), 0.1, 0.075, 20)) + [0, 0, 0.16]
        self.canvas.paint(self.camera.project(mirror), tone(paint, 0.8), part=OTHER)
        for x in s.axles:
            arch = ellipse((x, s.wheel + 0.01), s.wheel * 1.17, s.wheel * 1.17, 44)
            self.canvas.paint(self.on_side(arch[arch[:, 1] > s.sill - 0.05]), (18, 18, 18), part=OTHER)

    def _ends(self) -> None:
        """Draw lamps, grille and plates, and note the lamps."""
        car, s = self.car, self.car.shape
        if self.faces_camera(car.nose):
            self._on_strip(car.nose, (0.02, 0.88), (-0.52, 0.52), (28, 27, 27))
            self._on_strip(car.front, (0.5, 0.72), (-0.7, 0.7), (32, 31, 30))
            self._on_strip(car.front, (0.66, 0.94), (-0.26, 0.26), (214, 220, 222))
        if self.faces_camera(car.tail):
            self._on_strip(car.tail, (0.62, 0.95), (-0.27, 0.27), (214, 220, 222))
        wide, nose = self.rng.uniform(0.3, 0.46), s.length
        head = np.array(
            [
                (nose - 0.06, 0.63),
                (nose - wide, 0.66),
                (nose - wide - 0.04, s.hood),
                (nose - 0.13, s.hood - 0.01),
            ]
        )
        tall = self.rng.uniform(0.16, 0.26)
        top = s.deck_height - 0.06
        tail = np.array([(0.05, top), (0.05, top - tall), (0.33, top - tall + 0.02), (0.28, top)])
        for outline, red in ((head, False), (tail, True)):
            self.sites.append(Site(LAMP, densify(outline, 5), self.on_side, tail=red))
        if self.faces_camera(car.nose):
            self._strip_lamp(car.nose, (-0.96, -0.56), False)
        if self.faces_camera(car.tail):
            self._strip_lamp(car.tail, (-0.98, -0.6), True)

    def _on_strip(
        self, profile: Points, along: tuple[float, float], across: tuple[float, float], color: Color
    ) -> None:
        length = self.car.run(profile)
        (a, b), (c, d) = along, across
        box = np.array([(a * length, c), (b * length, c), (b * length, d), (a * length, d)])
        self.canvas.paint(self.through(self.car.strip(profile))(densify(box, 6)), color, part=OTHER)

    def _strip_lamp(self, profile: Points, across: tuple[float, float], tail: bool) -> None:
        length, (c, d) = self.car.run(profile), across
        outer, inner = (0.62, 0.55) if tail else (1.0, 0.9)
        box = np.array([(0.02, c), (length * outer, c), (length * inner, d), (0.02, d)])
        project = self.through(self.car.strip(profile))
        self.sites.append(Site(LAMP, densify(box, 5), project, self.car.shape.width / 2, tail))
