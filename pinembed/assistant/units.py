"""Units of measure: what a number in a wish is of, what a column's numbers are in, and the factor between the two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pinembed.assistant.vocabulary import CURRENCIES
from pinembed.assistant.words import stem, tokens_of
from pinembed.trimmed.questions import spoken

MASS, LENGTH, AREA, VOLUME, TIME, RATING = "mass", "length", "area", "volume", "time", "rating"
MEMORY, POWER, LIGHT, SHARE, SPEED, SOUND, PIXELS = "memory", "power", "light", "share", "speed", "sound", "pixels"
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
    (LENGTH, 160_934.4, "mile"),
    (LENGTH, 2.54, "in inch"),
    (LENGTH, 30.48, "ft foot feet"),
    (AREA, 1, "sqm"),
    (AREA, 0.09290304, "sqft"),
    (VOLUME, 0.001, "ml milliliter millilitre"),
    (VOLUME, 0.01, "cl centiliter centilitre"),
    (VOLUME, 1, "l liter litre"),
    (VOLUME, 3.785411784, "gal gallon"),
    (TIME, 1, "minute"),
    (TIME, 60, "h hr hour"),
    (TIME, 1440, "day"),
    (TIME, 10_080, "week"),
    (TIME, 43_830, "month"),
    (TIME, 525_960, "year yr yrs"),
    (RATING, 1, "star"),
    (MEMORY, 0.001, "mb megabyte"),
    (MEMORY, 1, "gb gigabyte gig"),
    (MEMORY, 1024, "tb terabyte"),
    (POWER, 1, "w watt"),
    (POWER, 1000, "kw kilowatt"),
    (POWER, 735.49875, "hp horsepower ps bhp"),
    (LIGHT, 1, "lm lumen"),
    (SHARE, 1, "percent pct abv"),
    (SPEED, 1, "kmh kph"),
    (SPEED, 1.609344, "mph"),
    (SOUND, 1, "db decibel"),
    (PIXELS, 1, "mp megapixel"),
)
"""What is measured, the size of the unit in the smallest common one, and its names."""
_NAMES = (
    (MASS, "weight mass"),
    (LENGTH, "width height length depth diameter thickness mileage"),
    (AREA, "area"),
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


def _pattern(measures: Iterable[str]) -> str:
    """The names of units, the longest first."""
    words = (word for of, _, words in _UNITS for word in words.split() if of in measures)
    return "|".join(sorted((rf"{word}(?:s|es)?" if len(word) > 3 else word for word in words), key=len, reverse=True))


UNIT_WORDS = _pattern({of for of, _, _ in _UNITS}).replace("|in|", r"|in(?= (?:wide|tall|high|long|deep|thick)(?!\w))|")
"""Their names in a wish, the longest first; the inch is an `in` only where the next word measures."""
EXACT_UNIT_WORDS = rf"{_pattern((MEMORY, VOLUME, POWER, LIGHT, PIXELS))}|inch(?:es)?"
"""Those of which people name the one number that things are sold by: a 750 ml bottle, 16 GB, 28 inch wheels."""


ALONE = frozenset(f"{word}{plural}" for word in ("watt", "lumen", "megapixel", "horsepower") for plural in ("", "s"))
"""Units that are columns' names by themselves."""
_FRAMES = "max maximum min minimum from to of in count number no nr n num total per avg average up net gross top"
FRAMES = frozenset(_FRAMES.split())
"""Words in columns' names that say how something is counted, and not what."""


def unit_of(word: str) -> Unit | None:
    """The unit that a word of a wish names."""
    return UNITS.get(stem(word))


def column_unit(name: str) -> Unit | None:
    """What a column's name says of its numbers: `weight_g` is of grams, `weight` of a mass; None where nothing."""
    words = tokens_of(spoken(name))
    if words and (len(words) > 1 or words[0] in ALONE) and (found := unit_of(words[-1])) is not None:
        return found
    measured = next((MEASURED[stem(word)] for word in words if stem(word) in MEASURED), None)
    return None if measured is None else Unit(measures=measured, size=1 if measured == RATING else 0)


def is_sold_by(unit: str, column: str) -> bool:
    """Whether a number with such a unit is the column's very number; a length, where the column has the same unit."""
    given = unit_of(unit)
    return given is None or given.measures != LENGTH or given == column_unit(column)


def unit_names(column: str) -> str:
    """A pattern of the long names of a column's unit; matches nothing where it has none."""
    own = column_unit(column)
    names = (word for of, size, words in _UNITS for word in words.split() if own == Unit(measures=of, size=size))
    return "|".join(f"{word}s?" for word in names if len(word) > 3) or r"(?!)"


def is_rating(column: str) -> bool:
    """Whether a column's numbers are what people gave, of which more is better."""
    unit = column_unit(column)
    return unit is not None and unit.measures == RATING


def plain_name(name: str) -> str:
    """A column's name as people say it: the weight of `weight_g`, the age of `age_from_years`.

    The unit is left out, and words that say how something is counted.
    """
    words = tokens_of(spoken(name))
    if len(words) > 1 and (unit_of(words[-1]) or words[-1] in CURRENCIES):
        words.pop()
    return " ".join([word for word in words if word not in FRAMES] or words)
