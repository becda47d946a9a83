"""Curves, outlines and the camera. Points are float64 ``(N, 2)`` or ``(N, 3)`` arrays."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Rng = np.random.Generator


def smooth(points: Points, per_segment: int = 6, closed: bool = False) -> Points:
    """Run a Catmull-Rom curve through the points.

    Args:
        points: ``(N, D)`` knots, N of 2 or more.
        per_segment: samples between two knots.
        closed: whether the curve returns to its first knot.

    Returns:
        ``(M, D)`` samples along the curve, every knot among them.
    """
    p = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([p[-1:], p, p[:2]])
    else:
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = (np.arange(per_segment) / per_segment)[None, :, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    samples = curve.reshape(-1, p.shape[1])
    return samples if closed else np.concatenate([samples, p[-1:]])


def densify(points: Points, steps: int = 4) -> Points:
    """Cut every edge of a closed outline into ``steps`` straight pieces, so that a projection can bend it."""
    p = np.asarray(points, dtype=np.float64)
    t = (np.arange(steps) / steps)[None, :, None]
    return (p[:, None] * (1 - t) + np.roll(p, -1, axis=0)[:, None] * t).reshape(-1, p.shape[1])


def inset(points: Points, amount: float) -> Points:
    """Shrink a closed outline towards its mean by the fraction ``amount``."""
    p = np.asarray(points, dtype=np.float64)
    return p + (p.mean(axis=0) - p) * amount


def ellipse(center: tuple[float, float], rx: float, ry: float, count: int = 40) -> Points:
    """Return ``(count, 2)`` points of an ellipse."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([center[0] + rx * np.cos(angle), center[1] + ry * np.sin(angle)], axis=1)


def blob(rng: Rng, center: tuple[float, float], rx: float, ry: float, wobble: float = 0.2) -> Points:
    """Return a smooth irregular closed outline around ``center``, turned by up to 30 degrees."""
    count = int(rng.integers(7, 11))
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 1 + rng.uniform(-wobble, wobble, count)
    knots = np.stack([rx * radius * np.cos(angle), ry * radius * np.sin(angle)], axis=1)
    turn = rng.uniform(-0.5, 0.5)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return smooth(knots @ rotation + np.asarray(center), 5, closed=True)


def normals(line: Points) -> Points:
    """Return unit normals along an open line."""
    tangent = np.gradient(line, axis=0)
    length = np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / length


def ribbon(line: Points, width: NDArray[np.float64] | float) -> Points:
    """Widen an open line to a closed outline.

    Args:
        line: ``(N, 2)`` centre line.
        width: full width, one for all or ``(N,)`` along the line.

    Returns:
        ``(2N, 2)`` outline.
    """
    half = normals(line) * np.broadcast_to(np.asarray(width, dtype=np.float64) / 2, (len(line),))[:, None]
    return np.concatenate([line + half, (line - half)[::-1]])


def wander(rng: Rng, start: Points, heading: float, length: float, steps: int, bend: float) -> Points:
    """Walk ``length`` from ``start`` in ``steps`` steps, each turned by an angle of deviation ``bend``."""
    angles = heading + np.cumsum(rng.normal(0, bend, steps))
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / steps)
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


def area(points: Points) -> float:
    """Return the signed area of a closed outline."""
    x, y = points[:, 0], points[:, 1]
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def crosses_itself(points: Points) -> bool:
    """Tell whether two edges of a closed outline cross."""
    ends = np.roll(points, -1, axis=0)

    def side(p: Points) -> Points:
        """Tell on which side of each edge (rows) each point (columns) lies."""
        along, to = (ends - points)[:, None], p[None] - points[:, None]
        return np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])

    apart = side(points) * side(ends) < 0
    return bool((apart & apart.T).any())


def outline_mask(polygons: list[Points], height: int, width: int, scale: float = 1.0) -> NDArray[np.uint8]:
    """Fill closed outlines given in continuous pixel coordinates.

    Args:
        polygons: outlines, each ``(N, 2)``; (0, 0) is the corner of the first pixel.
        height: rows of the mask.
        width: columns of the mask.
        scale: mask pixels per coordinate unit.

    Returns:
        ``(height, width)`` uint8, 255 inside with smooth edges.
    """
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        fixed = np.round((polygon * scale - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 8)
    return mask


@dataclass(frozen=True)
class Camera:
    """A pinhole camera looking at a car, and the fit of its picture into the frame."""

    position: Points
    axes: Points
    zoom: float
    offset: Points

    @staticmethod
    def looking_at(target: Points, azimuth: float, elevation: float, distance: float) -> Camera:
        """Place a camera around ``target``; angles in radians, 0 azimuth is square to the car's side."""
        direction = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
        up = np.cross(direction, right)
        return Camera(target + distance * direction, np.stack([right, -up, -direction]), 1.0, np.zeros(2))

    def project(self, points: Points) -> Points:
        """Map ``(N, 3)`` metres to ``(N, 2)`` continuous pixel coordinates."""
        seen = (points - self.position) @ self.axes.T
        depth = np.maximum(seen[:, 2:], 0.05)
        return seen[:, :2] / depth * self.zoom + self.offset

    def depth(self, points: Points) -> Points:
        """Return ``(N,)`` metres from the camera along its line of sight."""
        return (points - self.position) @ self.axes[2]

    def in_front(self, a: Points, b: Points, nearest: float = 0.5) -> tuple[Points, Points] | None:
        """Cut the segment ``a`` to ``b`` to what lies beyond ``nearest`` metres, None if nothing does."""
        near, far = self.depth(np.stack([a, b]))
        if max(near, far) <= nearest:
            return None
        cut = a + (b - a) * np.clip((nearest - near) / (far - near if far != near else 1.0), 0, 1)
        return (cut if near < nearest else a), (cut if far < nearest else b)

    def fitted(self, points: Points, focus: Points, size: tuple[int, int], fill: float) -> Camera:
        """Zoom until ``points`` span ``fill`` times the frame and put ``focus`` in its middle.

        Args:
            points: ``(N, 3)`` of the whole car.
            focus: ``(2,)`` place within the car's picture: (0, 0) its top left, (1, 1) its bottom right.
            size: frame (width, height).
            fill: 1 fills the frame's tighter side.
        """
        flat = self.project(points)
        low, high = flat.min(axis=0), flat.max(axis=0)
        zoom = fill * float(np.min(np.asarray(size) / (high - low)))
        center = (low + (high - low) * focus) * zoom
        return Camera(self.position, self.axes, zoom, np.asarray(size) / 2 - center)
