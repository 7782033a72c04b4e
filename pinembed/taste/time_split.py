"""A log cut at a moment: users and graph of what came before, and what each user chose after."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pinembed.errors import UsageError
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.edge_table import edges_of, engagement_of
from pinembed.taste.event import Event, parse_time_us
from pinembed.taste.features import ItemFeatures
from pinembed.taste.graph import NEIGHBOURS, by_cosine, co_engagement
from pinembed.taste.history import Told, history_of
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.kinds import ENGAGED, Kinds
from pinembed.taste.measure import ITEM_KNN, WALK, Measurement, Trial
from pinembed.taste.recommender import Recommender
from pinembed.taste.user_table import describe, user_of_row

RIVALS = {
    ITEM_KNN: functools.partial(by_cosine, count=NEIGHBOURS),
    WALK: functools.partial(co_engagement, most_exact=0),
}


def cut_us(at: str) -> int:
    """The moment that `--at` names, microseconds since 1970.

    Raises:
        UsageError: it is no time.
    """
    try:
        return parse_time_us(at)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"--at {at} is no time.", remedy="Write it like 2026-03-01 or 2026-03-01T12:00:00Z."
        ) from error


def split_at(events: Iterable[Event], at_us: int) -> tuple[list[Event], list[Event]]:
    """Events before a moment, and from it on; each once."""
    each = list({event.key: event for event in events}.values())
    return [event for event in each if event.time_us < at_us], [event for event in each if event.time_us >= at_us]


def measurement(
    table: EmbeddingTable,
    before: Sequence[Event],
    after: Sequence[Event],
    kinds: Kinds,
    *,
    k: int,
    seed: int = 0,
) -> Measurement:
    """Everything derived from the events before, and a trial for each user who chose something new after.

    Raises:
        TableError: the table cannot be read.
    """
    items = ItemVectors.read(table)
    features = ItemFeatures.read(table, items)
    wanted = _wanted(after, kinds)
    told = told_by_user(before)
    histories = [history_of(user, told.get(user, ()), kinds) for user in sorted(told.keys() | wanted.keys())]
    rows = describe(histories, items)
    engagement = engagement_of(rows.to_batches())
    graph = Recommender.of_edges(table, items, features, edges_of(engagement))
    rivals = {
        name: Recommender.of_edges(table, items, features, edges_of(engagement, count_edges=count_edges))
        for name, count_edges in RIVALS.items()
    }
    trials = []
    for user in map(user_of_row, rows.to_pylist()):
        touched = {found.item for found in user.history.touched}
        new = items.rows(sorted(wanted.get(user.name, set()) - touched))
        if len(new):
            trials.append(Trial(user=user, wanted=np.unique(new)))
    return Measurement(graph, rivals, trials, k=k, seed=seed)


def _wanted(events: Iterable[Event], kinds: Kinds) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for event in events:
        if kinds.get(event.kind, 0.0) >= ENGAGED:
            found.setdefault(event.user, set()).add(event.item)
    return found


def told_by_user(events: Iterable[Event]) -> dict[str, list[Told]]:
    """Events of each user, in the order given."""
    found: dict[str, list[Told]] = {}
    for event in events:
        told = (event.time_us, event.key, event.item, event.kind, event.board)
        found.setdefault(event.user, []).append(told)
    return found
