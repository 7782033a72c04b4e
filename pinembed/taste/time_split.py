"""A log cut at a moment: users and graph of what came before, and what each user chose after."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import UsageError
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.blend import Slots
from pinembed.taste.edge_table import CountEdges, edges_of
from pinembed.taste.engagement import engagement_of
from pinembed.taste.event import ENGAGED, Event, Kinds, parse_time_us
from pinembed.taste.features import ItemFeatures
from pinembed.taste.graph import NEIGHBOURS, by_cosine, co_engagement
from pinembed.taste.history import histories_of, told_of
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.measure import ITEM_KNN, WALK, Measurement, Trial
from pinembed.taste.recommender import Recommender
from pinembed.taste.trend import WINDOW_US
from pinembed.taste.user_table import describe, user_of_row

RIVALS: Mapping[str, CountEdges] = {
    ITEM_KNN: functools.partial(by_cosine, count=NEIGHBOURS),
    WALK: functools.partial(co_engagement, most_exact=0),
}

NOW_SHARES = (0.0, 0.2, 1 / 3, 0.5, 2 / 3, 0.8)


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
    rivals: Mapping[str, CountEdges] = RIVALS,
) -> Measurement:
    """Everything derived from the events before, and a trial for each user who chose something new after.

    Where each user was cut at a moment of their own, there is none that lists are made at, and what is chosen now has
    no part in them.

    Raises:
        TableError: the table cannot be read.
    """
    items = ItemVectors.read(table)
    features = ItemFeatures.read(table, items)
    wanted = _wanted(after, kinds)
    users = sorted({event.user for event in before} | wanted.keys())
    rows = describe(histories_of(told_of(before), kinds, users=users), items)
    last_us = max((event.time_us for event in before), default=0)
    engagement = engagement_of(rows.to_batches(), last_us)
    graph = Recommender.of_edges(table, items, features, edges_of(engagement))
    if any(event.time_us < last_us for event in after):
        graph.now = 0.0
    others = {
        name: Recommender.of_edges(table, items, features, edges_of(engagement, count_edges=count_edges))
        for name, count_edges in rivals.items()
    }
    trials = []
    for user in map(user_of_row, rows.to_pylist()):
        touched = {found.item for found in user.history.touched}
        new = items.rows(sorted(wanted.get(user.name, set()) - touched))
        if len(new):
            trials.append(Trial(user=user, wanted=np.unique(new)))
    return Measurement(graph, others, trials, k=k, seed=seed)


def learn_now(table: EmbeddingTable, events: Sequence[Event], kinds: Kinds, *, k: int, seed: int = 0) -> float | None:
    """How loud what is chosen now has to be beside the graph, by what lists foretold in the last two months of a log.

    The log is cut twice, 30 and 60 days before its end, and lists are judged by the 30 days after each cut; a user
    without a history has no say. None where nobody has one.

    Raises:
        TableError: the table cannot be read.
    """
    end_us = max((event.time_us for event in events), default=0)
    recalls: list[NDArray[np.float64]] = []
    for windows in (1, 2):
        before, after = split_at(events, end_us - windows * WINDOW_US)
        after = [event for event in after if event.time_us < end_us - (windows - 1) * WINDOW_US]
        found = measurement(table, before, after, kinds, k=k, seed=seed, rivals={})
        has_history_U = np.array([bool(trial.user.history.touched) for trial in found.trials], bool)
        of_shares = []
        for share in NOW_SHARES:
            found.recommender.now = share
            of_shares.append(found.lists(Slots(k=k)).recall_U[has_history_U])
        recalls.append(np.stack(of_shares))
    recall_SU = np.concatenate(recalls, axis=1)
    return NOW_SHARES[int(np.argmax(recall_SU.mean(axis=1)))] if recall_SU.size else None


def _wanted(events: Iterable[Event], kinds: Kinds) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for event in events:
        if kinds.get(event.kind, 0.0) >= ENGAGED:
            found.setdefault(event.user, set()).add(event.item)
    return found
