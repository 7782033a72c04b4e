"""Limits: the numbers of a wish as conditions, each on the column that is meant and in the column's own unit."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pinembed.assistant import cues, measures
from pinembed.assistant.amounts import AMOUNT, Amount, amounts, currency_of, number_of, unit_in
from pinembed.assistant.condition import AT_MOST, COMPARISONS, IN, LOWER, UPPER, Condition, Value
from pinembed.assistant.counted import take_counted
from pinembed.assistant.lexicon import LIMIT, Lexicon
from pinembed.assistant.units import column_unit, is_sold_by, unit_of
from pinembed.assistant.vocabulary import Quantity, Vocabulary
from pinembed.trimmed.questions import spoken

WINDOW_BEFORE, WINDOW_AFTER = 3, 2
"""Words around a limit among which the name of its column is looked for."""
ENDS_CLAUSE = frozenset([",", ";", "and", "but", "with", LIMIT])
"""Behind these another part of the wish begins, with columns of its own."""
MOVED_AT_MOST = 2
"""How many times as much a limit may become by a bare number, where there are several limits."""
FAR_BELOW = 4
"""How many times as high the least price is where a lower limit is surely none of prices."""
LEAST_PLURAL = 3
"""Letters of the name of several things at least."""
OF_ANY_NUMBER = frozenset(["higher", "lower"])
"""Comparatives that are said of any number."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What was found.

    Attributes:
        text: with a mark in the place of each limit.
        obstacle: why one cannot be meant; empty where all can.
        notes: what was read as something else, for the person.
    """

    text: str
    conditions: tuple[Condition, ...]
    obstacle: str
    notes: tuple[str, ...]


def take_limits(text: str, lexicon: Lexicon) -> Limits:
    """The limits of a text of words and marks."""
    text, found = take_counted(text, lexicon)
    notes, obstacle = list[str](), ""
    for amount in sorted(amounts(text), key=lambda one: -one.start):
        columns = tuple(dict.fromkeys(_columns(amount, text, lexicon)))
        if amount.is_exact:
            columns = tuple(name for name in columns if is_sold_by(amount.unit, name))
        if (amount.is_exact and len(columns) != 1) or (not columns and _counts_things(amount, text)):
            continue
        if len(columns) != 1:
            obstacle = _which(columns)
            continue
        conditions, unknown = _conditions(amount, columns[0], lexicon)
        if not conditions:
            obstacle = f"No item has such a {spoken(columns[0])}."
            continue
        found.extend(reversed(conditions))
        start, end = _with_measures(amount, text, columns[0], lexicon)
        text = f"{text[:start]}{LIMIT}{text[end:]}"
        notes += [*_currency_note(amount, lexicon), *unknown]
    return Limits(text=text, conditions=tuple(reversed(found)), obstacle=obstacle, notes=tuple(notes))


def moved_limit(text: str, limits: Sequence[Condition], lexicon: Lexicon) -> Condition | None:
    """One of several limits at a new number, the upper one first; None where a text is no number, or not of one alone.

    Of several that the number could be of, it is the one that it is near to; a sum of money is a limit of the price
    where there is none yet.

    Args:
        text: nothing but an amount.
        limits: conditions, some of them limits.
        lexicon: of the table.
    """
    if re.fullmatch(AMOUNT, text) is None or not math.isfinite(number_of(text)):
        return None
    amount = Amount(start=0, end=0, limits=(("", number_of(text)),), currency=currency_of(text), unit=unit_in(text))
    known = [one for one in limits if one.op in COMPARISONS]
    price = lexicon.vocabulary.price
    fitting = [one for one in known if _may_measure(one.column, amount, price)]
    if not fitting and amount.currency and price:
        return Condition(column=price, op=AT_MOST, values=(number_of(text),))
    fitting = [one for one in fitting if one.op in UPPER] or fitting
    moved = [
        dataclasses.replace(one, values=(round(number_of(text) * _factor(amount.unit, one.column)[0], 6),))
        for one in fitting
    ]
    if len(moved) > 1:  # 320 is a price beside the 280 that there is, and no weight beside the 2,500
        moved = [new for old, new in zip(fitting, moved, strict=True) if _is_near(old, new)]
    return moved[0] if len(moved) == 1 else None


def _is_near(old: Condition, new: Condition) -> bool:
    """Whether a limit is less than doubled or halved."""
    least, most = sorted(float(one.values[0]) for one in (old, new))
    return 0 < most < MOVED_AT_MOST * least


def _conditions(amount: Amount, column: str, lexicon: Lexicon) -> tuple[list[Condition], tuple[str, ...]]:
    """A limit on a column, and notes; on one of values such as sizes, the values within it."""
    if column in lexicon.vocabulary.quantities:
        factor, unknown = _factor(amount.unit, column)
        limits = ((op, round(number * factor, 6)) for op, number in amount.limits)
        return [Condition(column=column, op=op, values=(number,)) for op, number in limits], unknown
    numbers = lexicon.numbers_of(column)
    within = tuple(
        value for value in numbers if all(COMPARISONS[op](numbers[value], number) for op, number in amount.limits)
    )
    return [Condition(column=column, op=IN, values=within)] if within else [], ()


def _with_measures(amount: Amount, text: str, column: str, lexicon: Lexicon) -> tuple[int, int]:
    """Where a limit begins and ends with the words that say its column: rated over 4, under 20 cm wide."""
    start, end = amount.start, amount.end
    before = text[:start].split()[-1:]
    if _is_measure(before, column, lexicon):
        start = text.rindex(before[0], 0, start)
    while _is_measure(text[end:].split()[:1], column, lexicon):
        end = text.index((word := text[end:].split()[0]), end) + len(word)
    return start, end


def _is_measure(words: Sequence[str], column: str, lexicon: Lexicon) -> bool:
    if column not in lexicon.vocabulary.quantities:
        return False
    return any(
        lexicon.is_own(word, column) or lexicon.quantity(measures.MEASURES.get(word, "")) == column for word in words
    )


def _columns(amount: Amount, text: str, lexicon: Lexicon) -> Iterator[str]:
    """The columns that a limit can be on: the one named beside it, else those of its unit, else the price."""
    vocabulary = lexicon.vocabulary
    fitting = tuple(name for name in vocabulary.quantities if _may_measure(name, amount, vocabulary.price))
    sized = () if amount.unit or amount.currency else tuple(vocabulary.choices)
    for word in _around(amount, text):
        if word != amount.unit and (named := _named(word, (*fitting, *sized), lexicon)):
            yield named
            return
    bare = [name for name in sized if text[amount.start].isdigit() and _is_range(amount, lexicon.numbers_of(name))]
    if bare:
        yield from bare
    elif vocabulary.price in fitting:
        if not _counts_things(amount, text):
            yield _reached(amount, fitting, vocabulary)
    else:
        within = [name for name in fitting if _is_within(amount, vocabulary.quantities[name])]
        yield from within if len(within) == 1 else fitting


def _reached(amount: Amount, fitting: Sequence[str], vocabulary: Vocabulary) -> str:
    """The price; but the one column that such a lower limit tells apart where no price does: 1000 pieces, 4 stars."""
    prices = vocabulary.quantities[vocabulary.price]
    no_price = all(
        op in LOWER and (number > prices.high or FAR_BELOW * number < prices.low) for op, number in amount.limits
    )
    within = [name for name in fitting if _is_within(amount, vocabulary.quantities[name])]
    return within[0] if no_price and len(within) == 1 and not amount.currency else vocabulary.price


def _is_within(amount: Amount, quantity: Quantity) -> bool:
    """Whether a limit is one of the numbers that a column has."""
    factor, _ = _factor(amount.unit, quantity.name)
    return all(quantity.low <= number * factor <= quantity.high for _, number in amount.limits)


def _counts_things(amount: Amount, text: str) -> bool:
    """Whether a number stands before the name of things, of which it is no price: at least 4 wheels."""
    behind = next(iter(text[amount.end :].split()), "")
    is_name = behind.isalpha() and behind not in cues.STOP_WORDS | cues.CUE_WORDS | cues.NO_THINGS
    is_plural = behind in cues.PEOPLE or (len(behind) > LEAST_PLURAL and behind.endswith("s") and behind[-2] != "s")
    return is_name and is_plural and not (amount.currency or amount.unit)


def _is_range(amount: Amount, numbers: Mapping[Value, float]) -> bool:
    """Whether a limit has two ends and both are values of a column: boots, 42 to 44."""
    return len(amount.limits) > 1 and all(number in numbers.values() for _, number in amount.limits)


def _may_measure(name: str, amount: Amount, price: str) -> bool:
    """Whether numbers of this unit can be a column's; any column's, where the limit has none."""
    if amount.currency:
        return name == price
    if not amount.unit:
        return True
    given, own = unit_of(amount.unit), column_unit(name)
    return given is not None and own is not None and given.measures == own.measures


def _around(amount: Amount, text: str) -> Iterator[str]:
    """The words of a limit and those beside it, of the same part of the wish, in the order in which they count."""
    yield from text[amount.start : amount.end].split()
    for beside in (
        text[amount.end :].split()[:WINDOW_AFTER],
        text[: amount.start].split()[: -WINDOW_BEFORE - 1 : -1],
    ):
        for word in beside:
            if word in ENDS_CLAUSE or word[0].isdigit():
                break
            yield word


def _named(word: str, fitting: Sequence[str], lexicon: Lexicon) -> str:
    """The column whose name has a word, or that the word measures (wide, heavier); of values, if these are numbers."""
    measured = measures.MEASURES.get(word, word)
    names = (measured, *(name for name, _, words in measures.COMPARATIVES if _compares(word, name, words)))
    named = (lexicon.quantity(name) or lexicon.numbered(name) for name in names)
    return next((column for column in named if column in fitting), "")


def _compares(word: str, name: str, words: str) -> bool:
    return word not in OF_ANY_NUMBER and name != "price" and re.fullmatch(words, word) is not None


def _factor(unit: str, column: str) -> tuple[float, tuple[str, ...]]:
    """What brings a number into the unit of its column, and a note where that is not known."""
    given, own = unit_of(unit) if unit else None, column_unit(column)
    if given is None:
        return 1.0, ()
    if own is None or not own.size:
        return 1.0, (f"The catalogue does not say what {spoken(column)} is measured in; {unit} is not converted.",)
    return given.size / own.size, ()


def _which(columns: Sequence[str]) -> str:
    return (
        f"Which number is meant: {', '.join(map(spoken, columns))}?"
        if columns
        else "No column of this catalogue holds such numbers."
    )


def _currency_note(amount: Amount, lexicon: Lexicon) -> tuple[str, ...]:
    own = lexicon.vocabulary.currency
    foreign = amount.currency and own and amount.currency != own
    return (f"Prices are in {own}; {amount.currency} is not converted.",) if foreign else ()
