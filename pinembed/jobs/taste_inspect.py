"""The taste inspect job: coverage, staleness and drift of a store, and the interests of a user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import InterestShown, TasteInspectReport
from pinembed.settings.taste import TasteInspectSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.event import shown_time
from pinembed.taste.recommender import Recommender
from pinembed.taste.store import Marks
from pinembed.taste.update import ARRIVED, TasteStore, UnknownItems
from pinembed.taste.user_table import User, find_user
from pinembed.taste.words import Labels

FEWEST_ITEMS = 8
LATEST_SHARE = 4
MOVED = 0.5


def taste_inspect(settings: TasteInspectSettings, *, progress: Progress = SILENT) -> TasteInspectReport:
    """Look at a store.

    Raises:
        DataError: there is no such store, or no such user in it.
        TableError: a table cannot be read.
    """
    progress.start("open the store")
    address = parse_address(settings.users)
    recommender = Recommender(EmbeddingTable.open(settings.table), address)
    store = TasteStore(address)
    user = find_user(store.users, settings.user) if settings.user is not None else None
    drift = _drift_of_all(store.users.every())
    lengths = pc.list_value_length(store.users.read(["interests"])["interests"])
    waiting = store.events.count(f"arrived > {store.facts.get(ARRIVED, 0)}")
    progress.finish()
    return TasteInspectReport(
        store=str(address),
        events=store.events.count(),
        users=store.users.count(),
        newest=_newest(store),
        waiting=waiting,
        catalogue=len(recommender.items.ids),
        touched_share=_share(recommender.users_N > 0),
        graph_share=_share(~recommender.is_thin_N),
        unknown_items=UnknownItems.of(store.edges, recommender.items).count,
        interests=float(pc.mean(lengths).as_py() or 0.0),
        drift_users=drift.users,
        drift=drift.mean,
        moved_share=drift.moved,
        forgotten=Marks(address).count,
        user=settings.user,
        user_events=user.history.events if user else 0,
        user_drift=_drift_of(user) if user else None,
        user_interests=_interests(recommender.table, user) if user else (),
    )


def _newest(store: TasteStore) -> str:
    newest_us = pc.max(store.events.read(["time"])["time"].cast(pa.int64())).as_py()
    if newest_us is None:
        return ""
    return shown_time(newest_us)


def _share(is_so_N: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    return float(is_so_N.mean()) if len(is_so_N) else 0.0


def _interests(table: EmbeddingTable, user: User) -> tuple[InterestShown, ...]:
    labels = Labels.read(table, [interest.item for interest in user.interests])
    return tuple(
        InterestShown(
            item=interest.item,
            title=labels.title_of[interest.item],
            weight=interest.weight,
            items=len(interest.members),
            stage=interest.stage,
        )
        for interest in user.interests
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drift:
    """Of all users with 8 liked items or more.

    Attributes:
        users: how many these are.
        mean: of `_drift_of`; NaN without any.
        moved: share of them whose drift is over a half.
    """

    users: int
    mean: float
    moved: float


def _drift_of(user: User) -> float | None:
    """Distance in total variation, 0 to 1, between interests of the latest quarter of liked items and of those before.

    0 says that a user goes on as ever, 1 that all of what they chose lately belongs to interests that are new to them.
    None for a user with too few items.
    """
    interest_of = {item: number for number, found in enumerate(user.interests) for item in found.members}
    liked = [interest_of[touched.item] for touched in user.history.liked if touched.item in interest_of]
    if len(liked) < FEWEST_ITEMS:
        return None
    cut = len(liked) - len(liked) // LATEST_SHARE
    before, after = (np.bincount(part, minlength=len(user.interests)) for part in (liked[:cut], liked[cut:]))
    return float(np.abs(before / before.sum() - after / after.sum()).sum() / 2)


def _drift_of_all(users: Iterable[User]) -> _Drift:
    """Drift over users."""
    found = [drift for user in users if (drift := _drift_of(user)) is not None]
    if not found:
        return _Drift(users=0, mean=float("nan"), moved=float("nan"))
    return _Drift(users=len(found), mean=float(np.mean(found)), moved=float(np.mean([one > MOVED for one in found])))
