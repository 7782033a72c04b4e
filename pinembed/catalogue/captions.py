"""Metadata fields to text: one full caption for evaluation, sampled phrasings for training, templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

import numpy as np

from pinembed.catalogue.class_labels import are_class_numbers
from pinembed.catalogue.wording import (
    entries,
    path_separators,
    shortest_names,
    spoken_value,
    without_echoes,
    words_of,
)
from pinembed.errors import DataError, UsageError
from pinembed.nouns.item import Catalogue, CutPoints, FieldValue, Item, cut_points, text_of_value, third_of
from pinembed.settings.option import refuse_unknown_columns

STRANDED = " ,.;:-/|&"


@dataclass(frozen=True, kw_only=True)
class Template:
    """What stands before a gap belongs to it and goes with it.

    Where only a space lies between a missing value and the next gap, that one takes over what stood before: `a {color}
    {title}` becomes `a mug` without a colour, and `{title} in {color}, {category}` becomes `mug, kitchen`.

    Attributes:
        text: as the user wrote it.
        gaps: what stands before each gap, and the field that fills it.
        tail: what stands after the last gap, and goes with it.
    """

    text: str
    gaps: tuple[tuple[str, str], ...]
    tail: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Each once, in the order of the gaps."""
        return tuple(dict.fromkeys(name for _, name in self.gaps))

    def filled(self, said: Mapping[str, str]) -> str:
        """The sentence with the values that there are; empty without any."""
        spoken, waiting = "", ""
        for before, name in self.gaps:
            lead = before if before.strip() or not waiting else waiting
            if said.get(name):
                spoken, waiting = spoken + lead + said[name], ""
            else:
                waiting = lead
        if not spoken:
            return ""
        spoken += "" if waiting else self.tail
        return re.sub(r"\s+", " ", spoken).strip().lstrip(STRANDED)


