"""What a person typed as words: cleaned, cut into tokens, and brought to stems by which two words say the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MARKUP = re.compile(r"<\|[^<>|]*\|>|</?(?:tool_call|tool_response|tools|think)>", re.IGNORECASE)
"""What chat templates and tool calls are framed with; in a wish or a title it is noise."""
CURRENCY_SIGNS = "€$£¥₹₩"
TOKEN = re.compile(
    rf"#\d+|\d+(?:st|nd|rd|th)\b|\d+(?:[.,]\d+)*|[<>]=?|[≤≥]|[{CURRENCY_SIGNS}]|[^\W\d_]+(?:'[^\W\d_]+)*|[-+,;?.!:]"
)
SPELLINGS = {
    "colour": "color",
    "colours": "color",
    "colors": "color",
    "coloured": "color",
    "colored": "color",
    "checkered": "checked",
    "chequered": "checked",
    "flowery": "floral",
    "flowered": "floral",
    "flowers": "floral",
    "stripey": "striped",
    "spotty": "spotted",
    "woolen": "wool",
    "woollen": "wool",
    "cheeper": "cheaper",
    "wo": "without",
    "pls": "please",
    "plz": "please",
    "thx": "thanks",
    "em": "them",
    "im": "i'm",
    "u": "you",
    "ur": "your",
    "n": "and",
    "gimme": "give me",
    "lemme": "let me",
    "wanna": "want to",
    "gonna": "going to",
    "gotta": "got to",
    "dunno": "don't know",
    "whatcha": "what have you",
    "cos": "because",
    "coz": "because",
    "cuz": "because",
    "cause": "because",
    "diff": "difference",
    "sz": "size",
    "woman's": "women",
    "womans": "women",
    "mans": "men",
    "poss": "possible",
    "pref": "preferably",
    "prev": "previous",
    "tho": "though",
    "ppl": "people",
    "aswell": "as well",
    "alot": "a lot",
    "dosnt": "doesn't",
    "hav": "have",
    "summat": "something",
    "smth": "something",
    "owt": "anything",
    "nowt": "nothing",
    "one's": "one is",
    "!": ".",
    ":": ",",
}
"""Spellings and forms that no rule of endings finds."""
_PAIRS = (
    "multicoloured/multicolored flavour/flavor favourite/favorite armour/armor harbour/harbor odour/odor grey/gray "
    "tyre/tire aluminium/aluminum jewellery/jewelry fibre/fiber centre/center litre/liter metre/meter "
    "theatre/theater pyjama/pajama cosy/cozy mould/mold moulded/molded plough/plow draught/draft doughnut/donut "
    "yoghurt/yogurt chilli/chili whisky/whiskey licence/license catalogue/catalog traveller/traveler "
    "travelling/traveling panelled/paneled enamelled/enameled customised/customized personalised/personalized "
    "moisturiser/moisturizer organiser/organizer moustache/mustache axe/ax"
)
SPELLINGS |= {
    other + plural: british + plural
    for british, other in (pair.split("/") for pair in _PAIRS.split())
    for plural in ("", "s")
}
"""British and American spellings are one word, in a wish and in a table."""
CONTRACTED = (
    "don't doesn't didn't isn't aren't wasn't weren't won't can't couldn't wouldn't shouldn't mustn't haven't hasn't "
    "hadn't needn't ain't i'm i've you're you've you'd you'll we've they're they've they'd he's he'd she's she'd it'd "
    "it'll that's that'd that'll what's what'd who's who'd where's there's there'd here's how's let's y'all"
)
SPELLINGS |= {word.replace("'", ""): word for word in CONTRACTED.split()}
"""Contractions are often typed without their sign."""
SIGNS = frozenset("-+,;?.")
"""Tokens that are no words."""
WITH = re.compile(r"\bw/(o\b)? ?")
WRITTEN_WITH_SIGNS = (
    (re.compile(r"%"), " percent "),
    (re.compile(rf"(?<=[\s\d{CURRENCY_SIGNS}])&(?=[\s\d{CURRENCY_SIGNS}])"), " and "),
    (re.compile(r"(?<=\d)[.,] ?[-\u2013\u2014](?!\d)"), " "),
    (re.compile(r"(?<=\d) ?(?:\"|''|\u2032\u2032|\u201d)(?!\w)"), " inch "),
    (re.compile(r"(?<![a-z])(?:m2|sq\.? ?m(?:et(?:re|er)s?)?|square met(?:re|er)s?)(?![a-z\d])"), " sqm "),
    (re.compile(r"(?<![a-z])(?:sq\.? ?(?:ft|feet)|square f(?:oo|ee)t)(?![a-z\d])"), " sqft "),
    (re.compile(r"(?<![a-z])km ?/ ?h(?![a-z])"), " kmh "),
    (re.compile(r"(?<=\d) ?(?:yo|y/o)\b"), " year old"),
    (re.compile(r"\bback and forth\b"), "considering"),
)
"""Units that are written with signs or in two words, and an expression that names no place, as one word each."""
IN_A_NUMBER = re.compile(r"(?<=[a-z]ty)-(?=(?:one|two|three|four|five|six|seven|eight|nine)\b)")
"""The hyphen of fifty-five, which is no range."""
SHORTEST_STEM, SHORTEST_TYPO, LONG_WORD = 4, 4, 8
VOWELS = frozenset("aeiouy")


def clean(text: str) -> str:
    """The text in one line, in Unicode's compatible form, without invisible characters and the marks of templates."""
    text = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = "".join(sign if unicodedata.category(sign)[0] != "C" else " " if sign.isspace() else "" for sign in text)
    return " ".join(MARKUP.sub(" ", text).split())


