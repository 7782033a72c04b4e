"""Asked: an utterance, its parts, and the moment it was said in: what is shown, and what the words point at there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pinembed.assistant import cues
from pinembed.assistant.act import Sort
from pinembed.assistant.condition import Condition, number_in
from pinembed.assistant.lexicon import A_REFERENCE, ANY_VALUE, Lexicon
from pinembed.assistant.state import State
from pinembed.assistant.wishes import Wish
from pinembed.assistant.words import tokens_of
from pinembed.reports.table import SearchResult

A_VALUE_ONE = rf"\bthe (?:{ANY_VALUE} ?)+one\b"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An utterance, its parts, and the moment it was said in."""

    say: str
    wish: Wish
    state: State
    shown: Sequence[SearchResult]
    lexicon: Lexicon

    @property
    def said(self) -> str:
        """Its words as they were said, with courtesies and without marks."""
        return " ".join(tokens_of(self.say))

    @property
    def has_search(self) -> bool:
        return self.state.now.search is not None

    @property
    def kind(self) -> str:
        return self.lexicon.vocabulary.kind

    @property
    def names_kind(self) -> bool:
        return any(condition.column == self.kind for condition in self.wish.wanted)

    @property
    def names_nothing(self) -> bool:
        """Whether no value, limit, order or column of the catalogue is in it."""
        wish = self.wish
        is_order = bool(wish.sort or wish.superlative or wish.count)
        return not (wish.filters or wish.relative or wish.drop or wish.shared or wish.unshared or is_order)

    @property
    def has_changes(self) -> bool:
        wish = self.wish
        return bool(wish.filters or wish.relative or wish.rest or wish.avoid)

    @property
    def changes_an_item(self) -> bool:
        """Whether the words beside a reference change it; some that nothing explains may be but a remark on it."""
        wish = self.wish
        is_change = wish.has(cues.CHANGES) and not wish.has(cues.TELLS)
        return bool(wish.filters or wish.relative or ((wish.rest or wish.avoid) and is_change))

    @property
    def changes_pointed(self) -> bool:
        """Whether an item that is named by its values is wanted with another one: the floral one in teal."""
        wish = self.wish
        others = [one for one in wish.wanted if not any(one in pointed for pointed in wish.pointed)]
        return bool(others) and wish.has(A_VALUE_ONE)

    def items(self) -> tuple[int, ...]:
        """Positions that the words point at: by place, at the head of an order, or by what is shown of them."""
        wish = self.wish
        found = [position for reference in wish.references for position in reference.items] or self._beside()
        if not found and wish.superlative is not None:
            found = self._best(wish.superlative.sort, wish.superlative.count)
        if not found and not wish.references:
            found = [position for conditions in wish.pointed for position in self._which(conditions)]
        return tuple(dict.fromkeys(found))

    def _beside(self) -> list[int]:
        """The one after that, the one before it."""
        side, focus = re.search(rf"\bone (after|before) {A_REFERENCE}", self.wish.left), self.state.now.focus
        places = [place for place, one in enumerate(self.shown, start=1) if one.id in focus]
        if side is None or len(places) != 1:
            return []
        place = places[0] + (1 if side[1] == "after" else -1)
        return [place] if 1 <= place <= len(self.shown) else []

    def _best(self, sort: Sort, count: int) -> list[int]:
        known = [
            (number, position)
            for position, one in enumerate(self.shown, start=1)
            if (number := number_in(one.fields, sort.column)) is not None
            and all(condition.holds(one.fields) for condition in self.wish.wanted)
        ]
        ordered = sorted(known, key=lambda pair: (-pair[0] if sort.descending else pair[0], pair[1]))
        return [position for _, position in ordered[:count]]

    def _which(self, conditions: Sequence[Condition]) -> list[int]:
        """The first shown item of these values."""
        fitting = (
            position
            for position, one in enumerate(self.shown, start=1)
            if all(condition.holds(one.fields) for condition in conditions)
        )
        return [position for position in (next(fitting, None),) if position is not None]
