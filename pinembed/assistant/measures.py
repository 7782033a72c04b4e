"""The words by which people compare quantities: cheaper, the widest, how heavy, and the columns that these are of."""

from __future__ import annotations

import re

from pinembed.assistant.condition import LESS, MORE

_DEAR = "(?:expensive|pricey|dear|costly)"
_NOT = "(?:not|nothing|isn't|aren't|never)"
TOO_DEAR = (
    rf"(?<!not )(?<!nothing )(?<!isn't )(?<!aren't )too (?:{_DEAR}|much)|"
    r"(?:over|above|out of|beyond) (?:my |the |our )?budget|over ?priced|rip ?off|"
    r"daylight robbery|extortionate|"
    r"(?:prices?|costs?) (?:(?:is|are|seems?|looks?) )?(?:just |a bit |way |far |all )?too (?:high|steep)"
)
CHEAPER = (
    rf"{TOO_DEAR}|"
    r"cheaper|less expensive|lower priced|less costly|more affordable|less pricey|lower prices?|"
    r"(?:pay|spend|costs?|costing|priced|for) less|"
    r"(?:more|higher) than (?:i|we) (?:want|wish|can|could|would like|have|am willing|planned)(?: to)?"
    r"(?: (?:pay|spend|afford))?|easier on (?:the|my|our) (?:wallet|purse|budget|pocket)|lower in price|"
    r"(?:smaller|lower|tighter) budget|^(?:but )?not (?:so|as|that|too|quite so) (?:expensive|pricey|dear|costly)$|"
    r"(?:reduce|lower|bring down|cut down|decrease|beat|undercut)(?: the| that| this| its| their)?(?: prices?)?|"
    r"(?:an? )?(?:lower|better|smaller) price|bring the prices? down|bargains?|"
    r"can't (?:spend|afford)(?: (?:that|so|this|it|them|these|those))?(?: much)?|"
    r"go(?:ing)? lower"
)
DEARER = (
    r"more expensive|pricier|dearer|higher priced?|more costly|more premium|"
    r"(?:pay|spend|costs?|costing|priced|for) more|too cheap"
)
_FIRST = r"(?= (?:ones |stuff |things )?(?:first|at the top|on top|up front)\b)"
CHEAPEST = rf"cheap{_FIRST}|cheapest|least expensive|lowest priced?|most affordable|least costly|costs? (?:the )?least"
DEAREST = (
    rf"(?:dear|pricey|expensive){_FIRST}|most expensive|priciest|dearest|highest priced?|most costly|"
    r"costs? (?:the )?most"
)
CHEAP = (
    rf"(?:cheap|inexpensive|affordable|low cost|{_NOT} (?:too |so |very |that |overly )?{_DEAR}|"
    r"(?<!my )(?<!our )(?<!the )(?<!a )budget(?!'s)|"
    r"(?:doesn't|don't|won't|not|without) (?:cost(?:ing)?|break(?:ing)?) (?:a fortune|the (?:earth|bank)|a bomb))"
)
BIGGER = "bigger|larger|roomier"


def _greatest(comparatives: str) -> str:
    """The superlatives of comparatives."""
    return re.sub(r"er\b", "est", comparatives).replace("more ", "most ").replace("less ", "least ")


COMPARATIVES: tuple[tuple[str, str, str], ...] = (
    *(("price", LESS, CHEAPER), ("price", MORE, DEARER)),
    *((word, MORE, BIGGER) for word in ("size", "capacity", "volume", "area", "screen")),
    *((word, LESS, "smaller") for word in ("size", "capacity", "volume", "area", "screen")),
    *(("width", MORE, "wider|broader"), ("width", LESS, "narrower"), ("height", MORE, "taller|higher")),
    *(("height", LESS, "shorter|lower"), ("length", MORE, "longer"), ("length", LESS, "shorter")),
    *(("weight", MORE, "heavier"), ("weight", LESS, "lighter"), ("depth", MORE, "deeper")),
    *(("depth", LESS, "shallower"), ("age", MORE, "older"), ("age", LESS, "younger"), ("year", MORE, "newer")),
    *(("year", LESS, "older"), ("rating", MORE, "better rated|higher rated"), ("rating", LESS, "lower rated")),
    *(("alcohol", MORE, "stronger"), ("alcohol", LESS, "weaker|lighter"), ("lumen", MORE, "brighter")),
    *(("lumen", LESS, "dimmer"), ("speed", MORE, "faster|quicker"), ("speed", LESS, "slower")),
    *(("power", MORE, "stronger|more powerful|faster"), ("power", LESS, "weaker|less powerful")),
    *(("watt", MORE, "stronger|more powerful"), ("watt", LESS, "weaker|less powerful")),
    *(("noise", MORE, "louder|noisier"), ("noise", LESS, "quieter|less (?:noisy|loud)")),
    *(("thickness", MORE, "thicker"), ("thickness", LESS, "thinner"), ("pages", MORE, "longer|thicker")),
    *(("pages", LESS, "shorter|thinner"), ("battery", MORE, "longer lasting"), ("piece", MORE, BIGGER)),
)
"""Word in a column's name, operator, and the comparatives that mean it."""
GREATER, LESSER = (
    "more|too few|not enough|too little|higher|greater|larger|bigger|longer|better",
    "less|too many|too much|lower|smaller|shorter|fewer",
)
"""Before the name of a quantity."""
GREATEST, LEAST = "highest|longest|best|greatest|largest|biggest|most|top", "lowest|smallest|least|fewest|shortest"
"""Before the name of any quantity; only the best price is the lowest."""
SUPERLATIVES: tuple[tuple[str, bool, str], ...] = (
    *(("price", False, CHEAPEST), ("price", True, DEAREST), ("year", True, "latest")),
    *(("weight", True, "weighs? (?:the )?most"), ("weight", False, "weighs? (?:the )?least")),
    ("rating", True, "(?:best|top|highest) (?:rated|reviewed|scored|scoring)|best(?= first)"),
    *((word, op == MORE, _greatest(words)) for word, op, words in COMPARATIVES if word not in {"price", "rating"}),
)
"""Word in a column's name, whether the greatest comes first, and the superlatives that mean it."""
MEASURES = {
    **dict.fromkeys(("wide", "broad"), "width"),
    **dict.fromkeys(("tall", "high"), "height"),
    **dict.fromkeys(("heavy", "weigh", "weighs", "weighing"), "weight"),
    **dict.fromkeys(("rated", "rating", "score", "scored", "review", "reviews", "better"), "rating"),
    **dict.fromkeys(("holds", "holding"), "capacity"),
    **dict.fromkeys(("aged", "suitable", "recommended", "kid", "kids", "child", "children", "toddlers"), "age"),
    "long": "length",
    "deep": "depth",
}
"""Words that say which number of a thing is meant, and a word in its column's name."""