def plain(text: str, specials: Iterable[str]) -> str:
    """A cleaned text without what a tokenizer keeps for itself."""
    text = clean(text)
    for special in specials:
        text = text.replace(special, " ")
    return " ".join(text.split())


def tokens_of(text: str) -> list[str]:
    """Words, numbers, signs of comparison and currency in lower case and without accents; other signs are left out."""
    folded = unicodedata.normalize("NFKD", clean(text).casefold())
    plain = "".join(sign for sign in folded if not unicodedata.combining(sign))
    plain = WITH.sub(lambda sign: "without " if sign[1] else "with ", unicodedata.normalize("NFC", plain))
    for written, word in WRITTEN_WITH_SIGNS:
        plain = written.sub(word, plain)
    tokens = TOKEN.findall(IN_A_NUMBER.sub(" ", plain))
    return [word for token in tokens for word in _spelled(token).split()]


def _spelled(token: str) -> str:
    """In the one spelling of a word, `colour's` too."""
    word, sign, ending = token.partition("'")
    return SPELLINGS.get(token) or f"{SPELLINGS.get(word, word)}{sign}{ending}"


def stem(word: str) -> str:
    """A word without its ending: mugs and mug, striped and stripes, commuting and commute have one stem each."""
    word = word.removesuffix("'s")
    if len(word) < SHORTEST_STEM or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > SHORTEST_STEM:
        word = word[:-3] + "y"
    elif word.endswith(("ses", "xes", "zes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending, fewest in (("ing", 3), ("ed", 3), ("en", 4), ("y", 4)):
        left = word.removesuffix(ending)
        if fewest <= len(left) < len(word) and set(left) & VOWELS:
            word = left
            break
    if len(word) > SHORTEST_STEM - 1 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) >= SHORTEST_STEM else word


def stems_of(text: str) -> tuple[str, ...]:
    """The stems of a text's words and numbers."""
    return tuple(stem(token) for token in tokens_of(text) if token not in SIGNS)


def spelled_like(word: str, known: Iterable[str]) -> str:
    """The one known word that this is a slip of the keyboard from; empty where there is none, or two as near.

    One letter may be wrong, missing, doubled or swapped with its neighbour, two in a long word, never the first; in a
    word of four letters only a doubled or swapped one.
    """
    if len(word) < SHORTEST_TYPO or not word.isalpha():
        return ""
    allowed = 2 if len(word) >= LONG_WORD else 1
    near = {other: slips for other in known if (slips := _slips(word, other, allowed)) <= allowed}
    least = min(near.values(), default=0)
    best = [other for other, slips in near.items() if slips == least]
    return best[0] if len(best) == 1 else ""


def spelled_alike(word: str, known: Iterable[str]) -> str:
    """The same, where both have the same letters: one doubled, missing beside its double, or swapped."""
    same = [other for other in known if set(other) == set(word)]
    return spelled_like(word, same)


def _slips(word: str, other: str, allowed: int) -> int:
    """Edits between two words (optimal string alignment); more than allowed where they cannot be slips at all."""
    too_many = allowed + 1
    if other[:1] != word[:1] or abs(len(word) - len(other)) > allowed or len(other) < SHORTEST_TYPO - 1:
        return too_many
    if min(len(word), len(other)) <= SHORTEST_TYPO and set(word) != set(other):
        return too_many
    before, last = list[int](), list(range(len(other) + 1))
    for row, letter in enumerate(word, start=1):
        now = [row]
        for column, wanted in enumerate(other, start=1):
            cost = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != wanted))
            swapped = row > 1 and column > 1 and letter == other[column - 2] and word[row - 2] == wanted
            now.append(min(cost, before[column - 2] + 1) if swapped else cost)
        before, last = last, now
    return last[-1]
