"""Rooms for the products: walls, tables, floors, light and shadow."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from canvas import Array, Rgb, Sprite, leaf_outline, round_light, tint
from PIL import Image, ImageDraw, ImageFilter

IMAGE_PX = 128
# Scenes are drawn at three times their final size.
SCENE_PX = 3 * IMAGE_PX

_WALLS: list[Rgb] = [
    (238, 230, 218),
    (222, 228, 228),
    (214, 222, 208),
    (226, 210, 198),
    (200, 212, 222),
    (232, 220, 226),
    (216, 206, 190),
    (186, 196, 190),
    (240, 238, 234),
    (208, 200, 202),
]
_WOODS: list[Rgb] = [(206, 168, 124), (168, 122, 82), (226, 200, 164), (136, 98, 70)]
_TABLES: list[Rgb] = [*_WOODS, (238, 236, 232), (196, 192, 188)]
# Where the wall ends and what the product stands on begins, over the picture's height; on a wall, nowhere.
_HORIZONS = {"table": (0.66, 0.74), "bench": (0.66, 0.74), "floor": (0.6, 0.7), "rug": (0.14, 0.24), "wall": (1.0, 1.0)}
_BENCHES: list[Rgb] = [(222, 214, 202), (176, 172, 170), (202, 190, 172), (150, 140, 132)]


@dataclass(frozen=True)
class Scene:
    """One view's setting.

    Attributes:
        size: The product's longer side over the picture's side.
        shift: How far right of the middle the product stands, over the picture's side.
        lean: Rotation in degrees.
        wall: What the wall looks like, a key of `_WALL_LOOKS`.
        light: Factors for red, green and blue.
        vignette: How much darker the corners are.
        beam: Whether a window throws its light on the wall.
        extra: Whether a small thing stands in the corner.
    """

    size: float
    shift: float
    lean: float
    wall: str
    light: tuple[float, float, float]
    vignette: float
    beam: bool
    extra: bool


def view_scene(view: int, rng: random.Random) -> Scene:
    """Return the setting of one view: catalogue, room by day, close-up or evening, each a little different."""
    wall = rng.choice(sorted(_WALL_LOOKS))
    lean, shift = rng.uniform(-3, 3), rng.uniform(-0.07, 0.07)
    if view == 0:
        return Scene(rng.uniform(0.76, 0.8), 0.0, 0.0, "smooth", (1.03, 1.02, 1.0), 0.06, False, False)
    if view == 1:
        sunny, extra = rng.random() < 0.5, rng.random() < 0.5
        light = (1.05, 1.0, 0.92) if sunny else (0.93, 0.98, 1.06)
        return Scene(rng.uniform(0.64, 0.76), shift, lean, wall, light, 0.14, sunny, extra)
    if view == 2:
        beam = rng.random() < 0.5
        return Scene(rng.uniform(0.9, 1.02), shift * 1.4, lean, wall, (1.02, 1.01, 0.99), 0.1, beam, False)
    return Scene(rng.uniform(0.6, 0.72), shift, lean, wall, (1.03, 0.93, 0.81), 0.26, False, True)


def draw_view(product: Image.Image, place: str, base: Rgb, scene: Scene, rng: random.Random) -> Image.Image:
    """Return the finished picture of a product in its scene."""
    highest, lowest = _HORIZONS[place]
    horizon = rng.uniform(highest, lowest)
    room = _room(base, place, horizon, scene, rng)
    picture = Image.fromarray(np.clip(room, 0, 255).astype(np.uint8))
    if scene.extra and place != "rug":
        _put_extra(picture, place, horizon, scene.shift, rng)
    _put_product(picture, product, place, horizon, scene, rng)
    return _develop(picture, scene).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.LANCZOS)


def _grid() -> tuple[Array, Array]:
    line = ((np.arange(SCENE_PX) + 0.5) / SCENE_PX).astype(np.float32)
    return line[None, :].repeat(SCENE_PX, 0), line[:, None].repeat(SCENE_PX, 1)


def _smooth_wall(x: Array, y: Array) -> Array:
    return 1.03 - 0.1 * y - 0.04 * x


def _striped_wall(x: Array, y: Array) -> Array:
    return 1.0 - 0.045 * (np.sin(x * 44) > 0) - 0.06 * y


def _dotted_wall(x: Array, y: Array) -> Array:
    row = np.floor(y * 11)
    dots = np.hypot((x * 11 + 0.5 * (row % 2)) % 1 - 0.5, y * 11 - row - 0.5) < 0.13
    return 1.0 - 0.06 * dots - 0.06 * y


def _panelled_wall(x: Array, y: Array) -> Array:
    groove = (x * 5 + 0.3) % 1
    return 1.0 - 0.1 * (groove < 0.03) + 0.05 * ((groove > 0.03) & (groove < 0.05)) - 0.08 * y


def _two_tone_wall(x: Array, y: Array) -> Array:
    return 1.02 - 0.12 * (y > 0.42) + 0.1 * (np.abs(y - 0.42) < 0.012) - 0.04 * x


def _brick_wall(x: Array, y: Array) -> Array:
    row = np.floor(y * 13)
    joint = ((y * 13 - row) < 0.09) | (((x * 6 + 0.5 * (row % 2)) % 1) < 0.045)
    return 1.0 - 0.05 * joint + 0.012 * np.sin(row * 7 + np.floor(x * 6 + 0.5 * (row % 2)) * 3)


_WALL_LOOKS: dict[str, Callable[[Array, Array], Array]] = {
    "smooth": _smooth_wall,
    "striped": _striped_wall,
    "dotted": _dotted_wall,
    "panelled": _panelled_wall,
    "two-tone": _two_tone_wall,
    "brick": _brick_wall,
}


def _apart(colors: list[Rgb], base: Rgb, rng: random.Random) -> Rgb:
    """Return a colour in front of which the product stands out."""
    far = [rgb for rgb in colors if sum((a - b) ** 2 for a, b in zip(rgb, base, strict=True)) > 62**2]
    return rng.choice(far or colors)


def _room(base: Rgb, place: str, horizon: float, scene: Scene, rng: random.Random) -> Array:
    """Return the empty room: a wall and, unless the product hangs, something to stand on."""
    x, y = _grid()
    wall = np.asarray(_apart(_WALLS, base, rng), np.float32)
    room = wall * _WALL_LOOKS[scene.wall](x, y)[..., None]
    if scene.beam:
        room *= 1 + 0.13 * _window_light(x, y, rng.uniform(-0.3, 0.3))[..., None]
    if horizon >= 1:
        return room
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    boards = place in ("floor", "rug")
    top = _apart({"table": _TABLES, "bench": _BENCHES}.get(place, _WOODS), base, rng)
    ground = np.asarray(top, np.float32) * (_planks(x, y, horizon) if boards else _grain(x, depth, rng, top))[..., None]
    room = np.where((y > horizon)[..., None], ground, room)
    if boards:
        skirting = (y > horizon - 0.035) & (y <= horizon)
        room[skirting] = np.asarray((244, 241, 235), np.float32)
    # Where wall and ground meet, less light arrives.
    return room * (1 - 0.14 * np.exp(-(((y - horizon) / 0.05) ** 2)))[..., None]


def _window_light(x: Array, y: Array, start: float) -> Array:
    """Return where the light of a window with two by two panes falls on a wall."""
    across = (x - start - 0.35 * y) * 2.1
    down = y * 2.0 - 0.15 + 0.2 * x
    panes = (np.abs((across % 1) - 0.5) < 0.43) & (across > 0) & (across < 2)
    rows = (np.abs((down % 1) - 0.5) < 0.44) & (down > -1) & (down < 2)
    light = Image.fromarray(((panes & rows) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(5))
    return np.asarray(light, np.float32) / 255


def _grain(x: Array, depth: Array, rng: random.Random, rgb: Rgb) -> Array:
    """Return the brightness of a table top; wood, unlike painted white or stone, has a grain."""
    light = 0.94 + 0.14 * depth - 0.06 * x
    if rgb not in _WOODS:
        return light
    noise = np.random.default_rng(rng.getrandbits(32)).random((60, 4))
    streaks = Image.fromarray((noise * 255).astype(np.uint8)).resize((SCENE_PX, SCENE_PX), Image.Resampling.BICUBIC)
    return light * (0.95 + 0.1 * np.asarray(streaks, np.float32) / 255)


def _planks(x: Array, y: Array, horizon: float) -> Array:
    """Return the brightness of floor boards that run towards the wall."""
    # A vanishing point above the picture keeps the boards' lines from fanning out too much.
    fan = (x - 0.5) / (y - horizon + 0.75)
    board = np.floor(fan * 9)
    seam = (fan * 9 - board) < 0.035
    return 0.98 + 0.035 * np.sin(board * 2.7) - 0.16 * seam + 0.06 * (y - horizon)


def _put_product(
    picture: Image.Image, product: Image.Image, place: str, horizon: float, scene: Scene, rng: random.Random
) -> None:
    size = scene.size * (1.2 if place == "rug" else 1.0)
    scale = size * SCENE_PX / max(product.size)
    sized = product.resize((round(product.width * scale), round(product.height * scale)), Image.Resampling.LANCZOS)
    if place in ("wall", "bench"):
        sized = sized.rotate(scene.lean, Image.Resampling.BICUBIC, expand=True)
    left = round((0.5 + scene.shift) * SCENE_PX - sized.width / 2)
    if place == "wall":
        top = round((SCENE_PX - sized.height) / 2 + rng.uniform(-0.04, 0.04) * SCENE_PX)
    elif place == "rug":
        top = round((horizon + 1) / 2 * SCENE_PX - sized.height / 2)
    else:
        foot = max(horizon + (1 - horizon) * rng.uniform(0.55, 0.72), 0.5 + scene.size * 0.45)
        top = round(min(foot, 1.02) * SCENE_PX) - sized.height
    _shadow(picture, sized, left, top, place)
    picture.paste(sized, (left, top), sized)


def _shadow(picture: Image.Image, item: Image.Image, left: int, top: int, place: str) -> None:
    """Darken the picture where the item keeps the light away: the lamp is at the upper left."""
    # A faint glow, as around a flame, throws no shadow.
    outline = item.getchannel("A").point(lambda cover: 255 if cover > 160 else 0)
    shade = Image.new("L", picture.size)
    near = item.width
    if place in ("wall", "rug"):
        drop = 0.045 if place == "wall" else 0.012
        shade.paste(outline, (left + round(near * drop), top + round(near * drop * 1.3)))
        _darken(picture, shade.filter(ImageFilter.GaussianBlur(near * 0.03)), 0.38)
        return
    sole = outline.crop((0, round(item.height * 0.93), item.width, item.height)).getbbox() or (0, 0, item.width, 0)
    width = sole[2] - sole[0]
    _cast_shadow(shade, outline, left, top + item.height - round(width * 0.07))
    _darken(picture, shade.filter(ImageFilter.GaussianBlur(near * 0.04)), 0.3)
    # The foot is round: what touches the ground is an oval, whose front edge is the picture's lowest.
    contact = Image.new("L", picture.size)
    corner = (left + sole[0] + round(width * 0.02), top + item.height - round(width * 0.115))
    ImageDraw.Draw(contact).ellipse((*corner, corner[0] + width, corner[1] + max(5, round(width * 0.135))), fill=255)
    _darken(picture, contact.filter(ImageFilter.GaussianBlur(width * 0.02 + 1)), 0.5)


def _cast_shadow(shade: Image.Image, outline: Image.Image, left: int, ground: int) -> None:
    """Draw the outline lying on the ground, towards the viewer's right: the higher the part, the farther right."""
    height = max(4, round(outline.height * 0.26))
    flat = outline.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((outline.width, height))
    slanted = (outline.width + height, height)
    matrix = (1, -0.9, 0, 0, 1, 0)
    shade.paste(flat.transform(slanted, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR), (left, ground))


