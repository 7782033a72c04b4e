"""Units of measure: what a number in a wish is of, what a column's numbers are in, and the factor between the two."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.assistant.vocabulary import CURRENCIES
from pinembed.assistant.words import stem, tokens_of
from pinembed.trimmed.questions import spoken

MASS, LENGTH, VOLUME, TIME, RATING = "mass", "length", "volume", "time", "rating"
_UNITS: tuple[tuple[str, float, str], ...] = (
    (MASS, 0.001, "mg"),
    (MASS, 1, "g gr gram gramme"),
    (MASS, 1000, "kg kilo kilogram kilogramme"),
    (MASS, 28.349523125, "oz ounce"),
    (MASS, 453.59237, "lb lbs"),
    (LENGTH, 0.1, "mm millimeter millimetre"),
    (LENGTH, 1, "cm centimeter centimetre"),
    (LENGTH, 100, "m meter metre"),
    (LENGTH, 100_000, "km kilometer kilometre"),
    (LENGTH, 2.54, "in inch"),
    (LENGTH, 30.48, "ft foot feet"),
    (VOLUME, 0.001, "ml milliliter millilitre"),
    (VOLUME, 0.01, "cl centiliter centilitre"),
    (VOLUME, 1, "l liter litre"),
    (VOLUME, 3.785411784, "gal gallon"),
    (TIME, 1, "minute"),
    (TIME, 60, "h hr hour"),
    (TIME, 1440, "day"),
    (TIME, 10_080, "week"),
    (TIME, 43_830, "month"),
    (TIME, 525_960, "year"),
    (RATING, 1, "star"),
)
"""What is measured, the size of the unit in the smallest common one, and its names."""
_NAMES = (
    (MASS, "weight mass"),
    (LENGTH, "width height length depth diameter thickness"),
    (VOLUME, "volume capacity"),
    (TIME, "age warranty duration"),
    (RATING, "rating stars score"),
)
"""What columns of these names measure, whatever unit they have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One unit.

    Attributes:
        measures: what it is of.
        size: in the unit that all of these are told in; 0 where it is not known.
    """

    measures: str
    size: float


MEASURED = {stem(word): of for of, words in _NAMES for word in words.split()}
UNITS = {stem(word): Unit(measures=of, size=size) for of, size, words in _UNITS for word in words.split()}
UNIT_WORDS = "|".join(
    sorted(
        (rf"{word}(?:s|es)?" if len(word) > 3 else word for _, _, words in _UNITS for word in words.split()),
        key=len,
        reverse=True,
    ),
).replace("|in|", r"|in(?= (?:wide|tall|high|long|deep|thick)(?!\w))|")
"""Their names in a wish, the longest first; the inch is an `in` only where the next word measures."""


def unit_of(word: str) -> Unit | None:
    """The unit that a word of a wish names."""
    return UNITS.get(stem(word))


def column_unit(name: str) -> Unit | None:
    """What a column's name says of its numbers: `weight_g` is of grams, `weight` of a mass; None where nothing."""
    words = tokens_of(spoken(name))
    if len(words) > 1 and (found := unit_of(words[-1])) is not None:
        return found
    measured = next((MEASURED[stem(word)] for word in words if stem(word) in MEASURED), None)
    return None if measured is None else Unit(measures=measured, size=1 if measured == RATING else 0)


def is_rating(column: str) -> bool:
    """Whether a column's numbers are what people gave, of which more is better."""
    unit = column_unit(column)
    return unit is not None and unit.measures == RATING


def plain_name(name: str) -> str:
    """A column's name as people say it, without the unit behind: the weight of `weight_g`, the price of `price_eur`."""
    *words, last = tokens_of(spoken(name)) or [""]
    return " ".join(words if words and (unit_of(last) or last in CURRENCIES) else (*words, last))
