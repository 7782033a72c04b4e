"""Colours, materials and the patterns that cover a product's surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from canvas import Array, Rgb

COLORS: dict[str, Rgb] = {
    "cream": (240, 228, 204),
    "blush": (232, 152, 164),
    "red": (186, 42, 50),
    "terracotta": (214, 116, 62),
    "mustard": (226, 174, 48),
    "sage": (146, 174, 130),
    "teal": (28, 134, 138),
    "navy": (38, 58, 112),
    "plum": (122, 60, 122),
    "charcoal": (68, 70, 76),
}

_OFF_WHITE: Rgb = (250, 245, 234)
# Light surfaces take a dark second colour, all others an off-white one: the pattern has to show at a glance.
_ACCENTS: dict[str, Rgb] = {"cream": (128, 92, 70), "blush": (255, 248, 244), "mustard": (255, 250, 232)}
_FLOWER_HEARTS: dict[str, Rgb] = {"mustard": (196, 92, 52), "terracotta": (250, 200, 90), "cream": (214, 140, 60)}

# What feet, handles, rims and frames are made of.
MATERIALS: dict[str, Rgb] = {
    "modern": (52, 53, 58),
    "rustic": (118, 78, 50),
    "scandinavian": (218, 180, 134),
    "boho": (203, 172, 124),
    "classic": (196, 156, 82),
}


@dataclass(frozen=True)
class Look:
    """How one product looks, apart from its shape."""

    color: str
    pattern: str
    style: str

    @property
    def base(self) -> Rgb:
        """The main colour."""
        return COLORS[self.color]

    @property
    def accent(self) -> Rgb:
        """The second colour, in which the pattern is drawn."""
        return _ACCENTS.get(self.color, _OFF_WHITE)

    @property
    def trim(self) -> Rgb:
        """The colour of feet, handles and frames."""
        return MATERIALS[self.style]

    def surface(self, u: Array, v: Array, period: float) -> Array:
        """Return the colour at each surface place (u, v); the pattern repeats every `period` units."""
        share, heart = PATTERNS[self.pattern](u / period, v / period)
        base, accent = np.asarray(self.base, np.float32), np.asarray(self.accent, np.float32)
        rgb = base + (accent - base) * share[..., None]
        middle = np.asarray(_FLOWER_HEARTS.get(self.color, (236, 178, 60)), np.float32)
        return rgb + (middle - rgb) * heart[..., None]


def _plain(u: Array, v: Array) -> tuple[Array, Array]:
    nothing = np.zeros_like(u + v)
    return nothing, nothing


def _striped(u: Array, v: Array) -> tuple[Array, Array]:
    share = ((v % 1) < 0.42).astype(np.float32)
    return share, np.zeros_like(share + u)


def _staggered(u: Array, v: Array) -> tuple[Array, Array]:
    """Return the place in the nearest cell of a grid whose every other row is shifted by half a cell."""
    row = np.floor(v)
    return (u + 0.5 * (row % 2)) % 1 - 0.5, v - row - 0.5


def _dotted(u: Array, v: Array) -> tuple[Array, Array]:
    x, y = _staggered(u, v)
    share = (np.hypot(x, y) < 0.29).astype(np.float32)
    return share, np.zeros_like(share)


def _checked(u: Array, v: Array) -> tuple[Array, Array]:
    # Gingham: two crossing bands, each half transparent, so the crossings come out brightest.
    share = 0.48 * ((u % 1) < 0.5).astype(np.float32) + 0.48 * ((v % 1) < 0.5).astype(np.float32)
    return share, np.zeros_like(share)


def _zigzag(u: Array, v: Array) -> tuple[Array, Array]:
    teeth = np.abs((u % 1) - 0.5) * 1.1
    share = (((v + teeth) % 1) < 0.4).astype(np.float32)
    return share, np.zeros_like(share)


def _floral(u: Array, v: Array) -> tuple[Array, Array]:
    x, y = _staggered(u * 0.86, v * 0.86)
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    petals = (distance < 0.29 + 0.14 * np.cos(5 * angle)).astype(np.float32)
    heart = (distance < 0.11).astype(np.float32)
    return petals, heart


PATTERNS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "zigzag": _zigzag,
    "floral": _floral,
}
