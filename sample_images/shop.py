"""The shop's range: which products there are, what they cost, and how their texts read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from canvas import Sprite
from furniture import draw_chair, draw_clock, draw_cushion, draw_lamp, draw_rug
from patterns import COLORS, MATERIALS, PATTERNS, Look
from vessels import draw_basket, draw_candle, draw_mug, draw_plant, draw_vase

PRODUCTS_PER_CATEGORY = 32
VIEWS_PER_PRODUCT = 4
# Products held back of each category.
TEST_PRODUCTS_PER_CATEGORY = 5
VAL_PRODUCTS_PER_CATEGORY = 3
# A value that training shows less often than this could not be learned apart from the products that carry it.
MIN_TRAIN_PRODUCTS_PER_VALUE = 3


@dataclass(frozen=True)
class Category:
    """One kind of product.

    Attributes:
        draw: Draws the product on an empty sprite.
        place: "table", "bench", "floor", "rug" or "wall": where it stands, lies or hangs.
        price: Middle of the price range.
        nouns: What a title calls it.
        uses: Sentences on what it is good for.
    """

    draw: Callable[[Sprite, Look, random.Random], None]
    place: str
    price: float
    nouns: tuple[str, ...]
    uses: tuple[str, ...]


CATEGORIES: dict[str, Category] = {
    "mug": Category(
        draw_mug,
        "table",
        14.0,
        ("mug", "coffee mug", "mug"),
        ("Holds a generous coffee and keeps it warm.", "For tea, cocoa or soup on the sofa.", "Dishwasher safe."),
    ),
    "vase": Category(
        draw_vase,
        "table",
        32.0,
        ("vase", "flower vase", "ceramic vase"),
        ("Room for a big bunch or a single stem.", "Glazed by hand and watertight.", "Pretty even when empty."),
    ),
    "plant": Category(
        draw_plant,
        "table",
        27.0,
        ("potted plant", "plant in a pot", "houseplant with pot"),
        ("Greenery that forgives a missed watering.", "Comes potted and ready for the sill.", "Likes a bright spot."),
    ),
    "candle": Category(
        draw_candle,
        "table",
        12.0,
        ("candle", "scented candle", "candle"),
        ("Burns for about thirty hours.", "Smells faintly of cedar and orange.", "Light it when guests come."),
    ),
    "basket": Category(
        draw_basket,
        "floor",
        38.0,
        ("basket", "storage basket", "woven basket"),
        ("Swallows wool, toys or laundry.", "Woven tightly and light to carry.", "Tidies a hallway in a minute."),
    ),
    "lamp": Category(
        draw_lamp,
        "table",
        64.0,
        ("lamp", "table lamp", "lamp"),
        ("Gives a soft glow for reading.", "Takes any small bulb.", "Makes a dark corner friendly."),
    ),
    "chair": Category(
        draw_chair,
        "floor",
        149.0,
        ("chair", "upholstered chair", "chair"),
        ("Comfortable through a long dinner.", "A seat for the desk or the window.", "Sturdy and easy to wipe clean."),
    ),
    "cushion": Category(
        draw_cushion,
        "bench",
        24.0,
        ("cushion", "throw pillow", "sofa cushion"),
        ("Plump filling, cover with a zip.", "Softens a bench or a sofa.", "The cover can be washed."),
    ),
    "rug": Category(
        draw_rug,
        "rug",
        118.0,
        ("rug", "area rug", "woven rug"),
        ("Warm under bare feet.", "Keeps its place on a smooth floor.", "Short pile, simple to vacuum."),
    ),
    "clock": Category(
        draw_clock,
        "wall",
        46.0,
        ("clock", "wall clock", "wall clock"),
        ("Runs quietly on one battery.", "Easy to read from across the kitchen.", "Hangs on a single nail."),
    ),
}

_COLOR_WORDS: dict[str, tuple[str, str]] = {
    "cream": ("a soft off-white", "the shade of fresh milk"),
    "blush": ("a gentle pink", "the pink of early roses"),
    "red": ("a strong red", "the colour of ripe cherries"),
    "terracotta": ("a burnt orange", "the warm tone of fired clay"),
    "mustard": ("a spicy yellow", "the yellow of late summer"),
    "sage": ("a muted green", "the grey-green of garden herbs"),
    "teal": ("a deep blue-green", "the colour of a mountain lake"),
    "navy": ("a dark blue", "the blue of the sea at night"),
    "plum": ("a rich purple", "the violet of ripe fruit"),
    "charcoal": ("a dark grey", "the near-black of slate"),
}
_PATTERN_WORDS: dict[str, tuple[str, str, str]] = {
    "plain": ("in one colour", "without any pattern", "solid"),
    "striped": ("with stripes", "with bands that run all the way across", "banded"),
    "dotted": ("with polka dots", "with a sprinkle of round spots", "spotted"),
    "checked": ("with checks", "with a gingham check", "gingham"),
    "zigzag": ("with zigzags", "with sharp chevrons in rows", "chevron"),
    "floral": ("with flowers", "with small blossoms all over", "flowered"),
}
_STYLE_WORDS: dict[str, tuple[str, str]] = {
    "modern": ("Clean lines for a contemporary home.", "Simple, straight and up to date."),
    "rustic": ("Country charm with dark wood tones.", "Feels like a farmhouse kitchen."),
    "scandinavian": ("Light wood and calm shapes, the Nordic way.", "Airy and Nordic, with pale details."),
    "boho": ("Relaxed and playful, with natural fibres.", "A bohemian piece for a free-spirited room."),
    "classic": ("Timeless, with a touch of brass.", "Traditional in shape, made to be kept."),
}
_STYLE_PRICE = {"modern": 1.1, "rustic": 0.9, "scandinavian": 1.15, "boho": 1.0, "classic": 1.3}
_TITLES = (
    "{Color} {pattern} {noun}, {style}",
    "{Style} {noun} in {color}, {pattern}",
    "{Style} {color} {noun} {with_pattern}",
    "{Pattern} {noun} in {color}, {style} style",
    "{Noun} {with_pattern}, {color}, {style}",
    "{Color} {noun} {with_pattern}, {style} look",
    "{Pattern} {color} {noun} for a {style} home",
)


@dataclass(frozen=True)
class Product:
    """One product of the shop."""

    category: str
    look: Look
    price: float
    split: str

    @property
    def key(self) -> str:
        """The name that all views of the product share."""
        return f"{self.category}-{self.look.color}-{self.look.pattern}-{self.look.style}"

    @property
    def values(self) -> tuple[str, str, str, str]:
        """Category, colour, pattern and style."""
        return self.category, self.look.color, self.look.pattern, self.look.style


def stock(seed: int) -> list[Product]:
    """Return the shop's products, in a fixed order, each with its price and split."""
    rng = random.Random(f"stock {seed}")
    chosen = _choose_looks(rng)
    splits = _choose_splits(rng, chosen)
    products = []
    for (category, look), split in zip(chosen, splits, strict=True):
        middle = CATEGORIES[category].price * _STYLE_PRICE[look.style]
        price = round(middle * rng.uniform(0.88, 1.12)) - rng.choice((0.1, 0.5, 0.05))
        products.append(Product(category, look, round(price, 2), split))
    return products


