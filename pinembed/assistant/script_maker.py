"""Scripted conversations out of a table's own metadata, each turn with the act that it should become."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinembed.assistant.act import ABOUT, COMPARE, FILTER, GOES_WITH, MODIFY, MORE_OF, SEARCH, UNDO, Act, Relative, Sort
from pinembed.assistant.condition import IN, LESS, MORE, NOT_IN, Condition, Value
from pinembed.assistant.phrasings import PHRASINGS
from pinembed.assistant.says import Say
from pinembed.assistant.scripts import ScriptedTurn
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.errors import DataError
from pinembed.nouns.item import FieldValue, is_missing, text_of_value
from pinembed.table.embedding_table import EmbeddingTable, reading

MOST_ROWS = 20_000
FEWEST_SHOWN = 4
"""Products that a wish must leave, so that first, second and last mean something."""
TRIES = 200
ORDINALS = {1: "first", 2: "second", 3: "third", -1: "last"}
Row = Mapping[str, FieldValue]


def make_scripts(
    table: EmbeddingTable, vocabulary: Vocabulary, attributes: Sequence[str], *, conversations: int, seed: int
) -> list[ScriptedTurn]:
    """Conversations of six turns that search, narrow, ask, change, compare and go back.

    Every second turn is in a wording that is held out.

    Args:
        table: the catalogue.
        vocabulary: of the table.
        attributes: columns whose values are said.
        conversations: how many.
        seed: of everything drawn.

    Raises:
        DataError: no column of the table says what could be searched for.
    """
    if not attributes:
        raise DataError(
            f"Table {table.address} has no column of short values that repeat beside the kind of its items.",
            remedy="Give scripts of your own.",
        )
    columns = [name for name in (vocabulary.kind, vocabulary.price, *attributes) if name]
    with reading(table.address):
        rows = table.dataset.to_table(columns=columns, limit=MOST_ROWS).to_pylist()
    return scripts_of(rows, vocabulary, attributes, conversations=conversations, seed=seed)


def scripts_of(
    rows: Sequence[Row], vocabulary: Vocabulary, attributes: Sequence[str], *, conversations: int, seed: int
) -> list[ScriptedTurn]:
    """The same out of rows with the columns of kind, price and attributes."""
    rng = random.Random(seed)
    return [
        turn
        for number in range(1, conversations + 1)
        for turn in _Maker(rng, rows, vocabulary, attributes, conversation=str(number)).turns()
    ]


@dataclass
class _Maker:
    """Writes one conversation."""

    rng: random.Random
    rows: Sequence[Row]
    vocabulary: Vocabulary
    attributes: Sequence[str]
    conversation: str

    def turns(self) -> list[ScriptedTurn]:
        self._made: list[ScriptedTurn] = []
        kept = self._search()
        self._refine(kept)
        self._about()
        self._modify(kept)
        self._compare()
        last = self.rng.choice((self._goes_with, self._undo, self._more, self._by_price))
        last()
        return self._made

    def _say(self, phrasing: str, act: Act, **places: Any) -> None:
        is_held_out = self.rng.random() < 0.5
        wordings = PHRASINGS[phrasing].held_out if is_held_out else PHRASINGS[phrasing].known
        text = " ".join(self.rng.choice(wordings).format(**places).split())
        say = Say(conversation=self.conversation, turn=len(self._made) + 1, say=text)
        self._made.append(ScriptedTurn(say=say, expect=act, held_out=is_held_out))

    def _search(self) -> list[Row]:
        """The kind, one value or two and sometimes a limit, of which enough products are there; the rows left."""
        kind, price = self.vocabulary.kind, self.vocabulary.price
        for _ in range(TRIES):
            row = self.rng.choice(self.rows)
            named = [name for name in self.attributes if not is_missing(row[name])]
            named = self.rng.sample(named, min(len(named), self.rng.randint(0 if kind else 1, 1)))
            conditions = [self._is(name, row[name]) for name in named]
            if kind and not is_missing(row[kind]):
                conditions.append(self._is(kind, row[kind]))
            op = self.rng.choice(("", LESS, "<=")) if price and not is_missing(row[price]) else ""
            if op:
                limit = round(float(row[price]) * self.rng.uniform(1.0, 1.6)) + 1
                conditions.append(Condition(column=price, op=op, values=(float(limit),)))
            kept = self._left(self.rows, conditions)
            if len(self._distinct(kept)) >= FEWEST_SHOWN:
                break
        values = " ".join(text_of_value(row[name]) for name in named)
        noun = text_of_value(row[kind]) if kind else ""
        places = {"values": values, "kind": noun or "item", "kinds": f"{noun}s" if noun else "items"}
        limit_text = f"{conditions[-1].values[0]:g}" if op else ""
        act = Act(name=SEARCH, filters=tuple(conditions))
        self._say(f"search {op}".strip(), act, **places, limit=limit_text)
        return kept

    def _is(self, name: str, value: FieldValue, op: str = IN) -> Condition:
        stored: Value = value
        return Condition(column=name, op=op, values=(stored,))

    @staticmethod
    def _left(rows: Sequence[Row], conditions: Sequence[Condition]) -> list[Row]:
        return [row for row in rows if all(condition.holds(row) for condition in conditions)]

    def _distinct(self, rows: Sequence[Row]) -> set[tuple[str, ...]]:
        return {tuple(text_of_value(row[name]) for name in self.attributes) for row in rows}

    def _refine(self, kept: list[Row]) -> None:
        """Another condition that leaves enough, an order, or the next page."""
        options = [(name, row[name]) for name in self.attributes for row in kept if not is_missing(row[name])]
        self.rng.shuffle(options)
        for name, value in options[:TRIES]:
            for phrasing, op in self.rng.sample((("narrow", IN), ("exclude", NOT_IN)), 2):
                condition = self._is(name, value, op)
                left = self._left(kept, [condition])
                if len(left) < len(kept) and len(self._distinct(left)) >= FEWEST_SHOWN:
                    kept[:] = left
                    self._say(phrasing, Act(name=FILTER, filters=(condition,)), value=text_of_value(value))
                    return
        if self.vocabulary.price:
            self._say("sort", Act(name=FILTER, sort=Sort(column=self.vocabulary.price)), price=self.vocabulary.price)

    def _place(self, *others: int) -> int:
        return self.rng.choice([place for place in ORDINALS if place not in others])

    def _about(self) -> None:
        place = self.rng.choice((1, 2, 3))
        self._say("about", Act(name=ABOUT, items=(place,)), ordinal=ORDINALS[place], number=place)

    def _modify(self, kept: Sequence[Row]) -> None:
        place, name = self.rng.choice((1, 2)), self.rng.choice(self.attributes)
        value = self.rng.choice(sorted(self.vocabulary.choices[name].counts, key=str))
        act = Act(name=MODIFY, items=(place,), filters=(self._is(name, value),))
        self._say("modify", act, ordinal=ORDINALS[place], number=place, value=text_of_value(value))

    def _compare(self) -> None:
        one = self._place()
        other = self._place(one)
        self._say("compare", Act(name=COMPARE, items=(one, other)), ordinal=ORDINALS[one], other=ORDINALS[other])

    def _goes_with(self) -> None:
        place = self._place()
        self._say("goes-with", Act(name=GOES_WITH, items=(place,)), ordinal=ORDINALS[place])

    def _undo(self) -> None:
        self._say("undo", Act(name=UNDO))

    def _more(self) -> None:
        self._say("more", Act(name=MORE_OF))

    def _by_price(self) -> None:
        price = self.vocabulary.price
        if not price:
            return self._more()
        place = self._place()
        phrasing, op, items = self.rng.choice(
            (("cheaper", LESS, ()), ("cheaper than", LESS, (place,)), ("dearer than", MORE, (place,)))
        )
        relative = (Relative(column=price, op=op, items=items),)
        self._say(phrasing, Act(name=FILTER, relative=relative), ordinal=ORDINALS[place])
        return None