def _darken(picture: Image.Image, shade: Image.Image, strength: float) -> None:
    picture.paste((38, 28, 30), (0, 0), shade.point(lambda cover: round(cover * strength)))


def _put_extra(picture: Image.Image, place: str, horizon: float, shift: float, rng: random.Random) -> None:
    """Put something small and neutral into the corner that the product leaves free."""
    sprite = Sprite(200)
    rng.choice((_draw_books, _draw_bottle, _draw_bowl))(sprite, rng)
    item = sprite.image()
    scale = rng.uniform(0.17, 0.22) * SCENE_PX / max(item.size)
    item = item.resize((round(item.width * scale), round(item.height * scale)), Image.Resampling.LANCZOS)
    left = round(0.02 * SCENE_PX) if shift > 0 else SCENE_PX - item.width - round(0.02 * SCENE_PX)
    if place == "wall":
        # Under a thing on the wall, the small one stands on a shelf that runs along the lower edge.
        shelf = round(0.95 * SCENE_PX)
        picture.paste((214, 190, 158), (0, shelf, SCENE_PX, SCENE_PX))
        top = shelf - item.height
    else:
        top = round((horizon + (1 - horizon) * 0.24) * SCENE_PX) - item.height
    _shadow(picture, item, left, top, "table")
    picture.paste(item, (left, top), item)