def _choose_looks(rng: random.Random) -> list[tuple[str, Look]]:
    """Give each category different looks, and each pair of values about the same number of products."""
    used: Counter[tuple[str, ...]] = Counter()
    chosen: list[tuple[str, Look]] = []
    for _ in range(PRODUCTS_PER_CATEGORY):
        for category in CATEGORIES:
            looks = [Look(c, p, s) for c in COLORS for p in PATTERNS for s in MATERIALS]
            rng.shuffle(looks)
            look = min(looks, key=lambda look, category=category: _crowding(used, category, look))
            chosen.append((category, look))
            used.update(_groups(category, look))
    return chosen


def _groups(category: str, look: Look) -> list[tuple[str, ...]]:
    """Return the single values, the pairs of them, and the combination that must not occur twice."""
    values = (category, look.color, look.pattern, look.style)
    return [*combinations(values, 1), *combinations(values, 2), values[:3]]


def _crowding(used: Counter[tuple[str, ...]], category: str, look: Look) -> float:
    """Return how much of the look the shop has already: a repeated combination is worst, then a repeated pair."""
    weights = {1: 1.0, 2: 4.0, 3: 1000.0}
    return sum(used[values] ** 2 * weights[len(values)] for values in _groups(category, look))


def _choose_splits(rng: random.Random, chosen: list[tuple[str, Look]]) -> list[str]:
    """Hold products back at random until the held-back ones show nothing but values that training knows."""
    count = len(chosen)
    categories = list(CATEGORIES)
    while True:
        order = rng.sample(range(count), count)
        by_category = {name: [place for place in order if chosen[place][0] == name] for name in categories}
        test = [by_category[name].pop() for name in categories for _ in range(TEST_PRODUCTS_PER_CATEGORY)]
        val = [by_category[name].pop() for name in categories for _ in range(VAL_PRODUCTS_PER_CATEGORY)]
        splits = ["test" if place in test else "val" if place in val else "train" for place in range(count)]
        if _is_fair(chosen, splits):
            return splits


