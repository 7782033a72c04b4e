"""Counted: numbers beside a column's own noun as conditions: 1000 pieces, a 5 year old, games for 4, after 2015."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pinembed.assistant.amounts import AMOUNT, BEHIND, NUMBER, amounts, number_of
from pinembed.assistant.condition import AT_LEAST, AT_MOST, LESS, MORE, Condition
from pinembed.assistant.lexicon import LIMIT, Lexicon
from pinembed.assistant.units import column_unit
from pinembed.assistant.words import tokens_of
from pinembed.trimmed.questions import spoken

UPPER_ENDS = frozenset(["max", "maximum", "up"])
LOWER_ENDS = frozenset(["min", "minimum", "from"])
"""Words of a column's name by which its number is the end of a range that a wish is to lie in."""
BETWEEN = "between"
NOTHING = r"(?!)"
MONTHS, FIRST_YEAR = 12, 1000
_CHILD = (
    "(?:he|she|they|(?:the |my |our |his |her )?(?:sons?|daughters?|kids?|child(?:ren)?|boys?|girls?|twins|"
    "nephew|niece|grandson|granddaughter|"
    "grandchild|godson|goddaughter|brother|sister|cousin|little one|youngest|oldest|eldest|toddler|baby))"
)
_WHO = r"(?:(?:(?:suitable |good |okay |fine )?(?:for|to) )?(?:an?|my|our|his|her|their|the|some) )?"
AGES = (
    rf"\b(?:for )?{_WHO}(?P<number>{NUMBER}) (?:- )?(?:(?:years?|yrs?)|(?P<months>months?))(?: -)? olds?\b",
    rf"\b(?:for )?(?:{_CHILD}(?:'s| is|'ll be|'re| are| of| will be| has| just)* |(?:aged?|ages|turn(?:s|ing|ed)) )"
    rf"(?:only |just |about |almost |nearly |turn(?:s|ing|ed) |aged? |of )*(?P<number>{NUMBER})"
    r"(?: years?)?(?! (?:euro|dollar|pound|buck|quid)s?\b)"
    r"(?= [,;.?-]| (?:so|and|but|now|next|soon|today|in|on|under|old|with)\b|$)",
)
AND_UP = r"^(?:for |from )?(\d{1,2}) (?:[+]|and (?:up|over|above|older))$"
"""What is said of ages alone where a catalogue has these: 8+."""
OVER_THE = r"\b(under|below|over) (?:the )?(\d{1,2}) s\b"
ENDS = "min(?:imum)?|max(?:imum)?|at least|at most|up to"
PLAYING = (
    r"\b(?:for|with|by|we're|we are|there are|there will be|(?:group|party) of) "
    rf"(?:the |like |about |all |up to )?(?P<number>{NUMBER})(?: of us)?(?= [,;.?]|$)"
)
_YEAR = r"((?:19|20)\d\d)"
_MADE = r"(?:\b(?:built|made|published|released|registered|written|printed|produced|bottled) )?\b(?:in )?"
YEARS = (
    (BETWEEN, rf"{_MADE}(?:between|from) {_YEAR} (?:and|to|-) {_YEAR}"),
    (AT_LEAST, rf"{_YEAR} or (?:newer|later|younger|after)"),
    (AT_MOST, rf"{_YEAR} or (?:older|earlier|before)"),
    (AT_LEAST, rf"{_MADE}(?:from|since)(?: the year)? {_YEAR}(?: on(?:wards?)?| up)?"),
    (AT_LEAST, rf"{_MADE}(?:no|not) (?:older|earlier) than {_YEAR}"),
    (AT_MOST, rf"{_MADE}(?:no|not) (?:newer|later|younger) than {_YEAR}"),
    (MORE, rf"{_MADE}(?:after|newer than|later than|younger than) {_YEAR}"),
    (LESS, rf"{_MADE}(?:before|older than|earlier than) {_YEAR}"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Noun:
    """What a number of a column stands beside.

    Attributes:
        said: a pattern with a group `number`, and perhaps `months`.
        highest: numbers above it are another thing's; None for any.
    """

    column: str
    said: re.Pattern[str]
    highest: float | None = None


@dataclass(frozen=True, kw_only=True)
class Nouns:
    """All of a table.

    Attributes:
        any_noun: a pattern of the nouns of its counts; matches nothing where there are none.
        any_column: the same of all its quantities.
        years: the columns of calendar years.
        age: the name of its column of ages; empty where it has none.
    """

    any_noun: str
    any_column: str
    known: tuple[Noun, ...]
    years: tuple[str, ...]
    age: str


def take_counted(text: str, lexicon: Lexicon) -> tuple[str, list[Condition]]:
    """The text with marks in the places of such numbers, and with limits before their nouns: 1000 or more pieces."""
    nouns = _nouns(lexicon)
    found = list[Condition]()
    for column in nouns.years:
        text, taken = _take_years(text, column)
        found += taken
    if nouns.age:
        text = re.sub(AND_UP, rf"at least \1 {nouns.age}", text)
        text = re.sub(OVER_THE, r"\1 \2 years", text)
    text = re.sub(rf"\b({ENDS}) ({nouns.any_column})(?: of| is)? ({AMOUNT})", r"\1 \3 \2", text)
    behind = "|".join(BEHIND[op] for op in (AT_MOST, AT_LEAST))
    text = re.sub(rf"({NUMBER})(?: -)? ({nouns.any_noun})(?: ,)? ({behind})(?!\w)", r"\1 \3 \2", text)
    for noun in nouns.known:
        while (said := _first_free(noun, text)) is not None:
            found += _exactly(noun.column, _number(said))
            text = f"{text[: said.start()]}{LIMIT}{text[said.end() :]}"
    return text, found


@functools.lru_cache(maxsize=8)
def _nouns(lexicon: Lexicon) -> Nouns:
    names = [name for name in lexicon.vocabulary.quantities if name != lexicon.vocabulary.price]
    counts = [name for name in names if column_unit(name) is None or lexicon.is_age(name)]
    dated = (name for name in names if lexicon.vocabulary.quantities[name].low >= FIRST_YEAR)
    years = tuple(name for name in dated if lexicon.is_own("year", name))
    said = "|".join(lexicon.said_of(name) for name in counts if name not in years)
    any_column = "|".join(map(lexicon.said_of, lexicon.vocabulary.quantities)) or NOTHING
    known = (noun for name in names if name not in years for noun in _nouns_of(name, lexicon))
    return Nouns(
        any_noun=said or NOTHING,
        any_column=any_column,
        known=tuple(known),
        years=years,
        age="age" if any(map(lexicon.is_age, names)) else "",
    )


def _nouns_of(name: str, lexicon: Lexicon) -> Iterator[Noun]:
    unit, said = column_unit(name), lexicon.said_of(name)
    if lexicon.is_age(name):
        yield from (Noun(column=name, said=re.compile(age)) for age in AGES)
    elif unit is None:
        yield Noun(column=name, said=re.compile(rf"(?<![\w.])(?P<number>{NUMBER})(?: -| x)? {said}(?!\w)"))
    if lexicon.quantity("player") == name:
        highest = lexicon.vocabulary.quantities[name].high
        yield Noun(column=name, said=re.compile(PLAYING), highest=highest)


def _first_free(noun: Noun, text: str) -> re.Match[str] | None:
    """The first such number that is no limit already and can be the column's."""
    every = [*noun.said.finditer(text)]
    limits = [(amount.start, amount.end) for amount in amounts(text)] if every else []
    for said in every:
        start, end = said.span("number")
        is_limit = any(start < other_end and other_start < end for other_start, other_end in limits)
        if not is_limit and (noun.highest is None or _number(said) <= noun.highest):
            return said
    return None


def _number(said: re.Match[str]) -> float:
    number = number_of(said["number"])
    return number / MONTHS if said.groupdict().get("months") else number


def _exactly(column: str, number: float) -> Iterator[Condition]:
    """A number itself; where a column's numbers are the ends of ranges, that it lies in these."""
    words = set(tokens_of(spoken(column)))
    if not words & LOWER_ENDS:
        yield Condition(column=column, op=AT_LEAST, values=(number,))
    if not words & UPPER_ENDS:
        yield Condition(column=column, op=AT_MOST, values=(number,))


def _take_years(text: str, column: str) -> tuple[str, list[Condition]]:
    found = list[Condition]()
    for op, pattern in YEARS:
        while (said := re.search(rf"{pattern}(?!\w)", text)) is not None:
            years = sorted(map(float, said.groups()))
            ops = (AT_LEAST, AT_MOST) if op == BETWEEN else (op,)
            found += [Condition(column=column, op=one, values=(year,)) for one, year in zip(ops, years, strict=True)]
            text = f"{text[: said.start()]}{LIMIT}{text[said.end() :]}"
    return text, found
