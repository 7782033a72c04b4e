"""Numbers in a wish: figures in any country's writing, number words, currencies, and the limits they are part of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pinembed.assistant.condition import AT_LEAST, AT_MOST, LESS, MORE
from pinembed.assistant.cues import NEGATIONS
from pinembed.assistant.units import EXACT_UNIT_WORDS, UNIT_WORDS, unit_of
from pinembed.assistant.vocabulary import CURRENCIES
from pinembed.assistant.words import stem

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
CARDINALS = {word: number for number, word in enumerate(ONES)} | {
    word: 10 * number for number, word in enumerate(TENS, start=2)
}
SCALES = {"fiver": 5, "tenner": 10, "hundred": 100, "thousand": 1000, "grand": 1000, "k": 1000}
WORD = "|".join(sorted((*CARDINALS, *SCALES), key=len, reverse=True))
PARTS = {"half": 0.5, "a": 1, "an": 1}
AND_A_HALF = " and a half"
NUMBER_WORDS = frozenset((*CARDINALS, *SCALES))
NUMBER = (
    rf"(?:(?:(?:a (?={'|'.join(SCALES)}))?"
    rf"(?:\d[\d.,]*|(?:{WORD})\b)(?: (?:and )?(?:{WORD})\b)*(?:{AND_A_HALF})?)|"
    rf"(?:half )?an?(?= (?:{UNIT_WORDS})(?!\w)))"
)
CURRENCY = "|".join(
    sorted({re.escape(word) + ("s?" if word.isalpha() else "") for word in CURRENCIES}, key=len, reverse=True)
)
AMOUNT = rf"(?<!\w)(?:(?:{CURRENCY}) )?{NUMBER}(?: (?:{CURRENCY}|{UNIT_WORDS})(?!\w))?"
OPERATORS = {
    AT_MOST: (
        r"at most|(?:my |our |a |the )?(?:budget|limit|ceiling|cap)(?:'s)?"
        r"(?: (?:stops?|ends?|(?:tops|maxes|caps) out))?|"
        r"(?:spend|pay|afford)(?:ing)?|price(?= to )|stretch(?:ing)? to|go(?:ing)? (?:to|as high as)|"
        r"as (?:much|high) as|capped at|not exceeding|up to|max(?:imum)?|within|until|<=|≤"
    ),
    AT_LEAST: r"at least|from|min(?:imum)?|starting (?:at|from)|upwards of|>=|≥",
    LESS: (
        r"under|below|beneath|sub(?: -)?|south of|shy of|less expensive than|"
        r"(?:less|lower|fewer|cheaper|smaller|lighter|shorter|narrower|younger|shallower|"
        r"weaker|slower|dimmer|quieter|thinner) than|<"
    ),
    MORE: (
        r"over|above|more expensive than|beyond|north of|in excess of|exceed(?:s|ing)?|"
        r"(?:more|higher|greater|pricier|dearer|larger|bigger|heavier|taller|longer|wider|broader|older|deeper|"
        r"stronger|faster|quicker|brighter|louder|thicker|more powerful) than|>"
    ),
}
DENIED = {LESS: AT_LEAST, MORE: AT_MOST}
"""What not less and not more are."""
_SPENDING = (
    "wants? to go going pay paying spend spending carry carrying have having costs? costing be being weighs? weighing "
    "anything any that is are rated for"
)
A_DENIAL = rf"(?:{'|'.join(sorted(NEGATIONS))}|can't|cannot|won't|wouldn't)(?: (?:{_SPENDING.replace(' ', '|')}))*"
"""What turns an operator round: nothing over, don't want to spend more than."""
_IS_TOO = "(?:is|are|was|would be)(?: just| way| far| a bit)? too"
_OR_LESS = "less|cheaper|under|below|lower|fewer|smaller|lighter|shorter|narrower|younger|weaker"
_OR_MORE = "more|up|over|above|higher|larger|bigger|better|heavier|longer|wider|taller|older|newer|stronger|faster"
OR_SO = f"{_OR_LESS}|{_OR_MORE}"
BEHIND = {
    AT_MOST: rf"(?:or|and) (?:{_OR_LESS})|at (?:the )?(?:very )?(?:most|outside)|max(?:imum)?|tops|to spend(?: on)?|"
    r"(?:is|would be) (?:my|our|the) (?:\w+ )?(?:limit|max(?:imum)?|budget|ceiling)",
    LESS: rf"{_IS_TOO} (?:much|expensive|dear|pricey|high|heavy|big|large|long|wide)",
    MORE: rf"{_IS_TOO} (?:little|cheap|low|light|small|short|narrow)",
    AT_LEAST: rf"(?:or|and) (?:{_OR_MORE})|at (?:the )?(?:very )?least|min(?:imum)?|"
    r"(?:(?:or|and) )?(?:up|on)wards?|[+]|plus(?! size)",
}
AROUND = (
    r"around|(?<!what )(?<!how )about|roughly|approximately|approx|circa|ca|near|close to|"
    r"in the (?:region|area|vicinity|neighbou?rhood|ballpark) of"
)
ABOUT = r"ish|or so|(?:or )?thereabouts|give or take|more or less"
LIMIT_WORDS = frozenset(re.findall(r"[a-z]{4,}", " ".join((*OPERATORS.values(), *BEHIND.values(), AROUND, ABOUT))))
EXACTLY = "exactly"
NEAR = 0.2
"""Share of a number that lies around it."""
OF = r"(?: (?:the )?ages?(?= (?:of )?\S))?(?: of| is| at| to| price of)?(?: (?:an?|the)(?= \d[\d.,]*(?: |$)))?"
NO_PLACES = r"(?<!first )(?<!last )(?<!these )(?<!those )"
"""Before a number that does not count shown items."""
PATTERNS = (
    ("between", rf"\bbetween ({AMOUNT}) (?:and|to|-) ({AMOUNT})"),
    ("between", rf"(?:\bfrom )?({AMOUNT}) (?:to|-) ({AMOUNT})"),
    *((DENIED[op], rf"\b{A_DENIAL} (?:{OPERATORS[op]}){OF} ({AMOUNT})") for op in DENIED),
    *((op, rf"(?<!\w)(?:{words}){OF} ({AMOUNT})") for op, words in OPERATORS.items()),
    *((op, rf"{NO_PLACES}({AMOUNT}) (?:{words})(?!\w)") for op, words in BEHIND.items()),
    ("around", rf"\b(?:{AROUND})(?: the(?= \d[\d.,]*(?: |$)))? ({AMOUNT})"),
    ("around", rf"({AMOUNT})(?: (?:wide|tall|high|long|deep))? (?:- )?(?:{ABOUT})(?!\w)"),
    (AT_LEAST, rf"(?<!\w)({NUMBER} stars?)(?!\w)"),
    (AT_MOST, rf"\bfor ({AMOUNT})"),
    (EXACTLY, rf"\b(?:exactly|precisely) ({AMOUNT})"),
    (EXACTLY, rf"(?<!\w)(?!an? \w{{1,2}}(?!\w))({NUMBER}(?: -)? (?:{EXACT_UNIT_WORDS}))(?!\w)"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """Limits in a wish.

    Attributes:
        start, end: of the words, in the text.
        limits: operators and numbers.
        currency: code of the currency it was given in; empty where none was.
        unit: the word of the unit of measure it was given in; empty where none was.
        is_exact: a number with its unit and no word for a limit, which is none where no column holds such.
    """

    start: int
    end: int
    limits: tuple[tuple[str, float], ...]
    currency: str
    unit: str
    is_exact: bool = False


def amounts(text: str) -> Iterator[Amount]:
    """The limits that tokens joined by spaces name, from the left; of overlapping ones the first of PATTERNS."""
    taken: list[tuple[int, int]] = []
    for op, pattern in PATTERNS:
        for match in re.finditer(pattern, text):
            start, end = match.span()
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            numbers = [number_of(group) for group in match.groups()]
            if not all(map(math.isfinite, numbers)):
                continue
            currency = next(filter(None, map(currency_of, match.groups())), "")
            unit = next(filter(None, map(unit_in, match.groups())), "")
            if (op, currency) == (AT_MOST, "") and match.group().startswith("for "):
                continue  # for two people
            taken.append((start, end))
            limits, is_exact = _limits(op, numbers), op == EXACTLY
            yield Amount(start=start, end=end, limits=limits, currency=currency, unit=unit, is_exact=is_exact)


def _limits(op: str, numbers: list[float]) -> tuple[tuple[str, float], ...]:
    if op == "between":
        return (AT_LEAST, min(numbers)), (AT_MOST, max(numbers))
    if op == "around":
        return (AT_LEAST, numbers[0] * (1 - NEAR)), (AT_MOST, numbers[0] * (1 + NEAR))
    return ((AT_LEAST, numbers[0]), (AT_MOST, numbers[0])) if op == EXACTLY else ((op, numbers[0]),)


def number_of(amount: str) -> float:
    """The number in an amount; of `1.299,50` and `1,299.50` the last sign is the decimal one."""
    whole = amount.replace(AND_A_HALF, "")
    total, current = 0.5 if whole != amount else 0.0, 0.0
    for word in whole.split():
        if word[0].isdigit():
            current = _figure(word)
        elif word in TENS and 1 <= current <= 9:
            current = 100 * current + CARDINALS[word]  # one fifty
        elif word in CARDINALS:
            current += CARDINALS[word]
        elif word in PARTS:
            current = (current or 1.0) * PARTS[word]
        elif word in SCALES:
            current = (current or 1.0) * SCALES[word]
            if SCALES[word] > SCALES["hundred"]:
                total, current = total + current, 0.0
    return total + current


def _figure(word: str) -> float:
    word = word.rstrip(".,")
    place = max(word.rfind("."), word.rfind(","))
    if place < 0:
        return float(word)
    head, sign, tail = word[:place], word[place], word[place + 1 :]
    is_thousands = len(tail) == 3 and (sign in head or not set(head) & set(".,"))
    whole = re.sub(r"[.,]", "", head)
    return float(whole + tail) if is_thousands else float(f"{whole or 0}.{tail}")


def currency_of(amount: str) -> str:
    """The code of the currency that an amount names; empty where it names none."""
    return next((CURRENCIES[key] for word in amount.split() for key in (word, stem(word)) if key in CURRENCIES), "")


def unit_in(amount: str) -> str:
    """The word of the unit of measure that an amount ends with; empty where it has none."""
    last = amount.split()[-1]
    return last if unit_of(last) is not None else ""