def _draw_books(sprite: Sprite, rng: random.Random) -> None:
    for level in range(3):
        rgb = rng.choice([(150, 140, 132), (186, 170, 150), (120, 128, 134), (206, 196, 182)])
        inset, bottom = rng.uniform(2, 12), 96 - 18 * level
        sprite.paint(sprite.box(inset, bottom - 17, 100 - rng.uniform(2, 12), bottom, 2), rgb)
        sprite.paint(sprite.box(inset + 10, bottom - 17, inset + 14, bottom), tint(rgb, 1.2))


def _draw_bottle(sprite: Sprite, _rng: random.Random) -> None:
    for lean in (-16, 0, 15):
        sprite.stroke([(50, 62), (50 + lean, 18)], 1.6, (110, 136, 100))
        for step in range(4):
            x, y = 50 + lean * (0.4 + step * 0.2), 46 - step * 9
            for side in (-1, 1):
                sprite.fill(leaf_outline((x, y), (x + side * 11, y - 9), 6, 8), (132, 158, 120))
    glass = sprite.turned(50, [(48, 8), (58, 8), (68, 18), (94, 18)])
    light = round_light(glass.across, 0.3)
    sprite.paint(glass.mask, np.asarray((188, 200, 198), np.float32) * light[..., None])


def _draw_bowl(sprite: Sprite, rng: random.Random) -> None:
    for cx, cy in ((34, 50), (64, 50), (50, 42)):
        rgb = rng.choice([(196, 180, 110), (170, 176, 106), (206, 160, 100)])
        shade = 1.1 - 0.008 * (sprite.x - cx + sprite.y - cy + 14)
        sprite.paint(sprite.ellipse(cx, cy, 17, 16), np.asarray(rgb, np.float32) * shade[..., None])
    bowl = sprite.turned(50, [(56, 46), (72, 40), (86, 22), (92, 20)])
    sprite.paint(bowl.mask, np.asarray((222, 216, 206), np.float32) * round_light(bowl.across)[..., None])


def _develop(picture: Image.Image, scene: Scene) -> Image.Image:
    """Apply the light's colour, its fall-off across the room and the darker corners."""
    x, y = _grid()
    corner = np.clip(np.hypot(x - 0.46, y - 0.46) / 0.72, 0, 1) ** 2.2
    light = (1.03 - 0.07 * x) * (1 - scene.vignette * corner)
    lit = np.asarray(picture, np.float32) * light[..., None] * np.asarray(scene.light, np.float32)
    return Image.fromarray(np.clip(lit, 0, 255).round().astype(np.uint8))
