"""Metadata fields to text: one full caption for evaluation, sampled phrasings for training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pinembed.catalogue.metadata import shown
from pinembed.errors import DataError, UsageError
from pinembed.nouns.item import Catalogue, FieldValue, Item

USUAL_FIELDS = ("title", "name", "caption", "text", "label", "category", "description", "tags")
FULL_CAPTION_SHARE = 0.35
SINGLE_FIELD_SHARE = 0.35
LONG_TEXT_WORDS = 12


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """Texts of items from chosen fields; a missing value leaves its part out.

    Attributes:
        fields: metadata columns, the most telling first.
        levels: lower and upper third of the columns of numbers, which are said as low, medium and high.
    """

    fields: tuple[str, ...]
    levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def caption(self, item: Item) -> str:
        """All fields that have a value, in order: the text that evaluation asks with. Empty where all are missing."""
        return ". ".join(_without_end(part) for part in self._parts(item))

    def sample(self, item: Item, rng: np.random.Generator) -> str:
        """One of many phrasings, so that training learns words rather than one sentence.

        The full caption, a single field, or some of the fields in random order; of a long text sometimes a sentence.
        """
        parts = self._parts(item)
        if len(parts) == 0:
            return ""
        draw = rng.random()
        if draw < FULL_CAPTION_SHARE:
            return self.caption(item)
        if len(parts) == 1 or draw < FULL_CAPTION_SHARE + SINGLE_FIELD_SHARE:
            return _some_of(parts[int(rng.integers(len(parts)))], rng)
        wanted = int(rng.integers(2, len(parts) + 1))
        chosen = rng.permutation(len(parts))[:wanted]
        joint = (". ", ", ", " ")[int(rng.integers(3))]
        return joint.join(_without_end(_some_of(parts[place], rng)) for place in chosen)

    def _parts(self, item: Item) -> list[str]:
        found = [self._said(name, item.fields.get(name)) for name in self.fields]
        return list(dict.fromkeys(part for part in found if part))

    def _said(self, name: str, value: FieldValue) -> str:
        """A number as its third of the catalogue's: no text tower reads digits well."""
        if name not in self.levels or value is None or value != value:
            return words(value)
        low, high = self.levels[name]
        level = "low" if value < low else "high" if value > high else "medium"
        return f"{level} {name.replace('_', ' ')}"


def make_captioner(catalogue: Catalogue, fields: Sequence[str] = ()) -> Captioner:
    """A captioner of the named columns, or of those that usually describe an item.

    Raises:
        UsageError: a column that the metadata does not have.
        DataError: no column was named and none has a usual name.
    """
    columns = list(catalogue.schema.names)
    unknown = [name for name in fields if name not in columns]
    if unknown:
        raise UsageError(
            f"--text names {shown(unknown)}, which {catalogue.metadata} does not have; "
            f"its columns are {', '.join(columns) or 'none'}.",
            remedy="Name columns of the metadata, separated by commas.",
        )
    chosen = tuple(fields) or tuple(name for name in USUAL_FIELDS if name in columns)
    if not chosen:
        raise DataError(
            f"{catalogue.metadata} has no column of a usual name ({', '.join(USUAL_FIELDS)}) that describes the items; "
            f"its columns are {', '.join(columns) or 'none'}.",
            remedy="Name the columns to use: --text COLUMN,COLUMN.",
        )
    return Captioner(
        fields=chosen, levels={name: _thirds(catalogue, name) for name in chosen if _is_number(catalogue, name)}
    )


def _is_number(catalogue: Catalogue, name: str) -> bool:
    kind = catalogue.schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _thirds(catalogue: Catalogue, name: str) -> tuple[float, float]:
    values = [float(value) for item in catalogue if (value := item.fields.get(name)) is not None and value == value]
    low, high = np.quantile(values, (1 / 3, 2 / 3)) if values else (0.0, 0.0)
    return float(low), float(high)


def words(value: FieldValue) -> str:
    """A field's value as words; empty where it is missing."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(part for part in map(words, value) if part)
    return " ".join(str(value).split())


def _some_of(text: str, rng: np.random.Generator) -> str:
    sentences = re.split(r"(?<=[.!?;])\s+", text)
    if len(text.split()) <= LONG_TEXT_WORDS or len(sentences) == 1 or rng.random() < 0.5:
        return text
    return sentences[int(rng.integers(len(sentences)))]


def _without_end(text: str) -> str:
    return text.rstrip(" .;,")
