"""Refined: the list that is shown with its own conditions changed: moved, widened, or in the order reversed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from pinembed.assistant import cues
from pinembed.assistant.act import ABOUT, FILTER, SEARCH, Act
from pinembed.assistant.asked import Asked
from pinembed.assistant.condition import IN, NOT_IN, UPPER, Condition, Value
from pinembed.assistant.limits import moved_limit
from pinembed.assistant.state import Search

REVERSES = (
    r"^(?:reverse|flip|invert)(?: (?:it|that|this|them|the (?:order|list|sorting|sort)))?$|\bother way (?:a)?round\b"
)


def moved(asked: Asked) -> Act | None:
    """Nothing but a number, where the search has a limit that it can be: that one, at the new number."""
    wish, state = asked.wish, asked.state
    searches = [search for search in (state.now.search, state.tried) if search is not None]
    if searches and wish.filters == wish.limits and not (wish.rest or wish.relative or wish.references):
        return _moved_to(wish.limits, searches)
    if not searches or wish.filters or wish.relative or wish.references:
        return None
    if wish.rest.isdigit() and 1 <= int(wish.rest) <= len(asked.shown):
        return Act(name=ABOUT, items=(int(wish.rest),), question=asked.say)
    limits = (moved_limit(wish.rest, search.filters, asked.lexicon) for search in searches)
    limit = next(filter(None, limits), None)
    return None if limit is None else Act(name=FILTER, filters=(limit,))


def _moved_to(limits: Sequence[Condition], searches: Sequence[Search]) -> Act | None:
    """A column's very number, where a search has one limit on that column: that one at this number."""
    if len(limits) != 2 or limits[0].values != limits[1].values:
        return None
    known = [one for search in searches for one in search.filters if one.column == limits[0].column]
    moved = tuple(dataclasses.replace(one, values=limits[0].values) for one in known)
    return Act(name=FILTER, filters=moved) if len(moved) == 1 else None


def cleared(asked: Asked) -> Act | None:
    """Without all conditions but the kind of thing: start over, clear all filters; another kind is a new search."""
    wish, search = asked.wish, asked.state.now.search
    kinds = [one for one in search.filters if one.column == asked.kind] if search else []
    is_another = any(one.column == asked.kind and one not in kinds for one in wish.wanted)
    if search is None or cues.CLEARED not in wish.plain or is_another:
        return None
    new = tuple(one for one in wish.filters if one not in search.filters)
    kept = {asked.kind, *(one.column for one in new)}
    drop = tuple(dict.fromkeys(one.column for one in search.filters if one.column not in kept))
    if not (drop or new):
        return None
    if search.like or search.beside:  # which no filter takes back
        return Act(name=SEARCH, text=wish.rest, filters=(*kinds, *new), sort=wish.sort, count=wish.count)
    return Act(name=FILTER, text=wish.rest, filters=new, drop=drop, sort=wish.sort, count=wish.count)


def reversed_order(asked: Asked) -> Act | None:
    """The order that there is the other way round."""
    search = asked.state.now.search
    if search is None or search.sort is None or not re.search(REVERSES, asked.wish.plain) or asked.wish.filters:
        return None
    return Act(name=FILTER, sort=dataclasses.replace(search.sort, descending=not search.sort.descending))


def added(asked: Asked) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    """`Or red`: the values beside those that are wanted already, and the columns that no longer exclude them."""
    wish, search = asked.wish, asked.state.now.search
    known: dict[tuple[str, str], tuple[Value, ...]] = {}
    for one in search.filters if search else ():
        known[one.column, one.op] = (*known.get((one.column, one.op), ()), *one.values)  # exclusions add up
    conditions, drop = list[Condition](), list(wish.drop)
    told = [one for one in wish.excluded if one.op == IN]  # of a column of yes and no
    for one in (*wish.wanted, *told):
        old, gone = known.get((one.column, IN), ()), known.get((one.column, NOT_IN), ())
        if not old and set(one.values) & set(gone):
            drop.append(one.column)
            left = tuple(value for value in gone if value not in one.values)
            conditions += [Condition(column=one.column, op=NOT_IN, values=left)] if left else []
        else:
            values = tuple(dict.fromkeys((*old, *one.values)))
            if set(values) == {True, False}:
                drop.append(one.column)
                continue
            conditions.append(Condition(column=one.column, op=IN, values=values))
    excluded = (one for one in wish.excluded if one not in told)
    return (*conditions, *excluded, *_widened(wish.limits, search)), tuple(drop)


def _widened(limits: Sequence[Condition], search: Search | None) -> Iterator[Condition]:
    """Limits; a column's very number lies beside those that are wanted already: 4 strings too."""
    exact = {one.column for one in limits for other in limits if one.op != other.op and one.values == other.values}
    known = {(one.column, one.op): one for one in (search.filters if search else ()) if one.column in exact}
    for one in limits:
        old = known.get((one.column, one.op), one)
        wider = max if one.op in UPPER else min
        yield wider(one, old, key=lambda limit: float(limit.values[0]))
