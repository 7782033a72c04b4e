"""Lamp, chair, cushion, rug and clock."""

from __future__ import annotations

import math
import random

import numpy as np
from canvas import Array, Point, Rgb, Sprite, bend, round_light, slope_light, tint
from patterns import Look

_SHADES: dict[str, list[Point]] = {
    "modern": [(8, 30), (46, 30)],
    "rustic": [(8, 14), (48, 40)],
    "scandinavian": [(10, 34), (40, 34)],
    "boho": [(8, 12), (16, 26), (30, 35), (44, 38)],
    "classic": [(6, 18), (28, 25), (48, 38)],
}

_LAMP_FEET: dict[str, list[Point]] = {
    "modern": [(44, 1.8), (88, 1.8), (90, 20), (94, 21)],
    "rustic": [(44, 5), (60, 5), (66, 9), (76, 9), (84, 6), (88, 18), (94, 19)],
    "boho": [(44, 3), (54, 4), (64, 15), (78, 18), (90, 11), (94, 11)],
    "classic": [(44, 3), (54, 4), (60, 13), (70, 16), (82, 8), (87, 7), (89, 17), (94, 19)],
}


def draw_lamp(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a table lamp that is on; the shade carries colour and pattern."""
    if look.style == "scandinavian":
        for foot in (-22, 22, 2):
            sprite.rod([(50 + foot * 0.1, 40), (50 + foot, 94 - (foot == 2) * 3)], 4.0, look.trim)
    else:
        stand = sprite.turned(50, _LAMP_FEET[look.style], tilt=0.1)
        rgb = look.base if look.style in ("boho", "classic") else look.trim
        sprite.paint(stand.mask, np.asarray(rgb, np.float32) * round_light(stand.across, 0.3)[..., None])
        if look.style == "classic":
            ends = stand.mask * ((stand.level > 84) | (stand.level < 57))
            sprite.paint(ends, np.asarray(look.trim, np.float32) * round_light(stand.across, 0.3)[..., None])
    shade = sprite.turned(50, _SHADES[look.style], tilt=0.07)
    if look.style == "boho":
        _tassels(sprite, [50 + 36 * math.sin(step * 0.24) for step in range(-6, 7)], 45, 7.5, look.trim)
    # The bulb shines through the cloth: brightest in the middle, hardly any shade at the sides.
    bulb = np.exp(-((shade.across / 0.75) ** 2) - ((shade.level - 32) / 20) ** 2)
    light = 0.82 + 0.12 * round_light(shade.across) + 0.2 * bulb
    rgb_shade = look.surface(shade.around, shade.level, 15.0) * light[..., None]
    sprite.paint(shade.mask, rgb_shade + bulb[..., None] * np.asarray((22, 14, 0), np.float32))
    bottom, top = _SHADES[look.style][-1][0], _SHADES[look.style][0][0]
    hems = shade.mask * ((shade.level > bottom - 1.6) | (shade.level < top + 1.4))
    sprite.paint(hems, tint(look.base, 0.78))


def _tassels(sprite: Sprite, xs: list[float], top: float, length: float, rgb: Rgb) -> None:
    for x in xs:
        sprite.stroke([(x, top), (x, top + length)], 2.2, rgb)
        sprite.stroke([(x, top + length * 0.4), (x, top + length)], 2.6, tint(rgb, 1.15))


def draw_chair(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a chair from the front; back and seat carry colour and pattern."""
    wide = look.style == "classic"
    leg_width = {"modern": 2.8, "rustic": 5.5, "scandinavian": 4.2, "boho": 4.0, "classic": 5.0}[look.style]
    splay = {"modern": 4, "rustic": 0, "scandinavian": 6, "boho": 3, "classic": 0}[look.style]
    wood = (92, 58, 38) if wide else look.trim
    for side in (-1, 1):
        sprite.rod([(50 + side * 18, 66), (50 + side * (18 + splay * 0.6), 90)], leg_width * 0.9, tint(wood, 0.7))
    _chair_back(sprite, look)
    for side in (-1, 1):
        sprite.rod([(50 + side * 27, 68), (50 + side * (27 + splay), 95)], leg_width, wood)
    if look.style == "rustic":
        sprite.rod([(24, 82), (76, 82)], 3.2, wood)
    _chair_seat(sprite, look)
    if look.style in ("classic", "boho"):
        _chair_arms(sprite, look)


def _cover(sprite: Sprite, mask: Array, look: Look, light: Array, shift: float = 0.0) -> None:
    """Cover a flat part with the product's pattern."""
    sprite.paint(mask, look.surface(sprite.x + shift, sprite.y, 14.0) * light[..., None])


def _chair_back(sprite: Sprite, look: Look) -> None:
    light = slope_light(sprite) - 0.14 * np.clip((sprite.y - 46) / 12, 0, 1)
    if look.style == "modern":
        _cover(sprite, sprite.box(24, 8, 76, 72, 18), look, light)
    elif look.style == "scandinavian":
        for side in (-1, 1):
            sprite.rod([(50 + side * 25, 64), (50 + side * 27, 14)], 4.2, look.trim)
        _cover(sprite, sprite.box(18, 8, 82, 40, 15), look, light)
    elif look.style == "rustic":
        for side in (-1, 1):
            sprite.rod([(50 + side * 27, 66), (50 + side * 27, 5)], 5.5, look.trim)
        sprite.rod([(23, 10), (77, 10)], 6, look.trim)
        _cover(sprite, sprite.box(27, 16, 73, 50, 3), look, light)
        sprite.rod([(25, 56), (75, 56)], 4, look.trim)
    elif look.style == "boho":
        sprite.paint(sprite.ellipse(50, 36, 37, 33), np.asarray(look.trim, np.float32) * light[..., None])
        sprite.paint(sprite.ellipse(50, 36, 34.5, 30.5), tint(look.trim, 0.75))
        _cover(sprite, sprite.ellipse(50, 36, 33, 29), look, light)
    else:
        outline = [(22, 70), (20, 18), *bend((20, 18), (50, -6), (80, 18)), (78, 70)]
        sprite.fill(outline, tint(look.trim, 0.8))
        wing = sprite.box(22.5, 14, 77.5, 70, 8) + sprite.ellipse(50, 20, 27, 13.5)
        _cover(sprite, np.minimum(wing, 1), look, light)


def _chair_seat(sprite: Sprite, look: Look) -> None:
    depth = np.clip((sprite.y - 54) / 9, 0, 1)
    half = 26 + 6 * depth
    top = ((np.abs(sprite.x - 50) <= half) & (sprite.y >= 54) & (sprite.y <= 64)).astype(np.float32)
    # The seat lies flat, so its pattern is seen from a low angle: squeeze it in y.
    cloth = look.surface((sprite.x - 50) / half * 30 + 50, sprite.y * 1.8, 14.0)
    sprite.paint(top, cloth * (1.12 - 0.1 * depth)[..., None])
    front = sprite.box(17.5, 62, 82.5, 73 if look.style == "classic" else 70, 3.5)
    _cover(sprite, front, look, slope_light(sprite) * (0.94 - 0.02 * (sprite.y - 62)))


def _chair_arms(sprite: Sprite, look: Look) -> None:
    for side in (-1, 1):
        x = 50 + side * 36
        if look.style == "boho":
            arm = bend((50 + side * 34, 42), (50 + side * 46, 50), (50 + side * 33, 66))
            sprite.rod(arm, 4.2, look.trim)
            continue
        arm_mask = np.minimum(sprite.box(x - 7, 42, x + 7, 74, 3) + sprite.ellipse(x, 43, 8.4, 7.4), 1)
        _cover(sprite, arm_mask, look, slope_light(sprite) * (1 - 0.02 * np.abs(sprite.x - x + 2)), shift=3.0)
        sprite.paint(sprite.ellipse(x, 43, 3, 2.8), tint(look.base, 0.8))


def draw_cushion(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a plump cushion: square, wide or round."""
    half_x, half_y = {"rustic": (46, 28), "classic": (41, 41)}.get(look.style, (40, 40))
    x, y = (sprite.x - 50) / half_x, (sprite.y - 52) / half_y
    if look.style == "classic":
        reach = np.hypot(x, y)
    else:
        # The middles of the edges are pulled in, which leaves pointed corners.
        pull = 0.11
        reach_x = np.abs(x) / (1 - pull * np.cos(np.pi / 2 * np.clip(y, -1, 1)))
        reach_y = np.abs(y) / (1 - pull * np.cos(np.pi / 2 * np.clip(x, -1, 1)))
        reach = np.maximum(reach_x, reach_y)
    if look.style == "boho":
        _corner_tassels(sprite, look, half_x, half_y)
    sprite.paint((reach <= 1).astype(np.float32), tint(look.base, 0.8))
    plump = np.sqrt(np.clip(1 - reach**2.4, 0, 1))
    light = 0.7 + 0.3 * plump - 0.13 * x - 0.13 * y
    if look.style == "classic":
        # Cloth gathered under the middle button falls in folds.
        light += 0.07 * np.sin(22 * np.arctan2(y, x)) * np.clip(1.25 - reach, 0, 1) * np.clip(reach * 5, 0, 1)
    bulge = 1 - 0.16 * (1 - np.clip(x * x + y * y, 0, 1))
    cloth = look.surface((sprite.x - 50) * bulge + 50, (sprite.y - 52) * bulge + 50, 17.0)
    sprite.paint((reach <= 0.965).astype(np.float32), cloth * light[..., None])
    _buttons(sprite, look)


def _corner_tassels(sprite: Sprite, look: Look, half_x: float, half_y: float) -> None:
    for sx in (-1, 1):
        for sy in (-1, 1):
            corner = (50 + sx * half_x * 0.97, 52 + sy * half_y * 0.97)
            for spread in (-2.5, 0, 2.5):
                end = (corner[0] + sx * 5 + spread * 0.6, corner[1] + sy * 4 + spread * 0.6 + 2)
                sprite.stroke([corner, end], 2.0, tint(look.trim, 1.1))


def _buttons(sprite: Sprite, look: Look) -> None:
    spots = {"classic": [(50.0, 52.0)], "rustic": [(22.0, 52.0), (78.0, 52.0)]}.get(look.style, [])
    for x, y in spots:
        sprite.paint(sprite.ellipse(x + 0.6, y + 0.8, 3.6, 3.6), tint(look.base, 0.55))
        rgb = look.trim if look.style == "rustic" else tint(look.base, 0.95)
        sprite.paint(sprite.ellipse(x, y, 3.1, 3.1), rgb)
        sprite.paint(sprite.ellipse(x - 0.8, y - 0.9, 1.1, 1.1), tint(rgb, 1.3))


def draw_rug(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a rug that lies on the floor, seen from a standing person's eye."""
    far, near = 26.0, 80.0
    # Width shrinks with distance; the same factor turns picture rows into steps along the floor.
    factor = 0.7 + 0.3 * (sprite.y - far) / (near - far)
    u = (sprite.x - 50) / (46 * np.maximum(factor, 0.1))
    v = 1 - 2 * (1 / np.maximum(factor, 0.1) - 1) / (1 / 0.7 - 1)
    lift = 1.6
    below = 1 - 2 * (1 / np.maximum(factor - 0.3 * lift / (near - far), 0.1) - 1) / (1 / 0.7 - 1)
    if look.style == "boho":
        _fringe(sprite, look, far, near)
    sprite.paint((_rug_reach(look, u, below) <= 1).astype(np.float32), tint(look.base, 0.6))
    reach = _rug_reach(look, u, v)
    pile = 0.97 + 0.06 * np.sin(u * 110) * np.sin(v * 80)
    light = (pile * slope_light(sprite, 0.16))[..., None]
    sprite.paint((reach <= 1).astype(np.float32), look.surface(u * 46, v * 34 + 3, 15.0) * light)
    for inner, outer, rgb in _rug_borders(look):
        ring = ((reach > inner) & (reach <= outer)).astype(np.float32)
        sprite.paint(ring, np.asarray(rgb, np.float32) * light)


def _rug_reach(look: Look, u: Array, v: Array) -> Array:
    """Return 0 in the middle of the rug and 1 on its edge."""
    if look.style in ("scandinavian", "rustic"):
        return np.hypot(u, v)
    return np.maximum(np.abs(u), np.abs(v))


def _rug_borders(look: Look) -> list[tuple[float, float, Rgb]]:
    dark = tint(look.base, 0.72)
    return {
        "classic": [(0.9, 1.0, dark), (0.83, 0.86, dark)],
        "rustic": [(0.93, 1.0, look.trim), (0.86, 0.93, look.base)],
        "scandinavian": [(0.94, 1.0, tint(look.base, 0.84)), (0.88, 0.94, look.base)],
    }.get(look.style, [(0.96, 1.0, look.base)])


def _fringe(sprite: Sprite, look: Look, far: float, near: float) -> None:
    for step in range(31):
        place = -1 + step / 15
        for edge, half, length in ((far, 46 * 0.7, -4.0), (near, 46.0, 6.0)):
            x = 50 + place * half * 0.985
            sprite.stroke([(x, edge), (x + place * length * 0.3, edge + length)], 1.3, tint(look.trim, 1.12))


def draw_clock(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a wall clock: a wide patterned rim around a light dial."""
    cy = 54.0 if look.style == "classic" else 50.0
    if look.style == "boho":
        for step in range(24):
            angle, reach = step * math.pi / 12, 46 if step % 2 else 41
            end = (50 + reach * math.cos(angle), cy + reach * math.sin(angle))
            sprite.rod([(50, cy), end], 2.8, look.trim)
    if look.style == "classic":
        sprite.fill([(36, 22), *bend((36, 22), (50, -8), (64, 22))], look.trim)
        sprite.paint(sprite.ellipse(50, 7, 3.4, 3.4), tint(look.trim, 1.2))
    outer, inner = _clock_cases(sprite, look, cy)
    light = slope_light(sprite, 0.3)
    sprite.paint(outer, np.asarray(look.trim, np.float32) * light[..., None])
    sprite.paint(inner, look.surface(sprite.x + 4, sprite.y + 4, 14.0) * light[..., None])
    _dial(sprite, look, cy)


def _clock_cases(sprite: Sprite, look: Look, cy: float) -> tuple[Array, Array]:
    """Return the masks of the frame and of the patterned rim inside it."""
    if look.style == "modern":
        return sprite.box(8, 8, 92, 92, 16), sprite.box(9.5, 9.5, 90.5, 90.5, 15)
    if look.style == "rustic":
        x, y = np.abs(sprite.x - 50), np.abs(sprite.y - cy)
        reach = np.maximum(np.maximum(x, y), (x + y) * 0.7071)
        return (reach <= 43).astype(np.float32), (reach <= 38.5).astype(np.float32)
    outer = {"boho": 36.0, "classic": 42.0, "scandinavian": 43.0}[look.style]
    inner = outer - {"boho": 1.5, "classic": 3.5, "scandinavian": 3.0}[look.style]
    return sprite.ellipse(50, cy, outer, outer), sprite.ellipse(50, cy, inner, inner)


def _dial(sprite: Sprite, look: Look, cy: float) -> None:
    radius = 19.0 if look.style == "boho" else 23.0
    ink: Rgb = (58, 50, 48)
    sprite.paint(sprite.ellipse(50 + 0.7, cy + 0.9, radius + 1.2, radius + 1.2), tint(look.base, 0.6))
    sprite.paint(sprite.ellipse(50, cy, radius, radius), (252, 248, 240))
    for hour in range(12):
        angle = hour * math.pi / 6
        start = radius * (0.72 if hour % 3 == 0 else 0.8)
        places = [(50 + r * math.sin(angle), cy - r * math.cos(angle)) for r in (start, radius * 0.9)]
        sprite.stroke(places, 2.0 if hour % 3 == 0 else 1.2, ink)
    # Ten past ten: the hands stand as in every clock advertisement.
    for angle, length, width in ((-math.pi / 3.1, 0.5, 2.4), (math.pi / 3, 0.72, 1.7)):
        end = (50 + radius * length * math.sin(angle), cy - radius * length * math.cos(angle))
        sprite.stroke([(50, cy), end], width, ink)
    sprite.paint(sprite.ellipse(50, cy, 2, 2), look.trim)
