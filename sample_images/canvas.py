"""A square drawing surface whose shapes come out round and softly lit.

Everything is measured in hundredths of the surface's side ("units"), with y pointing down, so that a shape reads
the same at every resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[np.float32]
Rgb = tuple[int, int, int]
Point = tuple[float, float]

# About four times the size at which an object ends up in a picture, so that scaling down smooths every edge.
SPRITE_PX = 512

# How far the eye looks down on a round object: the height of a circle seen from the side, over its width.
TILT = 0.13


def tint(rgb: Rgb, factor: float) -> Rgb:
    """Return the colour made darker (factor below 1) or lighter (above 1)."""
    red, green, blue = (max(0, min(255, round(part * factor))) for part in rgb)
    return red, green, blue


def blend(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Return a mix of two colours, with `share` of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def bend(start: Point, control: Point, end: Point, steps: int = 20) -> list[Point]:
    """Return points along the quadratic curve from start to end."""
    points = []
    for step in range(steps + 1):
        t = step / steps
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points.append((a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1]))
    return points


def leaf_outline(stem: Point, tip: Point, width: float, steps: int = 12) -> list[Point]:
    """Return the outline of a leaf that is pointed at both ends."""
    dx, dy = tip[0] - stem[0], tip[1] - stem[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
    across = (-dy / length, dx / length)
    outline = []
    for side in (1, -1):
        ordered = range(steps + 1) if side == 1 else range(steps, -1, -1)
        for step in ordered:
            t = step / steps
            reach = side * width / 2 * float(np.sin(np.pi * t**0.8))
            outline.append((stem[0] + dx * t + across[0] * reach, stem[1] + dy * t + across[1] * reach))
    return outline


@dataclass(frozen=True)
class Turned:
    """A body as from a potter's wheel, as the eye sees it.

    Attributes:
        mask: 1 where the body is.
        across: -1 at the left outline, 0 in front, 1 at the right outline.
        around: Distance along the surface from the front, in units.
        level: Height on the body's own axis, in units.
    """

    mask: Array
    across: Array
    around: Array
    level: Array


class Sprite:
    """One object on a transparent ground."""

    def __init__(self, side_px: int = SPRITE_PX) -> None:
        """Start with nothing on it."""
        self.side_px = side_px
        line = ((np.arange(side_px) + 0.5) * 100 / side_px).astype(np.float32)
        self.x, self.y = np.meshgrid(line, line)
        self.rgb: Array = np.zeros((side_px, side_px, 3), np.float32)
        self.alpha: Array = np.zeros((side_px, side_px), np.float32)

    def paint(self, mask: Array, rgb: Array | Rgb) -> None:
        """Lay a colour, or one colour per pixel, over what is there."""
        below = self.alpha * (1 - mask)
        total = below + mask
        # Weighted by what each layer covers: a half-transparent glow keeps its own colour on empty ground.
        share = (mask / np.maximum(total, 1e-6))[..., None]
        self.rgb = self.rgb * (1 - share) + np.asarray(rgb, np.float32) * share
        self.alpha = total

    def fill(self, points: Sequence[Point], rgb: Rgb) -> None:
        """Fill a polygon with one colour."""
        self._draw(points, rgb, 0.0)

    def stroke(self, points: Sequence[Point], width: float, rgb: Rgb) -> None:
        """Draw a line with round ends."""
        self._draw(points, rgb, width)

    def rod(self, points: Sequence[Point], width: float, rgb: Rgb) -> None:
        """Draw a line that looks round: dark at the edges, with a lighter core towards the light."""
        self.stroke(points, width, tint(rgb, 0.72))
        shifted = [(x - width * 0.1, y - width * 0.06) for x, y in points]
        self.stroke(shifted, width * 0.66, rgb)
        self.stroke([(x - width * 0.08, y) for x, y in shifted], width * 0.22, tint(rgb, 1.22))

    def ellipse(self, cx: float, cy: float, rx: float, ry: float) -> Array:
        """Return the mask of an ellipse."""
        return ((((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2) <= 1).astype(np.float32)

    def box(self, left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> Array:
        """Return the mask of a rectangle with round corners."""
        qx = np.abs(self.x - (left + right) / 2) - (right - left) / 2 + radius
        qy = np.abs(self.y - (top + bottom) / 2) - (bottom - top) / 2 + radius
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0)
        return (outside <= radius).astype(np.float32)

    def turned(self, cx: float, profile: Sequence[Point], tilt: float = TILT) -> Turned:
        """Return the body that a profile of (y, radius) points makes when it turns around the axis x = cx."""
        levels, radii = _smooth(profile)
        level = self.y
        # The front of a level circle lies lower in the picture than its sides. Which level a pixel shows has no
        # closed form, as the radius depends on the level; a few rounds come close enough.
        for _ in range(6):
            radius = np.interp(level, levels, radii).astype(np.float32)
            across = np.clip((self.x - cx) / radius, -1, 1)
            level = self.y - tilt * radius * np.sqrt(1 - across**2)
        inside = (np.abs(self.x - cx) <= radius) & (level >= levels[0]) & (level <= levels[-1])
        around = np.arcsin(across) * float(radii.max())
        return Turned(inside.astype(np.float32), across, around, level)

    def image(self) -> Image.Image:
        """Return the object as an RGBA picture, cut to its outline."""
        stacked = np.dstack([np.clip(self.rgb, 0, 255), self.alpha * 255]).round().astype(np.uint8)
        picture = Image.fromarray(stacked, "RGBA")
        return picture.crop(picture.getchannel("A").getbbox())

    def _draw(self, points: Sequence[Point], rgb: Rgb, width: float) -> None:
        """Fill or stroke on the smallest patch that holds the points: whole-surface masks would be slow."""
        scale = self.side_px / 100
        places = [(x * scale, y * scale) for x, y in points]
        margin = width * scale / 2 + 2
        left, top = (max(0, int(min(axis) - margin)) for axis in zip(*places, strict=True))
        right, bottom = (min(self.side_px, int(max(axis) + margin) + 1) for axis in zip(*places, strict=True))
        if right <= left or bottom <= top:
            return
        patch = Image.new("L", (right - left, bottom - top))
        pen = ImageDraw.Draw(patch)
        local = [(x - left, y - top) for x, y in places]
        if width:
            width_px = max(1, round(width * scale))
            # Pillow counts the pixels on an ellipse's edge as inside, so a round end is a pixel narrower.
            reach = (width_px - 1) / 2
            pen.line(local, fill=255, width=width_px, joint="curve")
            for x, y in (local[0], local[-1]):
                pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)
        else:
            pen.polygon(local, fill=255)
        mask = np.asarray(patch, np.float32) / 255
        part = (slice(top, bottom), slice(left, right))
        self.rgb[part] = self.rgb[part] * (1 - mask[..., None]) + np.asarray(rgb, np.float32) * mask[..., None]
        self.alpha[part] = np.maximum(self.alpha[part], mask)


def round_light(across: Array, gloss: float = 0.0) -> Array:
    """Return the brightness of a round body lit from the upper left."""
    facing = -0.5 * across + 0.86 * np.sqrt(np.maximum(0, 1 - across**2))
    light = 0.64 + 0.42 * np.maximum(facing, 0)
    return light + gloss * np.exp(-(((across + 0.52) / 0.13) ** 2))


def slope_light(sprite: Sprite, strength: float = 0.22) -> Array:
    """Return the brightness of a flat thing: lighter towards the upper left."""
    return 1.06 + strength * (0.5 - (sprite.x * 0.5 + sprite.y * 0.5) / 100)


def _smooth(profile: Sequence[Point]) -> tuple[Array, Array]:
    """Return a profile as many (level, radius) pairs on a smooth curve through its points."""
    ys, radii = (np.asarray(axis, np.float64) for axis in zip(*profile, strict=True))
    slopes = np.gradient(radii, ys)
    levels = np.linspace(ys[0], ys[-1], 200)
    part = np.clip(np.searchsorted(ys, levels, side="right") - 1, 0, len(ys) - 2)
    span = ys[part + 1] - ys[part]
    t = (levels - ys[part]) / span
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * radii[part]
        + (t**3 - 2 * t**2 + t) * span * slopes[part]
        + (3 * t**2 - 2 * t**3) * radii[part + 1]
        + (t**3 - t**2) * span * slopes[part + 1]
    )
    return levels.astype(np.float32), np.maximum(curve, 0.5).astype(np.float32)