def _is_fair(chosen: list[tuple[str, Look]], splits: list[str]) -> bool:
    """Return whether training has every value often enough, and the test has every value at all."""
    seen: dict[str, Counter[str]] = {name: Counter() for name in ("train", "val", "test")}
    for (category, look), split in zip(chosen, splits, strict=True):
        seen[split].update((category, look.color, look.pattern, look.style))
    every = [*CATEGORIES, *COLORS, *PATTERNS, *MATERIALS]
    return all(seen["train"][value] >= MIN_TRAIN_PRODUCTS_PER_VALUE and seen["test"][value] for value in every)


def title(product: Product, view: int, rng: random.Random) -> str:
    """Return one view's title; the views of a product are worded differently."""
    start = random.Random(f"title {product.key}").randrange(len(_TITLES))
    noun = rng.choice(CATEGORIES[product.category].nouns)
    _, color, pattern, style = product.values
    words = {"color": color, "pattern": pattern, "style": style, "noun": noun}
    capitals = {name.capitalize(): word[0].upper() + word[1:] for name, word in words.items()}
    with_pattern = _PATTERN_WORDS[pattern][0]
    text = _TITLES[(start + view) % len(_TITLES)].format(**words, **capitals, with_pattern=with_pattern)
    # "Scandinavian" is a proper name wherever it stands.
    return text.replace("scandinavian", "Scandinavian")


def description(product: Product, rng: random.Random) -> str:
    """Return one or two sentences that say what the product looks like in other words than the title."""
    category, color, pattern, style = product.values
    _, phrase, adjective = _PATTERN_WORDS[pattern]
    color_words, mood = rng.choice(_COLOR_WORDS[color]), rng.choice(_STYLE_WORDS[style])
    use = rng.choice(CATEGORIES[category].uses)
    # It is the pot that has a colour, not the plant.
    thing = "plant pot" if category == "plant" else category
    first = rng.choice(
        (
            f"A {adjective} {thing} in {color}, {color_words}.",
            f"This {thing} comes in {color_words}, {phrase}.",
            f"A {adjective} {thing} for anyone who likes {color}: {color_words}.",
            f"{thing.capitalize()} {phrase}, in {color_words}.",
        )
    )
    return f"{first} {rng.choice((mood, f'{mood} {use}', f'{use} {mood}'))}"
