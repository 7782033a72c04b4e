"""Mug, vase, potted plant, candle and basket: things as from a potter's wheel."""

from __future__ import annotations

import math
import random

import numpy as np
from canvas import TILT, Array, Point, Rgb, Sprite, Turned, bend, blend, leaf_outline, round_light, tint
from patterns import Look

Profile = list[Point]

_LEAVES: list[Rgb] = [(58, 112, 68), (78, 136, 80), (98, 156, 92), (66, 124, 88)]

_MUGS: dict[str, Profile] = {
    "modern": [(20, 30), (84, 30), (88, 29)],
    "rustic": [(22, 27), (50, 33), (78, 31), (88, 25)],
    "scandinavian": [(18, 33), (60, 29), (88, 23)],
    "boho": [(24, 30), (40, 31), (62, 34), (80, 25), (84, 20), (88, 22)],
    "classic": [(18, 35), (34, 29), (60, 28), (78, 24), (83, 15), (88, 20)],
}

_VASES: dict[str, Profile] = {
    "modern": [(26, 10), (44, 10), (50, 14), (58, 25), (74, 31), (88, 26), (93, 20)],
    "rustic": [(30, 19), (38, 16), (50, 26), (66, 31), (82, 25), (93, 18)],
    "scandinavian": [(28, 15), (46, 22), (70, 28), (88, 28), (93, 25)],
    "boho": [(34, 12), (42, 11), (54, 25), (68, 34), (82, 28), (93, 15)],
    "classic": [(10, 22), (17, 16), (24, 15), (42, 29), (60, 26), (78, 14), (86, 12), (90, 19), (93, 20)],
}

_POTS: dict[str, Profile] = {
    "modern": [(54, 29), (88, 29), (93, 27)],
    "rustic": [(54, 30), (60, 30), (62, 28), (64, 27), (78, 23.5), (93, 20)],
    "scandinavian": [(54, 31), (74, 29), (86, 23), (93, 16)],
    "boho": [(54, 26), (66, 33), (80, 30), (93, 20)],
    "classic": [(52, 32), (60, 30), (76, 24), (84, 14), (88, 16), (93, 22)],
}

_CANDLES: dict[str, Profile] = {
    "modern": [(38, 29), (90, 29), (94, 28)],
    "rustic": [(34, 21), (86, 21)],
    "scandinavian": [(30, 22), (94, 22)],
    "boho": [(50, 34), (66, 38), (84, 29), (94, 18)],
    "classic": [(24, 14), (68, 15)],
}

_BASKETS: dict[str, Profile] = {
    "modern": [(34, 36), (88, 36), (92, 34)],
    "rustic": [(46, 42), (70, 38), (92, 30)],
    "scandinavian": [(32, 40), (60, 36), (92, 29)],
    "boho": [(34, 30), (50, 36), (70, 42), (86, 35), (92, 27)],
    "classic": [(42, 40), (50, 38), (90, 36), (93, 38)],
}


def _glaze(sprite: Sprite, body: Turned, look: Look, period: float, gloss: float = 0.22) -> None:
    """Cover a turned body with the product's pattern."""
    light = round_light(body.across, gloss)
    sprite.paint(body.mask, look.surface(body.around, body.level, period) * light[..., None])


def _band(sprite: Sprite, body: Turned, top: float, bottom: float, rgb: Rgb) -> None:
    """Paint one level band of a turned body in a plain colour."""
    mask = body.mask * ((body.level >= top) & (body.level <= bottom))
    sprite.paint(mask, np.asarray(rgb, np.float32) * round_light(body.across, 0.15)[..., None])


def _mouth(sprite: Sprite, cx: float, cy: float, radius: float, rim: Rgb, inside: Rgb) -> None:
    """Draw the opening of a vessel: a rim and, behind it, the far wall in half shadow."""
    sprite.paint(sprite.ellipse(cx, cy, radius, radius * TILT), rim)
    inner = radius - 1.8
    depth = 0.72 + 0.3 * np.clip((sprite.x - cx) / radius, -1, 1)
    sprite.paint(sprite.ellipse(cx, cy, inner, inner * TILT), np.asarray(inside, np.float32) * depth[..., None])


