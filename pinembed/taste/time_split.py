"""A log cut at a moment: users and graph of what came before, and what each user chose after."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pinembed.errors import UsageError
from pinembed.settings.taste import FRESH
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
FRESH_SHARES = (FRESH, 0.0, 0.1, 0.3, 0.5, 0.75, 1.0)  # of equals the first is taken
MOST_TAUGHT = 2000
"""Users of a cut whose lists teach the shares: recall is then known to a hundredth or two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """How loud the parts of a blend have to be.

    Attributes:
        now: share of a known score for what is chosen now.
        fresh: share of the slots for items that no graph knows.
    """

    now: float
    fresh: float


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


def learn(table: EmbeddingTable, events: Sequence[Event], kinds: Kinds, *, k: int, seed: int = 0) -> Learned | None:
    """The shares of the blend by what lists foretold in the last two months of a log.

    The log is cut twice, 30 and 60 days before its end, and lists are judged by the 30 days after each cut; a user
    without a history has no say, and of very many others some are drawn. None where nobody has one. How loud what is
    chosen now has to be is learned of lists without fresh slots, and how many of these there have to be beside it.

    Raises:
        TableError: the table cannot be read.
    """
    end_us = max((event.time_us for event in events), default=0)
    cuts = []
    for windows in (1, 2):
        before, after = split_at(events, end_us - windows * WINDOW_US)
        after = [event for event in after if event.time_us < end_us - (windows - 1) * WINDOW_US]
        found = measurement(table, before, after, kinds, k=k, seed=seed, rivals={})
        told = [trial for trial in found.trials if trial.user.history.touched]
        drawn = np.random.default_rng(seed).permutation(len(told))[:MOST_TAUGHT]
        found.trials = [told[place] for place in drawn.tolist()]
        cuts.append(found)
    if not any(found.trials for found in cuts):
        return None

    def recall(now: float, fresh: float) -> float:
        for found in cuts:
            found.recommender.now = now
        return float(np.concatenate([found.lists(Slots(k=k, fresh=fresh)).recall_U for found in cuts]).mean())

    now = max(NOW_SHARES, key=lambda share: recall(share, 0.0))
    return Learned(now=now, fresh=max(FRESH_SHARES, key=lambda share: recall(now, share)))


def _wanted(events: Iterable[Event], kinds: Kinds) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for event in events:
        if kinds.get(event.kind, 0.0) >= ENGAGED:
            found.setdefault(event.user, set()).add(event.item)
    return found
