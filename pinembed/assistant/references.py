"""References: the words that point at shown items (the second one, the last two, it, the blue one), as positions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pinembed.assistant.amounts import CURRENCY, ONES, number_of
from pinembed.assistant.cues import CUE_WORDS, STOP_WORDS
from pinembed.assistant.lexicon import A_KIND, A_REFERENCE, ANY_VALUE, REFERENCE
from pinembed.assistant.units import UNIT_WORDS

ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    "twentieth",
)
ORDINAL = rf"(?:{'|'.join(ORDINALS)}|\d+(?:st|nd|rd|th))"
COUNT = rf"(?:\d+|{'|'.join(ONES[1:])})"
THE = "(?:the|that|this|these|those)(?: very)? "
THING = rf"(?: (?:ones?|items?|products?|results?|options?|of (?:them|these|those)|(?:{ANY_VALUE} )*{A_KIND}))?"
"""What may stand behind an ordinal and says nothing more: the second one, the second teal mug."""
ENDS = (
    r"(?= (?:but|and|or|in|with|without|instead|please|is|are|for|to|vs|versus|than|from|only|also|against|compared|"
    r"better|,|;|\?|-|[.]|"
    rf"{A_REFERENCE}|{ANY_VALUE})|$)"
)
ASKING = frozenset(
    ["show", "find", "search", "give", "get", "i", "i'd", "i'm", "we", "let", "look", "looking", "want", "need", "try"]
)
PLAIN_WORDS = "|".join(sorted(re.escape(word) for word in (STOP_WORDS | CUE_WORDS) - ASKING))
ENDS_OF_PLACE = rf"(?:{ENDS}|(?= (?:{PLAIN_WORDS}|against|compared|side)(?!\w)))"
"""What may stand behind a bare `second`, which then is no thing of its own as in `second hand`."""
SINGLE, SEVERAL = "one", "several"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Words that point at items.

    Attributes:
        items: positions, 1 the first, -1 the last; empty for what was spoken of last.
        several: the words speak of more than one.
        named: they speak of one for sure, whether or not one was spoken of: that one, the same chair.
    """

    items: tuple[int, ...]
    several: bool = False
    named: bool = False


Made = Callable[["re.Match[str]"], Reference]


def _position(word: str) -> int:
    return ORDINALS.index(word) + 1 if word in ORDINALS else int(re.sub(r"\D", "", word))


def _first(match: re.Match[str]) -> Reference:
    count = int(number_of(match["count"]))
    return Reference(items=tuple(range(1, count + 1)), several=count > 1)


def _last(match: re.Match[str]) -> Reference:
    count = int(number_of(match["count"]))
    return Reference(items=tuple(range(-count, 0)), several=count > 1)


def _from_the_end(match: re.Match[str]) -> Reference:
    word = match["from_end"] or "second"
    return Reference(items=(-(2 if word == "next" else _position(word)),))


def _numbered(match: re.Match[str]) -> Reference:
    word = match["number"]
    return Reference(items=(int(number_of(word.removeprefix("#"))),))


def _is_had(match: re.Match[str]) -> bool:
    """Whether an item is asked for with something: that in plum."""
    behind = match.string[match.end() :]
    return match[0] == "that" and re.match(rf" in (?:an? )?{ANY_VALUE}", behind) is not None


PATTERNS: tuple[tuple[str, Made], ...] = (
    (rf"\b(?:{THE})?(?:first|top) (?P<count>{COUNT})\b{THING}", _first),
    (rf"\b(?:{THE})?(?:last|final|bottom) (?P<count>{COUNT})\b{THING}", _last),
    (
        rf"\b(?:{THE})?(?:(?!first)(?P<from_end>{ORDINAL}|next)(?:(?: to)? last| from the (?:end|bottom))|"
        rf"penultimate|last but one)\b{THING}",
        _from_the_end,
    ),
    (
        rf"(?:\b(?:the )?(?:no|nr|(?:number|item|option|result|product)s?) (?P<number>{COUNT})\b|"
        r"(?:the )?(?P<sign>#\d+))",
        lambda match: _numbered(match) if match["number"] else Reference(items=(int(match["sign"][1:]),)),
    ),
    (
        rf"\b(?:{THE}(?P<ordinal>{ORDINAL})\b{THING}|"
        rf"(?P<bare>{ORDINAL})\b{THING}{ENDS_OF_PLACE})",
        lambda match: Reference(items=(_position(match["ordinal"] or match["bare"]),)),
    ),
    (
        rf"\b(?:{THE}last\b{THING}|(?<!it )(?<!they )(?<!that )last\b{THING}{ENDS_OF_PLACE})",
        lambda match: Reference(items=(-1,)),
    ),
    (
        rf"\b(?:both|all(?! {ANY_VALUE}))(?: (?:of )?(?:them|these|those|the {COUNT}|{COUNT}))?\b{THING}{ENDS}",
        lambda match: Reference(items=(), several=True),
    ),
    (
        rf"\b(?:the |that )?same (?:one|thing|item|product|{A_KIND})(?!\w)(?! (?:as|like)\b)",
        lambda match: Reference(items=(), named=True),
    ),
    (
        r"\b(?:these|those|them|they)(?: (?:ones|items|products|two|three))?\b",
        lambda match: Reference(items=(), several=True),
    ),
    (
        rf"\b(?:it(?!'s (?:an?|for|because|been|going|my|our|his|her)\b)|its|this(?: one| item| product| {A_KIND})?|"
        rf"that (?:one|item|product|{A_KIND})|"
        r"(?:(?<=\bis )|(?<=\bdoes )|(?<=\bwould )|(?<=\bcould )|(?<=\bcan )|(?<=\bwill )|(?<=\bdid ))that|"
        rf"that(?! (?:is|are)\b){ENDS})(?!\w)",
        lambda match: Reference(items=(), named=" one" in match[0] or _is_had(match)),
    ),
)


def take_references(text: str, *, counted: bool = False) -> tuple[str, list[Reference]]:
    """The text with a mark in the place of each reference, and the references in the order of the marks.

    Args:
        text: of words and marks.
        counted: bare figures are positions too, as in `compare 1 and 3`.
    """
    patterns = list(PATTERNS)
    if counted:
        joined = rf"one(?= (?:and|or|with|to|against|versus|vs|,) (?:number )?{COUNT}(?!\w))"
        patterns.append(
            (rf"(?<!\w)(?P<number>{joined}|(?!one\b){COUNT})(?!\w)(?! (?:{CURRENCY}|{UNIT_WORDS})(?!\w))", _numbered)
        )
    found: list[Reference] = []
    for pattern, make in patterns:

        def marked(match: re.Match[str], make: Made = make) -> str:
            found.append(make(match))
            return chr(ord(REFERENCE) + len(found) - 1)

        text = re.sub(pattern, marked, text)
    return " ".join(text.split()), found


def in_order(text: str, found: Sequence[Reference]) -> list[Reference]:
    """The references as they stand in the text."""
    return [found[ord(sign) - ord(REFERENCE)] for sign in text if 0 <= ord(sign) - ord(REFERENCE) < len(found)]
