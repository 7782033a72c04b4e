"""Synonyms: what people call values and columns beside what catalogues write."""

from __future__ import annotations

SYNONYMS = {
    "xs": ("extra small",),
    "s": ("small",),
    "m": ("medium",),
    "l": ("large",),
    "xl": ("extra large",),
    **dict.fromkeys(
        ("plain", "solid"),
        (
            "without pattern",
            "without a pattern",
            "without any pattern",
            "unpatterned",
            "in one colour",
            "solid colour",
            "single colour",
        ),
    ),
    "dotted": ("polka dot", "polka dotted"),
    **dict.fromkeys(("checked", "plaid"), ("plaid", "checked", "tartan", "gingham")),
    **dict.fromkeys(("women", "woman"), ("lady", "female")),
    **dict.fromkeys(("men", "man"), ("gents", "gentlemen", "male", "guys")),
    "beginner": ("newbie", "starter", "novice", "newcomer", "learner", "starting out"),
    "professional": ("pro", "expert"),
    "in stock": ("from stock", "ex stock", "on stock", "in store now"),
    **{
        share: (f"{name} size", f"{name} sized", f"size {name}")
        for share, name in (("1/4", "quarter"), ("1/2", "half"), ("3/4", "three quarter"), ("4/4", "full"))
    },
    **dict.fromkeys(("kids", "kid", "children", "child"), ("kids", "children", "child", "youth")),
}
"""What people call values of sizes, whom a thing is for, and whether it is there."""
_THINGS = (
    "amplifier/amp backpack/rucksack sofa/couch/settee trousers/pants jumper/sweater/pullover bicycle/bike "
    "refrigerator/fridge television/telly/tv microphone/mic torch/flashlight wardrobe/closet photograph/photo"
)
SYNONYMS |= {
    name: tuple(other for other in names if other != name)
    for names in (one.split("/") for one in _THINGS.split())
    for name in names
}
"""What things are called on either side of an ocean, and for short."""
_DEMONYMS = (
    "argentina/argentinian/argentine australia/australian austria/austrian belgium/belgian brazil/brazilian "
    "bulgaria/bulgarian canada/canadian chile/chilean china/chinese colombia/colombian croatia/croatian cuba/cuban "
    "czechia/czech denmark/danish egypt/egyptian england/english ethiopia/ethiopian finland/finnish france/french "
    "georgia/georgian germany/german greece/greek hungary/hungarian iceland/icelandic india/indian "
    "indonesia/indonesian ireland/irish israel/israeli italy/italian jamaica/jamaican japan/japanese kenya/kenyan "
    "lebanon/lebanese mexico/mexican morocco/moroccan netherlands/dutch norway/norwegian peru/peruvian poland/polish "
    "portugal/portuguese romania/romanian russia/russian scotland/scottish/scotch slovakia/slovak slovenia/slovenian "
    "spain/spanish sweden/swedish switzerland/swiss taiwan/taiwanese thailand/thai turkey/turkish ukraine/ukrainian "
    "vietnam/vietnamese wales/welsh usa/american"
)
SYNONYMS |= {country: tuple(adjectives) for country, *adjectives in (one.split("/") for one in _DEMONYMS.split())}
SYNONYMS |= {
    "south africa": ("south african",),
    "new zealand": ("new zealand's", "kiwi"),
    "south korea": ("korean",),
    **dict.fromkeys(("united states", "us"), ("american",)),
    **dict.fromkeys(("united kingdom", "uk", "great britain"), ("british",)),
}
"""The adjectives of countries."""
COLUMN_WORDS = (
    *("color shade hue", "brand maker make manufacturer label", "material fabric", "pattern print design"),
    *("rating star review score", "alcohol abv strength", "ram memory", "storage disk ssd", "pieces bits parts"),
    *("players people persons", "seats seaters people passengers", "gears speeds", "mileage miles"),
)
"""What people call columns, one as well as the other, where it is no other column's name."""


def synonyms_of(phrase: str) -> tuple[str, ...]:
    """What else a value is called, in the singular or the plural."""
    said = phrase.casefold()
    return SYNONYMS.get(said) or SYNONYMS.get(said.removesuffix("s"), ())