def draw_mug(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a mug, its handle on the right."""
    cx, profile = 41.0, _MUGS[look.style]
    top, edge = profile[0][0], cx + profile[len(profile) // 2][1]
    if look.style in ("modern", "scandinavian"):
        ear = [(edge - 4, 36.0), (edge + 17, 36.0), (edge + 17, 66.0), (edge - 6, 66.0)]
    else:
        ear = bend((edge - 4, 34.0), (edge + 30, 30.0), (edge + 14, 54.0)) + bend(
            (edge + 14, 54.0), (edge + 8, 68.0), (edge - 6, 72.0)
        )
    handle = look.trim if look.style == "classic" else look.base
    sprite.rod(ear, 7.5, handle)
    body = sprite.turned(cx, profile)
    _glaze(sprite, body, look, 16.0)
    if look.style == "rustic":
        _band(sprite, body, 83, 88, look.trim)
    rim = look.trim if look.style in ("classic", "rustic") else tint(look.base, 1.12)
    _mouth(sprite, cx, top, profile[0][1], rim, (246, 240, 228))
    coffee = sprite.ellipse(cx, top + 1.6, profile[0][1] - 5, (profile[0][1] - 5) * TILT * 0.72)
    sprite.paint(coffee, (104, 66, 44))


def draw_vase(sprite: Sprite, look: Look, rng: random.Random) -> None:
    """Draw a vase; some styles hold a few dry stems."""
    profile = _VASES[look.style]
    top, neck = profile[0]
    if look.style == "boho":
        _pampas(sprite, rng, (50, top))
    elif look.style in ("rustic", "scandinavian"):
        _twigs(sprite, rng, (50, top))
    if look.style == "classic":
        for side in (-1, 1):
            arc = bend((50 + side * 15, 21), (50 + side * 42, 20), (50 + side * 26, 42))
            sprite.rod(arc, 4.2, look.trim)
    body = sprite.turned(50, profile)
    _glaze(sprite, body, look, 15.0, gloss=0.28)
    if look.style == "classic":
        _band(sprite, body, 87, 93, look.trim)
    rim = look.trim if look.style in ("classic", "rustic") else tint(look.base, 1.1)
    _mouth(sprite, 50, top, neck, rim, tint(look.base, 0.4))
    if look.style in ("boho", "rustic", "scandinavian"):
        for shift in (-3.0, 0.5, 3.5):
            sprite.stroke([(50 + shift, top + 0.5), (50 + shift * 1.3, top - 6)], 1.2, (150, 120, 84))


def _pampas(sprite: Sprite, rng: random.Random, foot: Point) -> None:
    for lean in (-20, -7, 8, 21):
        tip = (foot[0] + lean, 5 + abs(lean) * 0.35)
        stem = bend(foot, (foot[0] + lean * 0.2, 22), tip)
        sprite.stroke(stem, 1.1, (176, 146, 104))
        for x, y in stem[9:]:
            for _ in range(3):
                end = (x + rng.uniform(-4, 4) + lean * 0.08, y - rng.uniform(-1, 6))
                sprite.fill(leaf_outline((x, y + 3), end, 3.0, 6), rng.choice([(222, 200, 166), (232, 213, 184)]))


def _twigs(sprite: Sprite, rng: random.Random, foot: Point) -> None:
    for lean in (-18, -4, 14):
        stem = bend(foot, (foot[0] + lean * 0.3, 20), (foot[0] + lean, 4 + abs(lean) * 0.3))
        sprite.stroke(stem, 1.1, (132, 104, 74))
        for x, y in stem[6::3]:
            side = rng.choice((-1, 1))
            bud = (x + side * 3.4, y - 2.6)
            sprite.stroke([(x, y), bud], 0.7, (132, 104, 74))
            sprite.fill(leaf_outline(bud, (bud[0] + side * 2.4, bud[1] - 3.4), 3.0, 6), (226, 208, 176))


def draw_plant(sprite: Sprite, look: Look, rng: random.Random) -> None:
    """Draw a green plant in a pot; the pot carries colour and pattern."""
    profile = _POTS[look.style]
    top, radius = profile[0]
    _mouth(sprite, 50, top, radius, tint(look.base, 1.1), (70, 50, 38))
    foliage = {
        "modern": _blades,
        "rustic": _bush,
        "scandinavian": _round_leaves,
        "boho": _fronds,
        "classic": _ball_tree,
    }
    foliage[look.style](sprite, rng, top)
    body = sprite.turned(50, profile)
    _glaze(sprite, body, look, 14.0)
    if look.style == "classic":
        _band(sprite, body, 84, 88, look.trim)


def _blades(sprite: Sprite, rng: random.Random, top: float) -> None:
    for lean in (-22, 20, -13, 12, -5, 5, 0):
        tip = (50 + lean * 1.1, 5 + abs(lean) * 0.7 + rng.uniform(0, 6))
        foot = (50 + lean * 0.45, top + 2)
        sprite.fill(leaf_outline(foot, tip, 10.5), (196, 204, 120))
        sprite.fill(leaf_outline(foot, tip, 7.4), rng.choice(_LEAVES))


def _bush(sprite: Sprite, rng: random.Random, top: float) -> None:
    for _ in range(120):
        angle, reach = rng.uniform(math.pi, 2 * math.pi), rng.uniform(2, 29)
        x, y = 50 + 1.15 * reach * math.cos(angle), top - 7 + reach * 1.25 * math.sin(angle) + rng.uniform(0, 10)
        tip = (x + rng.uniform(-8, 8), y - rng.uniform(2, 9))
        sprite.fill(leaf_outline((x, y), tip, 6.5, 8), rng.choice(_LEAVES))


def _round_leaves(sprite: Sprite, rng: random.Random, top: float) -> None:
    for lean, height in ((-30, 34), (29, 32), (-18, 14), (19, 12), (-33, 48), (32, 47), (0, 7), (-9, 28), (11, 27)):
        place = (50 + lean, height + rng.uniform(-2, 2))
        sprite.stroke(bend((50, top), (50 + lean * 0.3, (top + height) / 2), place), 1.3, (92, 128, 78))
        green = rng.choice(_LEAVES)
        sprite.paint(sprite.ellipse(*place, 9.4, 8.2), green)
        sprite.paint(sprite.ellipse(place[0] - 1.6, place[1] - 1.8, 5.6, 4.6), tint(green, 1.14))


def _fronds(sprite: Sprite, rng: random.Random, top: float) -> None:
    for lean, height in ((-40, 34), (40, 33), (-33, 14), (32, 15), (-15, 6), (14, 5), (0, 4)):
        spine = bend((50, top), (50 + lean * 0.45, height - 8), (50 + lean, height + abs(lean) * 0.25))
        sprite.stroke(spine, 1.1, (70, 116, 66))
        green = rng.choice(_LEAVES)
        for (x, y), (x2, y2) in zip(spine[5:], spine[4:], strict=False):
            dx, dy = x - x2, y - y2
            for side in (-1, 1):
                tip = (x + dx * 1.2 - side * dy * 2.9, y + dy * 1.2 + side * dx * 2.9)
                sprite.fill(leaf_outline((x, y), tip, 2.7, 6), tint(green, 1.0 + 0.1 * side))


def _ball_tree(sprite: Sprite, rng: random.Random, top: float) -> None:
    sprite.rod([(50, top), (50, 40)], 3.6, (120, 88, 60))
    sprite.paint(sprite.ellipse(50, 25, 22, 21), _LEAVES[0])
    for _ in range(170):
        angle, reach = rng.uniform(0, 2 * math.pi), 22 * math.sqrt(rng.random())
        x, y = 50 + reach * math.cos(angle), 25 + 0.95 * reach * math.sin(angle)
        light = 1.15 - 0.016 * ((x - 50) + (y - 25))
        tip = (x + rng.uniform(-4, 4), y - rng.uniform(1, 4))
        sprite.fill(leaf_outline((x, y), tip, 3.4, 6), tint(rng.choice(_LEAVES), min(light, 1.3)))


def draw_candle(sprite: Sprite, look: Look, _rng: random.Random) -> None:
    """Draw a burning candle: in a jar or a bowl, as a pillar, or on a stick."""
    profile = _CANDLES[look.style]
    top, radius = profile[0]
    if look.style in ("rustic", "classic"):
        _candle_stand(sprite, look)
    body = sprite.turned(50, profile)
    _glaze(sprite, body, look, 13.0, gloss=0.18)
    wax: Rgb = (252, 243, 220)
    pillar = look.style in ("rustic", "scandinavian", "classic")
    rim = blend(look.base, wax, 0.35) if pillar else tint(look.base, 1.12)
    _mouth(sprite, 50, top, radius, rim, blend(look.base, wax, 0.55) if pillar else wax)
    glow = np.exp(-(((body.level - top) / 16) ** 2)) * body.mask * 0.3
    sprite.paint(glow.astype(np.float32) * sprite.alpha, (255, 222, 150))
    _flame(sprite, top)


def _candle_stand(sprite: Sprite, look: Look) -> None:
    if look.style == "rustic":
        plate = sprite.turned(50, [(86, 33), (92, 34), (94, 32)])
        _band(sprite, plate, 0, 100, look.trim)
        sprite.paint(sprite.ellipse(50, 86, 33, 33 * TILT), tint(look.trim, 1.25))
        return
    stick = sprite.turned(50, [(66, 19), (69, 20), (72, 9), (78, 5), (84, 7), (88, 16), (94, 27)])
    _band(sprite, stick, 0, 100, look.trim)
    sprite.paint(sprite.ellipse(50, 66, 19, 19 * TILT), tint(look.trim, 1.2))


def _flame(sprite: Sprite, top: float) -> None:
    sprite.stroke([(50, top), (50, top - 5)], 1.2, (60, 48, 44))
    distance = np.hypot(sprite.x - 50, (sprite.y - top + 11) * 0.8)
    halo: Array = (0.5 * np.exp(-((distance / 11) ** 2))).astype(np.float32)
    halo[halo < 0.02] = 0
    sprite.paint(halo, (255, 214, 130))
    for size, rgb in ((1.0, (250, 170, 60)), (0.72, (255, 214, 96)), (0.4, (255, 248, 214))):
        half, tip = 4.6 * size, top - 5 - 15 * size
        right = bend((50, tip), (50 + 2.2 * half, top - 4 - 2 * size), (50, top - 3))
        left = bend((50, top - 3), (50 - 2.2 * half, top - 4 - 2 * size), (50, tip))
        sprite.fill(right + left, rgb)


def draw_basket(sprite: Sprite, look: Look, rng: random.Random) -> None:
    """Draw a woven basket, with balls of wool inside or under an arched handle."""
    profile = _BASKETS[look.style]
    top, radius = profile[0]
    _mouth(sprite, 50, top, radius, tint(look.base, 1.1), tint(look.base, 0.42))
    if look.style in ("rustic", "classic"):
        arch = bend((50 - radius + 3, top), (50 - radius + 4, 4), (50, 7)) + bend(
            (50, 7), (50 + radius - 4, 4), (50 + radius - 3, top)
        )
        sprite.rod(arch, 4.4, look.trim)
    else:
        _yarn(sprite, rng, top, radius)
    body = sprite.turned(50, profile)
    strands, rows = np.sin(body.around * 2.1), np.sin(body.level * 1.9)
    weave = 1 - 0.12 * (strands * rows > 0) - 0.06 * (rows > 0)
    light = (round_light(body.across) * weave)[..., None]
    sprite.paint(body.mask, look.surface(body.around, body.level, 17.0) * light)
    braid = look.trim if look.style != "modern" else tint(look.base, 0.75)
    _band(sprite, body, top, top + 3.6, braid)
    _basket_handles(sprite, look, top, radius)


def _yarn(sprite: Sprite, rng: random.Random, top: float, radius: float) -> None:
    """Fill a basket with balls of undyed wool."""
    for shift, height in ((-0.5, 6), (0.5, 6.5), (0.0, 9)):
        wool = rng.choice([(240, 231, 214), (222, 208, 186), (206, 196, 184)])
        cx, cy, ball = 50 + shift * radius, top - height, radius * 0.42
        x, y = (sprite.x - cx) / ball, (sprite.y - cy) / ball
        light = 0.98 - 0.16 * (x + y) - 0.16 * np.clip(x * x + y * y, 0, 1)
        turn = rng.uniform(0, math.pi)
        threads = 1 + 0.07 * np.sin((x * math.cos(turn) + y * math.sin(turn)) * 14 + 3 * (x * x + y * y))
        sprite.paint(sprite.ellipse(cx, cy, ball, ball), np.asarray(wool, np.float32) * (light * threads)[..., None])


def _basket_handles(sprite: Sprite, look: Look, top: float, radius: float) -> None:
    if look.style in ("modern", "scandinavian"):
        for side in (-1, 1):
            x = 50 + side * (radius - 3)
            loop = bend((x, top + 4), (x + side * 17, top + 8), (x - side * 1, top + 20))
            sprite.rod(loop, 3.2, look.trim if look.style == "scandinavian" else (150, 98, 62))
    elif look.style == "boho":
        for step in range(-3, 4):
            x = 50 + radius * math.sin(step * 0.42)
            y = top + 3 + radius * TILT * math.cos(step * 0.42)
            sprite.stroke([(x, y), (x, y + 7)], 2.6, (240, 226, 200))
            sprite.paint(sprite.ellipse(x, y + 1, 2.3, 2.3), look.trim)
