"""An act applied to a state: pure code, which says what is to be found, told, or asked back. Nothing is read here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pinembed.assistant.act import (
    ABOUT,
    COMPARE,
    FILTER,
    GOES_WITH,
    MODIFY,
    MORE_OF,
    SEARCH,
    UNDO,
    Act,
    Relative,
)
from pinembed.assistant.condition import COMPARISONS, IN, NOT_IN, UPPER, Condition, merged, number_in, same_as
from pinembed.assistant.state import Search, State
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.reports.table import SearchResult


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Results that a turn has to find.

    Attributes:
        start: place of the first of them among all that are found, from 0.
        count: how many; 0 for the usual number.
    """

    search: Search
    start: int = 0
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Told:
    """Items that a turn speaks of, a question about them, and whether they are compared."""

    ids: tuple[str, ...]
    question: str
    compared: bool = False


@dataclass(frozen=True, kw_only=True)
class WentBack:
    """The state before."""

    state: State


@dataclass(frozen=True, kw_only=True)
class AskedBack:
    """Nothing can be done; the reason is for the person."""

    reason: str


Outcome = Wanted | Told | WentBack | AskedBack


class UnclearError(ValueError):
    """The act does not fit the state; the message is for the person."""


def apply(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    """What follows from an act.

    Args:
        act: of the grammar.
        state: before the turn.
        shown: the items of `state.now.shown`, in order.
        vocabulary: of the table.
    """
    appliers: Mapping[str, Callable[[Act, State, Sequence[SearchResult], Vocabulary], Outcome]] = {
        SEARCH: _search,
        FILTER: _filter,
        MODIFY: _modify,
        COMPARE: _compare,
        ABOUT: _about,
        GOES_WITH: _goes_with,
        MORE_OF: _more,
        UNDO: _undo,
    }
    if act.name not in appliers:
        return AskedBack(reason=act.reason or "That is unclear.")
    try:
        return appliers[act.name](act, state, shown, vocabulary)
    except UnclearError as error:
        return AskedBack(reason=str(error))


def picked(items: Sequence[int], state: State, shown: Sequence[SearchResult]) -> tuple[SearchResult, ...]:
    """The shown items at these positions; without positions those that were spoken of last.

    Raises:
        UnclearError: a position that the list does not have.
    """
    if not shown:
        raise UnclearError("Nothing is shown. What are you looking for?")
    for position in items:
        if not 1 <= abs(position) <= len(shown):
            raise UnclearError(f"The list has {_counted(len(shown))}, and no number {abs(position)}.")
    rows = [position - 1 if position > 0 else len(shown) + position for position in items]
    if not items:
        rows = [row for row, one in enumerate(shown) if one.id in state.now.focus]
    return tuple(shown[row] for row in dict.fromkeys(rows))


def _counted(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _one(items: Sequence[int], state: State, shown: Sequence[SearchResult]) -> SearchResult:
    found = picked(items, state, shown)
    if not found and len(shown) == 1:
        return shown[0]
    if len(found) != 1:
        raise UnclearError("Which one is meant? Say the first, the second, and so on.")
    return found[0]


def _search(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    filters = merged((), act.filters)
    return _wanted(Search(text=act.text, avoid=act.avoid, filters=filters, sort=act.sort, count=act.count))


def _wanted(search: Search) -> Wanted:
    return Wanted(search=search, count=search.count)


def _filter(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    search = state.now.search or Search()
    kept = [condition for condition in search.filters if condition.column not in act.drop]
    new = (*act.filters, *(limit_of(one, state, shown) for one in act.relative))
    changes = [condition for condition in search.changes if condition.column not in act.drop]
    return _wanted(
        dataclasses.replace(
            search,
            text=_joined(search.text, act.text),
            avoid=_joined(search.avoid, act.avoid),
            filters=merged(kept, new),
            changes=merged(changes, new) if search.like else (),
            sort=act.sort or (None if search.sort and search.sort.column in act.drop else search.sort),
            count=act.count or search.count,
        )
    )


def _joined(old: str, new: str) -> str:
    return " ".join(filter(None, (old, new)))


def limit_of(
    relative: Relative, state: State, shown: Sequence[SearchResult], places: tuple[int, ...] = ()
) -> Condition:
    """A comparison with items as one with a number: cheaper than all of several is cheaper than the cheapest.

    Args:
        relative: the comparison.
        state: of the conversation.
        shown: its list.
        places: what it is with where it names no items: like the second but cheaper.

    Raises:
        UnclearError: no such place on the list, or no number of what is meant.
    """
    items = picked(relative.items or places, state, shown) or tuple(shown)
    known = [number for one in items if (number := number_in(one.fields, relative.column)) is not None]
    if not known or relative.op not in COMPARISONS:
        raise UnclearError(f"No {relative.column} is known of what is shown.")
    end = min(known) if relative.op in UPPER else max(known)
    return Condition(column=relative.column, op=relative.op, values=(end,))


def _modify(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    item = _one(act.items, state, shown)
    changes = (*act.filters, *(limit_of(one, state, shown, act.items) for one in act.relative))
    old = state.now.search or Search()
    search = Search(
        text=act.text,
        avoid=_joined(old.avoid, act.avoid),
        filters=merged(merged(old.filters, same_as(item.fields, vocabulary.kind)), changes),
        like=item.id,
        changes=changes,
        count=act.count or old.count,
    )
    return _wanted(search)


def _goes_with(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    item = _one(act.items, state, shown)
    named = any(condition.column == vocabulary.kind and condition.op == IN for condition in act.filters)
    kinds = () if named else same_as(item.fields, vocabulary.kind)
    others = [dataclasses.replace(one, op=NOT_IN) for one in kinds]
    return _wanted(Search(filters=merged(others, act.filters), beside=item.id, count=act.count))


def _more(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    if state.now.search is None:
        raise UnclearError("There is no list yet to show more of. What are you looking for?")
    search = state.now.search
    return Wanted(search=search, start=state.now.start + len(shown), count=act.count or search.count)


def _undo(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    if not state.before:
        raise UnclearError("There is nothing before this to go back to.")
    return WentBack(state=state.back())


def _about(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    items = picked(act.items, state, shown) or (_one((), state, shown),)
    return Told(ids=tuple(one.id for one in items), question=act.question)


def _compare(act: Act, state: State, shown: Sequence[SearchResult], vocabulary: Vocabulary) -> Outcome:
    items = picked(act.items, state, shown)
    if len(items) < 2:
        items = tuple(shown)
    if len(items) < 2:
        raise UnclearError("Two items or more are needed for a comparison.")
    return Told(ids=tuple(one.id for one in items), question=act.question, compared=True)