def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        UsageError: braces that do not close, gaps without a name or with more than a name, or no gap at all.
    """
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise _refused(text, f"its braces do not fit: {error}") from error
    gaps, tail = [], ""
    for literal, name, form, conversion in parts:
        if name is None:
            tail += literal
            continue
        if not name or form or conversion:
            raise _refused(text, "a gap holds something other than the name of a column")
        gaps.append((tail + literal, name))
        tail = ""
    if not gaps:
        raise _refused(text, "it names no column")
    return Template(text=text, gaps=tuple(gaps), tail=tail)


def _refused(text: str, why: str) -> UsageError:
    return UsageError(
        f"--template {text!r} cannot be used: {why}.",
        remedy="Write column names in braces, such as 'a {color} {title}, {category}'; a brace itself is {{ or }}.",
    )


USUAL_FIELDS = ("title", "name", "caption", "text", "label", "category", "description", "tags")
FULL_CAPTION_SHARE = 0.35
SINGLE_FIELD_SHARE = 0.35
LONG_TEXT_WORDS = 12
NUMBER, NAME = "number", "name"


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """Texts of items from chosen fields; a missing value leaves its part out.

    Attributes:
        fields: metadata columns, the most telling first.
        weights: how often a field is spoken, beside the others; empty where all are alike.
        template: the full caption as a sentence; None joins the fields by full stops.
        levels: where the columns of quantities are cut into thirds, which are said as low, medium and high.
        classes: columns of class numbers, said with the column's name: `label 3`.
        decided: columns of numbers for which the user decided, by what they are.
        fits: whether the encoders read the whole of a text; None where all are taken as they are.
        paths: columns of category paths, and what separates their levels, which are said from the last to the first.
    """

    fields: tuple[str, ...]
    weights: tuple[float, ...] = ()
    template: Template | None = None
    levels: Mapping[str, CutPoints] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    decided: Mapping[str, str] = field(default_factory=dict)
    fits: Callable[[str], bool] | None = None
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> tuple[str, ...]:
        """What makes the text, for reports: the template, or the fields with their weights."""
        if self.template is not None:
            return (self.template.text,)
        named = [f"{name}:{self.decided[name]}" if name in self.decided else name for name in self.fields]
        weights = [f"={weight:g}" for weight in self.weights] or [""] * len(named)
        return tuple(name + weight for name, weight in zip(named, weights, strict=True))

    def notes(self) -> list[str]:
        """What was decided about columns of numbers; a sentence each."""
        return [
            *(
                f"{name} holds class numbers, said as {name.replace('_', ' ')!r} and the number; names tell more. "
                f"If it is a quantity, say --text {name}:{NUMBER}."
                for name in sorted(self.classes - self.decided.keys())
            ),
            *(
                f"{name} is a quantity, said as low, medium or high; if its numbers are classes: --text {name}:{NAME}."
                for name in sorted(self.levels.keys() - self.decided.keys())
            ),
        ]

    def caption(self, item: Item) -> str:
        """All fields that have a value, in order: the text that evaluation asks with. Empty where all are missing.

        Where the encoder would cut it, sentences and then the whole of the longest field are left out until it fits.
        """
        if self.template is not None:
            return self._filled(self._said(item))
        return self._within(self._parts(item), lambda parts: _joined(parts, ". "))

    def sample(self, item: Item, rng: np.random.Generator) -> str:
        """One of many phrasings, so that training learns words rather than one sentence.

        The full caption, a single field, or some of the fields (in random order, or in the template); of a long text
        sometimes a sentence, of a list or path sometimes some of its entries. Heavier fields are chosen more often, and
        fields that say the same count as one.
        """
        said = _alike({name: self._field(name, _thinned(self._value(item, name), rng)) for name in self.fields})
        parts = list(dict.fromkeys(part for part in said.values() if part))
        if len(parts) == 0:
            return ""
        draw = rng.random()
        if draw < FULL_CAPTION_SHARE:
            return self.caption(item)
        shares = self._shares(said, parts)
        if len(parts) == 1 or draw < FULL_CAPTION_SHARE + SINGLE_FIELD_SHARE:
            return self._some_of(parts[_drawn(rng, len(parts), shares)], rng)
        wanted = int(rng.integers(2, len(parts) + 1))
        chosen = (
            rng.permutation(len(parts))[:wanted] if shares is None else rng.choice(len(parts), wanted, False, shares)
        )
        if self.template is not None:
            kept = {parts[index] for index in chosen}
            return self._filled({name: part for name, part in said.items() if part in kept})
        joint = (". ", ", ", " ")[int(rng.integers(3))]
        some = [self._some_of(parts[index], rng) for index in chosen]
        return self._within(some, lambda parts: _joined(parts, joint))

    def name(self, item: Item, rng: np.random.Generator) -> str:
        """What the item is called: its first field that has a value, of a long text sometimes a sentence.

        A path is called by its last level.
        """
        for name, said in self._said(item).items():
            if said:
                return entries(self._value(item, name))[0] if name in self.paths else self._some_of(said, rng)
        return ""

    def sayings(self, item: Item) -> frozenset[str]:
        """What is true of the item, piece by piece: its caption, each field, entry of a list or path, and sentence."""
        numbers = self.levels.keys() | self.classes
        values = {name: self._value(item, name) for name in self.fields if name not in numbers}
        pieces = {piece for name, value in values.items() if not isinstance(value, bool) for piece in entries(value)}
        said = self._said(item).values()
        sentences = {sentence for text in said for sentence in _sentences(text)}
        return frozenset({self.caption(item), *said, *pieces, *sentences} - {""})

    def group_names(self, group: str, values: Sequence[str]) -> list[str]:
        """Groups as they are asked for: category paths by their last level, others as they are."""
        return shortest_names(values, self.paths[group]) if group in self.paths else list(values)

    def _reads(self, text: str) -> bool:
        return self.fits is None or self.fits(text)

    def _filled(self, said: Mapping[str, str]) -> str:
        template = self.template
        assert template is not None  # both callers looked
        return self._within(list(said.values()), lambda parts: template.filled(dict(zip(said, parts, strict=True))))

    def _within(self, parts: Sequence[str], join: Callable[[Sequence[str]], str]) -> str:
        """The parts in one text that is read whole: short fields complete before the first sentences of a long one.

        A single sentence that is too long stays as it is, to be cut.

        Args:
            parts: an empty one is left out.
            join: makes the text of as many parts.
        """
        text = join(parts)
        if self._reads(text):
            return text
        longest = max(range(len(parts)), key=lambda index: len(parts[index]))
        before, after = parts[:longest], parts[longest + 1 :]
        sentences = _sentences(parts[longest])
        for kept in range(len(sentences) - 1, 0, -1):
            shorter = join((*before, " ".join(sentences[:kept]), *after))
            if self._reads(shorter):
                return shorter
        return self._within((*before, "", *after), join) if any((*before, *after)) else text

    def _some_of(self, text: str, rng: np.random.Generator) -> str:
        """The text, or of a long one a sentence half of the time; of one that would be cut, always."""
        sentences = _sentences(text)
        is_short = len(text.split()) <= LONG_TEXT_WORDS or len(sentences) == 1
        if self._reads(text) and (is_short or rng.random() < 0.5):
            return text
        return sentences[int(rng.integers(len(sentences)))]

    def _parts(self, item: Item) -> list[str]:
        return without_echoes(self._said(item))

    def _said(self, item: Item) -> dict[str, str]:
        """The fields as words; empty where a value is missing."""
        return {name: self._field(name, self._value(item, name)) for name in self.fields}

    def _value(self, item: Item, name: str) -> FieldValue:
        """Without markup; a path as its levels, of which a template's sentence takes the last."""
        value = spoken_value(item.fields.get(name), self.paths.get(name))
        return value[:1] if self.template is not None and isinstance(value, list) and name in self.paths else value

    def _field(self, name: str, value: FieldValue) -> str:
        """A number as its third of the catalogue's: no text tower reads digits well. Yes is the column's name."""
        if isinstance(value, bool):
            return name.replace("_", " ") if value else ""
        if name in self.classes and text_of_value(value):
            return f"{name.replace('_', ' ')} {int(value) if value % 1 == 0 else value}"
        if name not in self.levels or not text_of_value(value):
            return text_of_value(value)
        return f"{third_of(value, self.levels[name])} {name.replace('_', ' ')}"

    def _shares(self, said: Mapping[str, str], parts: Sequence[str]) -> list[float] | None:
        """Probability of each part; None where all are alike."""
        if not self.weights:
            return None
        weight_of: dict[str, float] = {}
        for name, weight in zip(self.fields, self.weights, strict=True):
            weight_of[said[name]] = weight_of.get(said[name], 0.0) + weight
        total = sum(weight_of[part] for part in parts)
        return [weight_of[part] / total for part in parts]


