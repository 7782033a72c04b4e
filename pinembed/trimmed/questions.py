"""Training text from metadata alone.

Questions describe an item, name its fields, confirm a value or compare two items. Every answer follows from the fields,
so whether the model is right can be decided by comparing strings.

"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pinembed.errors import DataError
from pinembed.nouns.item import Item, is_missing, text_of_value
from pinembed.settings.option import refuse_unknown_columns
from pinembed.trimmed.chat_ids import Frame

MAX_VALUES = 250
MAX_VALUE_CHARACTERS = 60
MIN_ITEMS_PER_VALUE = 2.0
MIN_SEEN = 0.9
ASK = ("What is the {field} of this item?", "Name its {field}.", "{field}?")
DESCRIBE = "Describe this item."
CONFIRM = "Is the {field} of this item {value}?"
COMPARE = "Do these two items have the same {field}?"
PARTNERS_TRIED = 64
LIST = "What are the {fields} of this item?"
Entry = TypeVar("Entry")
KIND_WEIGHTS = {"ask": 0.4, "list": 0.3, "describe": 0.1, "confirm": 0.1, "compare": 0.1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One question and its answer.

    Attributes:
        rows: indices of the items that come with it, in the list that it was made from.
    """

    rows: tuple[int, ...]
    question: str
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialogue(Turn):
    """One question and its answer, the turns before it, and what stands before these."""

    earlier: tuple[Turn, ...] = ()
    frame: Frame | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns in order."""
        return (*self.earlier, self)

    @property
    def all_rows(self) -> tuple[int, ...]:
        """The items of all turns, in the order in which they come."""
        return tuple(row for turn in self.turns for row in turn.rows)


def thinned(entries: Sequence[Entry], most: int) -> Sequence[Entry]:
    """At most so many of them, evenly drawn."""
    return entries[:: -(-len(entries) // most)] if len(entries) > most else entries


def choose_fields(train: Sequence[Item], held_out: Sequence[Item], *, wanted: Sequence[str], origin: Path) -> list[str]:
    """The metadata columns that questions are asked about.

    Without `wanted`: columns of short texts that repeat, and whose values in the held-out items occur in training.

    Raises:
        UsageError: a wanted column does not exist.
        DataError: no column is of use.
    """
    columns = list(train[0].fields) if train else []
    remedy = "Name columns of the metadata, separated by commas."
    refuse_unknown_columns("--fields", wanted, columns, place=origin, remedy=remedy)
    fields = list(wanted) or [name for name in columns if _is_attribute(name, train, held_out)]
    if not fields:
        raise DataError(
            f"No column of {origin} repeats short values that training and held-out items share; found "
            f"{', '.join(columns) or 'none'}.",
            remedy="Add columns such as category or color, or name some with --fields.",
        )
    return fields


def spoken(field: str) -> str:
    """A column's name as words: `coarse_label` is the coarse label."""
    return field.replace("_", " ").replace("-", " ").strip()


