"""References: the words that point at shown items (the second one, the last two, it, the blue one), as positions."""

from __future__ import annotations

import dataclasses
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
A_THING = rf"(?:ones?|1(?= |$)|pair|items?|products?|results?|options?|(?:{ANY_VALUE} )*{A_KIND})"
THING = rf"(?: (?:{A_THING}|of (?:them|these|those)))?"
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
NUMBERED = r"(?:no|nr|pos|spot|position|place|pair|(?:number|item|option|result|product)s?)"
"""Before the place of an item in figures or words."""
MIDDLE, FORMER, LATTER, BOTH = "middle", "former", "latter", "both"
SIDES = {"top": 1, "start": 1, "beginning": 1, "bottom": -1, "end": -1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The list that references point at.

    Attributes:
        count: items on it.
        spoken: places of those that were spoken of last, in the order in which they were.
    """

    count: int = 0
    spoken: tuple[int, ...] = ()

    def places(self, meant: str) -> tuple[int, ...]:
        """Where the middle is, or the one or both of two; empty where there are none such."""
        if meant == MIDDLE:
            return ((self.count + 1) // 2,) if self.count else ()
        two = self.spoken if len(self.spoken) == 2 else (1, 2) if self.count > 1 and meant != BOTH else ()
        return {FORMER: two[:1], LATTER: two[1:], BOTH: two}.get(meant, ())


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Words that point at items.

    Attributes:
        items: positions, 1 the first, -1 the last; empty for what was spoken of last.
        several: the words speak of more than one.
        named: they speak of one for sure, whether or not one was spoken of: that one, the same chair.
        meant: what it takes the list to place; empty for none: the middle, the former, the latter, both.
    """

    items: tuple[int, ...]
    several: bool = False
    named: bool = False
    meant: str = ""

    @property
    def is_placed(self) -> bool:
        """Whether it says where: the first, and not just those."""
        return bool(self.items) and self.meant != BOTH


NO_LIST = Listed()
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


def _at_a_side(match: re.Match[str]) -> Reference:
    side = match["side"] or match["bare"] or MIDDLE
    return Reference(items=(SIDES[side],)) if side in SIDES else Reference(items=(), named=True, meant=MIDDLE)


def _is_had(match: re.Match[str]) -> bool:
    """Whether an item is asked for with something: that in plum."""
    behind = match.string[match.end() :]
    return match[0] == "that" and re.match(rf" in (?:an? )?{ANY_VALUE}", behind) is not None


NO_PART = rf"(?! (?:of|end|range|price|speed|shelf|drawer|row|half|class|{A_KIND})(?!\w))"
"""Not behind the top of something else."""
_SIDE = "top|start|beginning|bottom|end"
_WHERE = r"(?: (?:right|just|bang|up|down|way|all the way|over there))* (?:at|in|on|to)(?: the)?(?: very)?"
_OF_THE_LIST = r"(?: of (?:the|your|my|this|that) (?:list|page|row|lot|bunch|results))?"
PATTERNS: tuple[tuple[str, Made], ...] = (
    (
        rf"\b(?:the |that )?(?:(?:middle|central) {A_THING}|{A_THING}{_WHERE} (?P<side>{_SIDE}|middle|centre)|"
        rf"(?:right|all the way|way down) at the (?:very )?(?P<bare>{_SIDE})){_OF_THE_LIST}(?!\w){NO_PART}",
        _at_a_side,
    ),
    (
        r"\b(?:the )?(?P<meant>former|latter)(?:'s)?(?: (?:one|1|of (?:them|these|those|the two)))?(?!\w)",
        lambda match: Reference(items=(), named=True, meant=match["meant"]),
    ),
    (rf"\b(?:{THE})?(?:first|top|topmost|uppermost) (?P<count>{COUNT})\b{THING}", _first),
    (rf"\b(?:{THE})?(?:last|final|bottom|bottommost) (?P<count>{COUNT})\b{THING}", _last),
    (
        rf"\b(?:{THE})?(?:(?!first)(?P<from_end>{ORDINAL}|next)(?:(?: to)? last| from the (?:end|bottom))|"
        rf"penultimate|last but one|(?:one|{A_KIND}) (?:just |right )?before (?:the )?(?:very )?last)\b{THING}",
        _from_the_end,
    ),
    (
        rf"(?:(?<!\w)(?:the )?(?:(?:{ANY_VALUE} )*{A_KIND} )?\b{NUMBERED} (?P<number>{COUNT})\b|"
        r"(?:the )?(?P<sign>#\d+))",
        lambda match: _numbered(match) if match["number"] else Reference(items=(int(match["sign"][1:]),)),
    ),
    (
        rf"\b(?:{THE}(?P<ordinal>{ORDINAL})\b{THING}|"
        rf"(?<!\ba )(?<!\bmy )(?<!\bour )(?<!\bher )(?<!\bhis )(?P<bare>{ORDINAL})\b{THING}{ENDS_OF_PLACE})",
        lambda match: Reference(items=(_position(match["ordinal"] or match["bare"]),)),
    ),
    (
        rf"\b(?:{THE}last\b{THING}|(?<!it )(?<!they )(?<!that )last\b{THING}{ENDS_OF_PLACE})",
        lambda match: Reference(items=(-1,)),
    ),
    (
        rf"\bboth(?: (?:of )?(?:them|these|those))?\b{THING}{ENDS}|\b(?:these|those|the) two(?: {A_THING})?\b{ENDS}",
        lambda match: Reference(items=(), several=True, meant=BOTH),
    ),
    (
        rf"\b(?:both|all(?! {ANY_VALUE}))(?: (?:of )?(?:them|these|those|the {COUNT}|{COUNT}))?\b{THING}{ENDS}",
        lambda match: Reference(items=(), several=True),
    ),
    (
        rf"\b(?:the |that )?same (?:one|thing|item|product|{A_KIND}|[a-z]+(?= (?:in|but) ))(?!\w)(?! (?:as|like)\b)",
        lambda match: Reference(items=(), named=True),
    ),
    (
        r"\b(?:these|those|them|they)(?: (?:ones|items|products|two|three))?\b",
        lambda match: Reference(items=(), several=True, meant=BOTH),
    ),
    (
        rf"\b(?:it(?!'s (?:an?|for|because|been|going|my|our|his|her)\b)|its|this(?: one| item| product| {A_KIND})?|"
        rf"that (?:one|item|product|{A_KIND})|"
        r"(?:(?<=\bis )|(?<=\bdoes )|(?<=\bwould )|(?<=\bcould )|(?<=\bcan )|(?<=\bwill )|(?<=\bdid ))that|"
        rf"that(?! (?:is|are)\b){ENDS})(?!\w)",
        lambda match: Reference(items=(), named=" one" in match[0] or _is_had(match)),
    ),
)


def take_references(text: str, *, counted: bool = False, listed: Listed = NO_LIST) -> tuple[str, list[Reference]]:
    """The text with a mark in the place of each reference, and the references in the order of the marks.

    Args:
        text: of words and marks.
        counted: bare figures are positions too, as in `compare 1 and 3`.
        listed: what the words can point at.
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
    return " ".join(text.split()), _placed(found, listed)


def _placed(found: Sequence[Reference], listed: Listed) -> list[Reference]:
    """With the places of those that take the list; `both` counts where no other place is named."""
    placed = [
        one if one.meant in {"", BOTH} else dataclasses.replace(one, items=listed.places(one.meant)) for one in found
    ]
    if any(one.items for one in placed):
        return placed
    return [dataclasses.replace(one, items=listed.places(BOTH)) if one.meant == BOTH else one for one in placed]


def in_order(text: str, found: Sequence[Reference]) -> list[Reference]:
    """The references as they stand in the text."""
    return [found[ord(sign) - ord(REFERENCE)] for sign in text if 0 <= ord(sign) - ord(REFERENCE) < len(found)]