def make_captioner(catalogue: Catalogue, fields: Sequence[str] = (), *, template: str | None = None) -> Captioner:
    """A captioner of the named columns, or of those that usually describe an item.

    Args:
        catalogue: its metadata.
        fields: columns, each alone or with a weight, `title=3`; numbers as NUMBER or NAME, `label:name`.
        template: a sentence with columns in braces, in place of `fields`.

    Raises:
        UsageError: a column that the metadata does not have, a weight that is none, or a template that cannot be read.
        DataError: no column was named and none has a usual name.
    """
    columns = list(catalogue.schema.names)
    if template is not None and fields:
        raise UsageError("--text and --template both say what makes an item's text.", remedy="Leave one of them out.")
    pattern = None if template is None else parse_template(template)
    weighted = [(name, 1.0) for name in pattern.fields] if pattern else [_weighted(field, columns) for field in fields]
    decided = {
        found[0]: found[1] for field in fields if (found := _decided(field.rpartition("=")[0] or field, columns))
    }
    option, how = ("--template", " in the braces") if pattern else ("--text", ", separated by commas")
    names, remedy = [name for name, _ in weighted], f"Name columns of the metadata{how}."
    refuse_unknown_columns(option, names, columns, place=catalogue.metadata, remedy=remedy)
    chosen = tuple(name for name, _ in weighted) or tuple(name for name in USUAL_FIELDS if name in columns)
    if not chosen:
        raise DataError(
            f"{catalogue.metadata} has no column of a usual name ({', '.join(USUAL_FIELDS)}) that describes the items; "
            f"its columns are {', '.join(columns) or 'none'}.",
            remedy="Name the columns to use: --text COLUMN,COLUMN.",
        )
    weights = tuple(weight for _, weight in weighted)
    numbers = {
        name: cuts for name in chosen if (cuts := cut_points(item.fields.get(name) for item in catalogue)) is not None
    }
    classes = frozenset(name for name in numbers if _is_class(catalogue, name, decided.get(name)))
    return Captioner(
        fields=chosen,
        weights=weights if len(set(weights)) > 1 else (),
        template=pattern,
        levels={name: cuts for name, cuts in numbers.items() if name not in classes},
        classes=classes,
        decided={name: kind for name, kind in decided.items() if name in numbers},
        paths=path_separators(catalogue.items, columns),
    )


def _is_class(catalogue: Catalogue, column: str, decided: str | None) -> bool:
    if decided is not None:
        return decided == NAME
    return are_class_numbers(column, (item.fields.get(column) for item in catalogue))


def _decided(field: str, columns: Sequence[str]) -> tuple[str, str] | None:
    """`label:name` as column and what its numbers are; a column may have `:` in its name."""
    name, _, kind = field.rpartition(":")
    return (name, kind) if field not in columns and name in columns and kind in (NUMBER, NAME) else None


def _weighted(field: str, columns: Sequence[str]) -> tuple[str, float]:
    """`title=3` as column and weight; a column may have `=` in its name."""
    name, sign, weight = field.rpartition("=")
    if field in columns or not sign:
        found = _decided(field, columns)
        return found[0] if found else field, 1.0
    try:
        value = float(weight)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(
            f"--text {field} gives {weight or 'nothing'} as a weight; wanted a number above 0.",
            remedy="Write COLUMN or COLUMN=NUMBER, such as title=3,label.",
        )
    found = _decided(name, columns)
    return found[0] if found else name, value


def _drawn(rng: np.random.Generator, count: int, shares: Sequence[float] | None) -> int:
    return int(rng.integers(count)) if shares is None else int(rng.choice(count, p=shares))


def _thinned(value: FieldValue, rng: np.random.Generator) -> FieldValue:
    """A list, or half of the time some of its entries in their order; anything else as it is."""
    if not isinstance(value, list | tuple) or len(value) < 2 or rng.random() < 0.5:
        return value
    kept = rng.permutation(len(value))[: int(rng.integers(1, len(value) + 1))]
    return [value[index] for index in sorted(kept.tolist())]


def _alike(said: Mapping[str, str]) -> dict[str, str]:
    """Texts of the same words, in any case and with any stops, by the first of them."""
    first: dict[str, str] = {}
    return {name: first.setdefault(words_of(text) or text, text) for name, text in said.items()}


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?;])\s+", text)


def _joined(parts: Sequence[str], joint: str) -> str:
    return joint.join(_without_end(part) for part in parts if part)


def _without_end(text: str) -> str:
    return text.rstrip(" .;,")
