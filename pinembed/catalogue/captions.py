"""Metadata fields to text: one full caption for evaluation, sampled phrasings for training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """

    fields: tuple[str, ...]

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
        found = [words(item.fields.get(field)) for field in self.fields]
        return list(dict.fromkeys(part for part in found if part))


def make_captioner(catalogue: Catalogue, fields: Sequence[str] = ()) -> Captioner:
    """A captioner of the named columns, or of those that usually describe an item.

    Raises:
        UsageError: a column that the metadata does not have.
        DataError: no column was named and none has a usual name.
    """
    columns = list(catalogue.schema.names)
    unknown = [field for field in fields if field not in columns]
    if unknown:
        raise UsageError(
            f"--text names {shown(unknown)}, which {catalogue.metadata} does not have; "
            f"its columns are {', '.join(columns) or 'none'}.",
            remedy="Name columns of the metadata, separated by commas.",
        )
    chosen = tuple(fields) or tuple(field for field in USUAL_FIELDS if field in columns)
    if not chosen:
        raise DataError(
            f"{catalogue.metadata} has no column of a usual name ({', '.join(USUAL_FIELDS)}) that describes the items; "
            f"its columns are {', '.join(columns) or 'none'}.",
            remedy="Name the columns to use: --text COLUMN,COLUMN.",
        )
    return Captioner(fields=chosen)


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