class QuestionMaker:
    """Draws dialogues about some items, and lists the ones that measure the model.

    Args:
        items: of one split, in the order of their embeddings.
        more: further dialogues about the same items by the number of the epoch, from 0.
        kept: share of the single questions that an epoch has; others take the place of the rest.
    """

    def __init__(
        self,
        items: Sequence[Item],
        fields: Sequence[str],
        *,
        seed: int = 0,
        more: Callable[[int], Sequence[Dialogue]] = lambda epoch: (),
        kept: float = 1.0,
    ) -> None:
        self.items = items
        self.fields = list(fields)
        self._seed = seed
        self._more = more
        self._kept = kept
        self.values_of = {field: [text_of_value(item.fields.get(field)) for item in items] for field in fields}
        self._rows_of = {field: [row for row, value in enumerate(self.values_of[field]) if value] for field in fields}
        self._known = {field: sorted(set(self.values_of[field]) - {""}) for field in fields}

    def texts(self) -> list[str]:
        """Everything that questions and answers are made of: what a tiny model's vocabulary is trained on."""
        asked = [
            template.format(field=spoken(field), fields=spoken(field), value="")
            for field in self.fields
            for template in (*ASK, LIST, CONFIRM, COMPARE)
        ]
        answers = [f"{spoken(field)}: {value}" for field in self.fields for value in self.values_of[field] if value]
        return [DESCRIBE, "one and other: yes", "one and other: no", *asked, *answers]

    def epoch(self, number: int) -> list[Dialogue]:
        """One more dialogue for each item than there are fields, and the others, shuffled; new ones each epoch."""
        rng = random.Random(f"{self._seed} {number}")
        drawn = list[Dialogue]()
        for row in range(len(self.items)):
            for field in (*self.fields, rng.choice(self.fields)):
                dialogue = self.draw(rng, row, field)
                if dialogue is not None:
                    drawn.append(dialogue)
        if self._kept < 1:
            rng.shuffle(drawn)
        drawn = [*self._more(number), *drawn[: round(self._kept * len(drawn))]]
        rng.shuffle(drawn)
        return drawn

    def plain_questions(self, field: str) -> list[Dialogue]:
        """The plain question about one field, for every item that has it."""
        question = ASK[0].format(field=spoken(field))
        values = self.values_of[field]
        return [Dialogue(rows=(row,), question=question, answer=values[row]) for row in self._rows_of[field]]

    def comparisons(self, count: int) -> list[Dialogue]:
        """Comparisons of two items, half of them of equal ones as far as there are such pairs."""
        rng = random.Random(f"{self._seed} comparing")
        drawn: list[Dialogue] = []
        for _ in range(count):
            field = rng.choice(self.fields)
            rows = self._rows_of[field]
            dialogue = self._compare(rng, rng.choice(rows), field) if rows else None
            if dialogue is not None:
                drawn.append(dialogue)
        return drawn

    def draw(self, rng: random.Random, row: int, field: str) -> Dialogue | None:
        """A single question about an item, of any kind; None where its values allow none."""
        kind = rng.choices(list(KIND_WEIGHTS), weights=list(KIND_WEIGHTS.values()))[0]
        present = [name for name in self.fields if self.values_of[name][row]]
        if kind == "describe" and present:
            values = [f"{spoken(name)}: {self.values_of[name][row]}" for name in present]
            return Dialogue(rows=(row,), question=DESCRIBE, answer="; ".join(values))
        if kind == "list" and len(present) > 1:
            return self._list(rng, row, present)
        value = self.values_of[field][row]
        if not value:
            return None
        if kind in {"ask", "list"}:
            return Dialogue(rows=(row,), question=rng.choice(ASK).format(field=spoken(field)), answer=value)
        if kind == "confirm":
            named = rng.choice([value, rng.choice(self._known[field])])
            question = CONFIRM.format(field=spoken(field), value=named)
            return Dialogue(rows=(row,), question=question, answer=f"{value}: {verdict_on(named, value)}")
        return self._compare(rng, row, field)

    def _list(self, rng: random.Random, row: int, present: list[str]) -> Dialogue:
        """Several fields at once, in the order of the question: many answers for one pass of the model."""
        named = rng.sample(present, len(present))
        asked = ", ".join(map(spoken, named[:-1])) + f" and {spoken(named[-1])}"
        values = "; ".join(self.values_of[name][row] for name in named)
        return Dialogue(rows=(row,), question=LIST.format(fields=asked), answer=values)

    def _compare(self, rng: random.Random, row: int, field: str) -> Dialogue | None:
        values, rows = self.values_of[field], self._rows_of[field]
        same = rng.random() < 0.5
        partners = [
            other
            for other in rng.sample(rows, min(PARTNERS_TRIED, len(rows)))
            if other != row and (values[other] == values[row]) == same
        ]
        if not partners:
            return None
        first, second = values[row], values[partners[0]]
        answer = f"{first} and {second}: {verdict_on(first, second)}"
        return Dialogue(rows=(row, partners[0]), question=COMPARE.format(field=spoken(field)), answer=answer)


def verdict_on(first: str, second: str) -> str:
    """Written after the values that decide it: a small model compares what it has just written."""
    return "yes" if first == second else "no"


def _is_attribute(name: str, train: Sequence[Item], held_out: Sequence[Item]) -> bool:
    present = [value for item in train if not is_missing(value := item.fields.get(name))]
    if not present or not all(isinstance(value, str | bool) for value in present):
        return False
    counts = Counter(text_of_value(item.fields.get(name)) for item in train)
    counts.pop("", None)
    if not 2 <= len(counts) <= MAX_VALUES or max(map(len, counts)) > MAX_VALUE_CHARACTERS:
        return False
    asked = [value for item in held_out if (value := text_of_value(item.fields.get(name)))]
    seen = sum(value in counts for value in asked)
    return sum(counts.values()) / len(counts) >= MIN_ITEMS_PER_VALUE and seen >= MIN_SEEN * len(asked) > 0
