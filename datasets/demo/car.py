"""The car's shape in metres: x forward from the tail, y up from the ground, z out of the near side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .geometry import Points, Rng, densify, smooth

Lift = Callable[[Points], Points]


@dataclass(frozen=True)
class Shape:
    """Measures of one car."""

    length: float
    width: float
    height: float
    belt: float
    hood: float
    sill: float
    cowl: float
    roof_front: float
    roof_rear: float
    deck: float
    deck_height: float
    wheel: float
    axles: tuple[float, float]

    @property
    def top(self) -> list[tuple[float, float]]:
        """Profile of the cabin from the deck over the roof to the cowl."""
        return [(self.deck, self.belt), (self.roof_rear, self.height - 0.03), (self.roof_front, self.height)]


STYLES = {
    # height, belt, hood, cowl from nose, windscreen run, roof rear, deck, deck height
    "sedan": (1.45, 0.92, 0.74, 1.42, 0.72, 1.25, 0.62, 0.98),
    "hatch": (1.5, 0.93, 0.76, 1.2, 0.68, 0.55, 0.22, 0.95),
    "wagon": (1.5, 0.93, 0.76, 1.3, 0.7, 0.42, 0.16, 0.96),
    "suv": (1.7, 1.05, 0.92, 1.25, 0.6, 0.45, 0.18, 1.08),
    "coupe": (1.36, 0.88, 0.7, 1.5, 0.82, 1.5, 0.55, 0.93),
    "van": (1.86, 1.06, 0.95, 0.92, 0.72, 0.3, 0.14, 1.1),
}


def random_shape(rng: Rng) -> Shape:
    """Draw a body style and vary its measures."""
    style = list(STYLES)[int(rng.integers(len(STYLES)))]
    height, belt, hood, cowl, run, roof_rear, deck, deck_height = STYLES[style]
    length = {"hatch": 3.9, "suv": 4.4, "van": 4.5}.get(style, 4.45) * rng.uniform(0.95, 1.05)
    wheel = (0.37 if style == "suv" else 0.325) * rng.uniform(0.96, 1.06)
    x_cowl = length - cowl * rng.uniform(0.95, 1.05)
    return Shape(
        length=length,
        width=1.78,
        height=height * rng.uniform(0.97, 1.03),
        belt=belt,
        hood=hood,
        sill=wheel * 0.78,
        cowl=x_cowl,
        roof_front=x_cowl - run * rng.uniform(0.9, 1.1),
        roof_rear=roof_rear * rng.uniform(0.9, 1.15),
        deck=deck,
        deck_height=deck_height,
        wheel=wheel,
        axles=(0.8 * rng.uniform(0.95, 1.05), length - 0.84 * rng.uniform(0.95, 1.05)),
    )


class Car:
    """A car's outlines on its side and on the strips that run over its profile."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        s = shape
        self.front = self._curve(
            [(s.length - 0.1, s.sill - 0.03), (s.length, 0.36), (s.length, 0.54), (s.length - 0.03, 0.62)]
        )
        self.nose = self._curve([(s.length - 0.03, 0.62), (s.length - 0.05, 0.66), (s.length - 0.13, s.hood)])
        self.hood = self._curve(
            [(s.length - 0.13, s.hood), (s.length - 0.45, s.hood + 0.07), (s.cowl, s.belt + 0.02)]
        )
        self.screen = np.array([(s.cowl, s.belt + 0.02), (s.roof_front, s.height - 0.02)])
        self.roof = self._curve(
            [
                (s.roof_front, s.height - 0.02),
                ((s.roof_front * 2 + s.roof_rear) / 3, s.height),
                (s.roof_rear, s.height - 0.05),
            ]
        )
        self.back_glass = np.array([(s.roof_rear, s.height - 0.05), (s.deck, s.deck_height)])
        self.deck = np.array([(s.deck, s.deck_height), (0.06, s.deck_height - 0.03)])
        self.tail = self._curve([(0.06, s.deck_height - 0.03), (0.03, 0.8), (0.06, 0.64)])
        self.rear = self._curve([(0.06, 0.64), (0.0, 0.58), (0.0, 0.4), (0.1, s.sill - 0.03)])

    @staticmethod
    def _curve(points: list[tuple[float, float]]) -> Points:
        return smooth(np.array(points), 5)

    def half_width(self, x: Points, y: Points) -> Points:
        """Return how far the near side stands out at ``x``, ``y``: less at the ends and above the belt."""
        s = self.shape
        ends = 1 - 0.13 * np.abs((x - s.length / 2) / (s.length / 2)) ** 5
        cabin = np.clip((y - s.belt) / (s.height - s.belt), 0, 1)
        tuck = 0.04 * np.clip((0.5 - y) / 0.3, 0, 1)
        return s.width / 2 * ends * (1 - 0.2 * cabin - tuck)

    def side(self, points: Points) -> Points:
        """Lift ``(N, 2)`` (x, y) onto the near side."""
        x, y = points[:, 0], points[:, 1]
        return np.stack([x, y, self.half_width(x, y)], axis=1)

    def strip(self, profile: Points) -> Lift:
        """Return the map of (run along ``profile`` in metres, across as -1 to 1) onto the strip over it."""
        steps = np.linalg.norm(np.diff(profile, axis=0), axis=1)
        run = np.concatenate([[0], np.cumsum(steps)])

        def lift(points: Points) -> Points:
            x = np.interp(points[:, 0], run, profile[:, 0])
            y = np.interp(points[:, 0], run, profile[:, 1])
            return np.stack([x, y, points[:, 1] * self.half_width(x, y)], axis=1)

        return lift

    @staticmethod
    def run(profile: Points) -> float:
        """Return a profile's length in metres."""
        return float(np.linalg.norm(np.diff(profile, axis=0), axis=1).sum())

    def lower_side(self) -> Points:
        """Outline of the side below the belt line, wheel arches not cut out."""
        s = self.shape
        upper = np.array([(s.deck, s.deck_height), (s.deck + 0.1, s.belt), (s.cowl, s.belt + 0.02)])
        bottom = np.array([(s.length - 0.1, s.sill - 0.03), (0.1, s.sill - 0.03)])
        front = np.concatenate([self.hood[::-1], self.nose[::-1], self.front[::-1]])
        back = np.concatenate([self.rear[::-1], self.tail[::-1], self.deck[::-1]])
        return np.concatenate([upper, front, densify(bottom, 12)[:12], back])

    def cabin_side(self) -> Points:
        """Outline of the side above the belt line."""
        s = self.shape
        base = np.array([(s.cowl, s.belt), (s.deck, s.belt)])
        return np.concatenate(
            [
                densify(base, 8)[:9],
                np.array([(s.deck, s.deck_height)]),
                self.back_glass[:1],
                self.roof[::-1],
                self.screen[:1],
            ]
        )

    def windows(self) -> list[Points]:
        """Outlines of the side windows, front first."""
        s = self.shape
        top, low = s.height - 0.12, s.belt + 0.035
        split = (s.axles[0] + s.axles[1]) / 2 - 0.05

        def front_edge(y: float) -> float:
            share = (y - s.belt) / (s.height - s.belt)
            return s.cowl - 0.1 + (s.roof_front - s.cowl) * share

        def rear_edge(y: float) -> float:
            share = (y - s.deck_height) / (s.height - s.deck_height)
            return s.deck + 0.2 + (s.roof_rear - s.deck) * share

        front = np.array(
            [(split + 0.05, low), (front_edge(low), low), (front_edge(top), top), (split + 0.05, top)]
        )
        door = max(rear_edge(low), split - 1.0) if s.deck < 0.3 else rear_edge(low)
        lean = max(rear_edge(top), door + 0.02)
        rear = np.array([(door, low), (split - 0.05, low), (split - 0.05, top), (lean, top)])
        panes = [front, rear]
        if door - rear_edge(low) > 0.3:
            corner = min(rear_edge(top), lean - 0.16)
            panes.append(
                np.array([(rear_edge(low), low), (door - 0.09, low), (lean - 0.09, top), (corner, top)])
            )
        return panes
