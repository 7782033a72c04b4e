"""State: what a conversation is about at the moment, frozen, as JSON and back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pinembed.assistant.act import Sort
from pinembed.assistant.condition import Condition
from pinembed.errors import DataError
from pinembed.stored import list_of, typed_record_of

MOST_MOMENTS = 50
"""How far undo goes back."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for.

    Attributes:
        text: words for the encoder.
        avoid: words that results are ranked away from.
        filters: every result satisfies all of them.
        sort: order of the results; None for the nearest first.
        like: id of the item that a result resembles; empty for none.
        changes: what shall differ from that item; part of `filters`.
        beside: id of the item that a result goes with; empty for none.
        count: results on a list; 0 for the usual number.
    """

    text: str = ""
    avoid: str = ""
    filters: tuple[Condition, ...] = ()
    sort: Sort | None = None
    like: str = ""
    changes: tuple[Condition, ...] = ()
    beside: str = ""
    count: int = 0

    @classmethod
    def from_json(cls, stored: Any) -> Search:
        found = typed_record_of(cls, stored, "a search", is_whole=True)
        filters, changes = (list_of(getattr(found, name), f"{name} of a search") for name in ("filters", "changes"))
        return dataclasses.replace(
            found,
            filters=tuple(map(Condition.from_json, filters)),
            sort=None if found.sort is None else typed_record_of(Sort, found.sort, "an order"),
            changes=tuple(map(Condition.from_json, changes)),
        )


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What undo goes back to.

    Attributes:
        search: that made the list; None before the first one.
        start: place of the first one shown among all results, from 0.
        shown: ids on the list, in order.
        focus: ids that were spoken of last; all of them are shown.
    """

    search: Search | None = None
    start: int = 0
    shown: tuple[str, ...] = ()
    focus: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Any) -> Moment:
        found = typed_record_of(cls, stored, "a moment", is_whole=True)
        shown, focus = (list_of(getattr(found, name), f"{name} of a moment") for name in ("shown", "focus"))
        return dataclasses.replace(
            found,
            search=None if found.search is None else Search.from_json(found.search),
            shown=tuple(map(str, shown)),
            focus=tuple(map(str, focus)),
        )


@dataclass(frozen=True, kw_only=True)
class State:
    """One conversation.

    Attributes:
        user: whose taste ranks; empty for nobody's.
        turns: so far.
        now: the moment.
        before: moments that undo goes back to, the latest last.
        tried: a refinement of the list that found nothing; None where there is none. `25 then` moves its limit.
    """

    conversation: str = ""
    user: str = ""
    turns: int = 0
    now: Moment = Moment()
    before: tuple[Moment, ...] = ()
    tried: Search | None = None

    def moved_to(self, moment: Moment) -> State:
        """The state at a new list; undo comes back from it."""
        before = self.before if self.now.search is None else (*self.before, self.now)[-MOST_MOMENTS:]
        return dataclasses.replace(self, now=moment, before=before, tried=None)

    def spoken_of(self, ids: tuple[str, ...]) -> State:
        """The same list with other items in focus."""
        return dataclasses.replace(self, now=dataclasses.replace(self.now, focus=ids))

    def back(self) -> State:
        """The state before the last list; itself where there is none."""
        if not self.before:
            return self
        return dataclasses.replace(self, now=self.before[-1], before=self.before[:-1], tried=None)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Any, *, origin: str) -> State:
        """A state out of its JSON.

        Raises:
            DataError: it is none.
        """
        try:
            found = typed_record_of(cls, stored, "the state", is_whole=True)
            before = tuple(map(Moment.from_json, list_of(found.before, "before of the state")))
            tried = None if found.tried is None else Search.from_json(found.tried)
            return dataclasses.replace(found, now=Moment.from_json(found.now), before=before, tried=tried)
        except ValueError as error:
            raise DataError(
                f"{origin} holds no state of a conversation: {error}.",
                remedy="Give a file that `pinembed chat --state` wrote, or the name of a new one.",
            ) from error
