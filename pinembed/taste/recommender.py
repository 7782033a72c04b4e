"""Recommender: a store and its catalogue opened for reading; lists of items for users, each with its reason.

Legend: N items of the catalogue, M items of the user.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.errors import UnknownItemError
from pinembed.settings.taste import BLEND, CONTENT, GRAPH, POPULAR
from pinembed.settings.taste import FRESH as FRESH_DEFAULT
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import EmbeddingTable, reading
from pinembed.taste.arms import Edges, Head, Voices, choose_anchors, is_thin, voices_of
from pinembed.taste.blend import DIVERSIFIED, FRESH, KNOWN, LATERAL, Ints, Slots, diverse, ranked, share_slots
from pinembed.taste.edge_table import EdgeTable
from pinembed.taste.event import KINDS
from pinembed.taste.features import Floats, ItemFeatures
from pinembed.taste.history import History, Touched
from pinembed.taste.interests import find_interests
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.store import DEFAULT_ARM, FRESH_SHARE, NOW_SHARE, State, no_store
from pinembed.taste.trend import drift_of, forecast
from pinembed.taste.user_table import User, UserTable

COUNTS = ("users", "chosen", "recent", "season_before", "season_after")
MIDDLE = (0.25, 0.75)
"""Quantiles of the catalogue's likeness to a taste between which an item lies to its side: neither more of the same nor
far from all of it."""
SPREAD_ITEMS = 4096
SECOND_STEP = 0.5
MOST_STEPS_FROM = 50
MOST_REACHED = 2000
"""Items that paths lead to, the best ones, whose likeness is looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """An item for a user, and why.

    Attributes:
        row: in the catalogue.
        slot: `known` from the graph, `fresh` by likeness, `lateral` to the side, `popular` where nothing is known.
        score: by the slot's own arm; scores of two slots cannot be compared, but for known and fresh.
        because: the item of the user that speaks loudest for it; empty where none does.
        via: the item that a lateral path leads over; empty for a path of one step.
    """

    id: str
    row: int
    slot: str
    score: float
    because: str = ""
    via: str = ""


class Recommender:
    """Reads the store once; then serves any number of users.

    Attributes:
        now: share of a known score that what is chosen now has: learned by `taste evaluate`, else by how far the log
            has drifted.
        fresh: share of the slots for items that no graph knows, where none is given: learned, else a fifth.

    Args:
        table: the catalogue.
        store: address of the taste store.

    Raises:
        DataError: there is no such store.
        TableError: a table cannot be read.
    """

    now: float
    fresh = FRESH_DEFAULT

    def __init__(self, table: EmbeddingTable, store: TableAddress) -> None:
        self.table, self.store = table, store
        self.users = UserTable(store)
        edges = EdgeTable(store)
        if edges.dataset is None:
            raise no_store(store)
        self.items = ItemVectors.read(table)
        self._arm(edges.read())
        facts = State(store).read()
        self.now = facts.get(NOW_SHARE, self.now)
        self.fresh = facts.get(FRESH_SHARE, self.fresh)
        self.default_arm = facts.get(DEFAULT_ARM, BLEND)

    @classmethod
    def of_edges(cls, table: EmbeddingTable, items: ItemVectors, features: ItemFeatures, rows: pa.Table) -> Recommender:
        """One whose graph is not stored, to measure with."""
        self = cls.__new__(cls)
        self.table, self.items = table, items
        self.features = features  # takes the place of the property
        self._arm(rows)
        return self

    def _arm(self, rows: pa.Table) -> None:
        self.chosen = Edges.of_table(rows, "neighbours", "weights", self.items)
        self.boards = Edges.of_table(rows, "board_neighbours", "board_weights", self.items)
        names = rows["item"].to_pylist()
        row_S = np.array([self.items.row_of.get(name, -1) for name in names], np.int64)
        counts_5N = np.zeros((len(COUNTS), len(self.items.ids)), np.int64)
        for counts_N, column in zip(counts_5N, COUNTS, strict=True):
            counts_N[row_S[row_S >= 0]] = rows[column].to_numpy()[row_S >= 0]
        self.users_N, chosen_N, self.recent_N, before_N, after_N = counts_5N
        self.is_thin_N = is_thin(self.users_N)
        self.coming_N = forecast(self.recent_N, before_N, after_N)
        now_N = np.where(self.is_thin_N, 0, self.coming_N)
        self._now_share_N = (now_N / max(float(now_N.sum()), 1e-12)).astype(np.float32)
        self.now = drift_of(chosen_N, self.recent_N)
        self.tie_N: Ints | None = None  # equal scores in the order of ids

    @cached_property
    def features(self) -> ItemFeatures:
        return ItemFeatures.read(self.table, self.items)

    @cached_property
    def head(self) -> Head:
        return Head(self.features, choose_anchors(self.users_N))

    def slots(self, k: int, *, fresh: float | None, explore: float, diversity: float = 0.0) -> Slots:
        """The make of a list; None for as many fresh slots as the log of the store asks for."""
        share = min(self.fresh, 1 - explore) if fresh is None else fresh
        return Slots(k=k, fresh=share, explore=explore, diversity=diversity)

    def open_arms(self, *, fresh: bool) -> None:
        """Make the head now, where lists have fresh slots, instead of in the first list."""
        if fresh and self.is_thin_N.any():
            _ = self.head

    def allowed(self, where: str | None) -> NDArray[np.bool_]:
        """Which items a condition picks, (N,).

        Raises:
            UsageError: the table does not understand the condition.
        """
        if where is None:
            return np.ones(len(self.items.ids), bool)
        with reading(self.table.address, where):
            ids = self.table.dataset.to_table(columns=["id"], filter=where)["id"].to_pylist()
        allowed_N = np.zeros(len(self.items.ids), bool)
        allowed_N[self.items.rows(ids)] = True
        return allowed_N

    def with_likes(self, user: User | None, items: Sequence[str]) -> User:
        """A user, or somebody new, who chose these items just now.

        Raises:
            UnknownItemError: the catalogue does not hold one of them.
        """
        unknown = [item for item in items if item not in self.items.row_of]
        if unknown:
            raise UnknownItemError(
                f"Table {self.table.address} holds no item {unknown[0]!r}.", remedy="Give --like ids of the table."
            )
        before = user.history if user is not None else History(user="", touched=(), events=0, capped=0)
        kept = [touched for touched in before.touched if touched.item not in items]
        new = [Touched(item=item, weight=KINDS["save"], time_us=before.last_us, events=1) for item in items]
        history = dataclasses.replace(before, touched=(*kept, *new))
        known = self.items.some(touched.item for touched in history.liked)
        return User(history=history, interests=find_interests(history, known, width=self.items.width))

    def recommend(
        self,
        user: User,
        slots: Slots,
        allowed_N: NDArray[np.bool_],
        *,
        arm: str = BLEND,
        last_N: NDArray[np.bool_] | None = None,
    ) -> list[Pick]:
        """A list for a user, without what they saw, chose or hid.

        Args:
            user: of the store, or a newcomer.
            slots: the list's make.
            allowed_N: items that may stand in it.
            arm: one of `blend.ARMS`; all but the blend fill the whole list by themselves.
            last_N: items that take the places which the others leave, behind them; None for none.
        """
        voices = voices_of(user.history)
        placed = self.place(user, slots, allowed_N if last_N is None else allowed_N & ~last_N, arm=arm)
        if last_N is not None and len(placed) < slots.k:
            rest = dataclasses.replace(slots, k=slots.k - len(placed))
            placed += self.place(user, rest, allowed_N & last_N, arm=arm)
        return [self._pick(row, slot, score, user, voices) for row, slot, score in placed]

    def place(
        self, user: User, slots: Slots, allowed_N: NDArray[np.bool_], *, arm: str = BLEND
    ) -> list[tuple[int, str, float]]:
        """Rows of a list with the slot and the score of each; `recommend` without the reasons."""
        allowed_N = allowed_N.copy()
        allowed_N[self.items.rows(touched.item for touched in user.history.touched)] = False
        voices = voices_of(user.history)
        placed: list[tuple[int, str, float]] = []
        if voices.items and arm == BLEND:
            placed = self._blend(user, voices, slots, allowed_N)
        elif voices.items and arm != POPULAR:
            placed = self._alone(user, voices, slots, allowed_N, arm)
        allowed_N[[row for row, _, _ in placed]] = False
        return placed + self._popular(slots.k - len(placed), allowed_N, with_season=arm == BLEND)

    def _blend(
        self, user: User, voices: Voices, slots: Slots, allowed_N: NDArray[np.bool_]
    ) -> list[tuple[int, str, float]]:
        chosen_N = self.known_scores(voices)
        known = self._known(chosen_N, allowed_N & ~self.is_thin_N, slots)
        fresh_N = self.fresh_scores(voices) if slots.fresh else np.zeros_like(chosen_N)
        fresh = self._ranked(fresh_N, allowed_N & self.is_thin_N, slots.k) if fresh_N.any() else known[:0]
        lateral_N = self._lateral_scores(user, allowed_N) if slots.explore else np.zeros_like(chosen_N)
        lateral_N[known] = lateral_N[fresh] = 0
        placed = share_slots(
            [(row, float(chosen_N[row])) for row in known.tolist()],
            [(row, float(fresh_N[row])) for row in fresh.tolist()],
            self._ranked(lateral_N, allowed_N, slots.k, above=0).tolist(),
            slots,
        )
        by_slot = {KNOWN: chosen_N, FRESH: fresh_N, LATERAL: lateral_N}
        return [(row, slot, float(by_slot[slot][row])) for row, slot in placed]

    def _known(self, chosen_N: Floats, allowed_N: NDArray[np.bool_], slots: Slots) -> Ints:
        candidates = slots.k * DIVERSIFIED if slots.diversity else slots.k
        return diverse(self._ranked(chosen_N, allowed_N, candidates, above=0), chosen_N, self.items.vectors_ND, slots)

    def _ranked(self, scores_N: Floats, allowed_N: NDArray[np.bool_], count: int, *, above: float = -math.inf) -> Ints:
        return ranked(scores_N, allowed_N, count, above=above, tie_N=self.tie_N)

    def _alone(
        self, user: User, voices: Voices, slots: Slots, allowed_N: NDArray[np.bool_], arm: str
    ) -> list[tuple[int, str, float]]:
        """One arm for the whole list."""
        if arm == GRAPH:
            scores_N = self.chosen.scores(voices.items, voices.strengths)
        elif arm == CONTENT:
            scores_N = self.fresh_scores(voices)
        else:
            scores_N = self._interest_scores(user)
        slot = KNOWN if arm == GRAPH else FRESH
        rows = self._known(scores_N, allowed_N, slots)
        return [(row, slot, float(scores_N[row])) for row in rows.tolist()]

    def _interest_scores(self, user: User) -> Floats:
        """By the nearest interest, the strong ones nearer than the weak."""
        known = [interest for interest in user.interests if interest.item in self.items.row_of]
        if not known:
            return np.zeros(len(self.items.ids), np.float32)
        medoids = self.items.rows(interest.item for interest in known)
        weights = np.array([interest.weight for interest in known], np.float32)
        centre_D = self.items.vectors_ND.mean(axis=0)
        likeness_NI = (self.items.vectors_ND - centre_D) @ (self.items.vectors_ND[medoids] - centre_D).T
        scores_N: Floats = (np.maximum(likeness_NI, 0) * np.sqrt(weights)).max(axis=1).astype(np.float32)
        return scores_N

    def known_scores(self, voices: Voices) -> Floats:
        """Of every item by the graph and by what is chosen now, (N,)."""
        chosen_N = self.chosen.scores(voices.items, voices.strengths)
        given = float(
            np.maximum(chosen_N, 0).sum()
        )  # as much as the graph hands out is handed out by what is chosen now
        scores_N: Floats = (1 - self.now) * chosen_N + np.float32(self.now * given) * self._now_share_N
        return scores_N

    def fresh_scores(self, voices: Voices) -> Floats:
        """Of every item by likeness, (N,)."""
        is_here = np.array([name in self.items.row_of for name in voices.items], bool)
        return self.head.scores(self.items.rows(voices.items), voices.even[is_here])

    def parts(self, voices: Voices, row: int, slot: str) -> Floats:
        """What each of the user's items says for an item: its part of the score, or for a fresh one its likeness."""
        if slot == FRESH:
            likeness = np.zeros(len(voices.items), np.float32)
            is_here = np.array([name in self.items.row_of for name in voices.items], bool)
            rows = self.items.rows(voices.items)
            likeness[is_here] = self.features.similarity(rows, np.array([row]))[:, 0] * voices.even[is_here]
            return likeness
        return (1 - self.now) * self.chosen.parts(voices.items, voices.strengths, row)

    def _pick(self, row: int, slot: str, score: float, user: User, voices: Voices) -> Pick:
        because, via = "", ""
        if slot == POPULAR:
            return Pick(id=self.items.ids[row], row=row, slot=slot, score=score)
        if slot == LATERAL:
            because, via = self._path(user, row)
        else:
            parts = self.parts(voices, row, slot)
            loudest = max(0.0, score - float(parts.sum())) if slot == KNOWN else 0.0  # what is chosen now
            because = voices.items[int(np.argmax(parts))] if len(parts) and parts.max() > loudest else ""
        return Pick(id=self.items.ids[row], row=row, slot=slot, score=score, because=because, via=via)

    def _popular(self, count: int, allowed_N: NDArray[np.bool_], *, with_season: bool) -> list[tuple[int, str, float]]:
        """By users of the last 30 days, then of all time."""
        if count <= 0:
            return []
        now_N = self.coming_N if with_season else self.recent_N
        scores_N = (now_N + self.users_N / (1 + self.users_N.max(initial=0))).astype(np.float32)
        rows = self._ranked(scores_N, allowed_N, count, above=0)
        return [(row, POPULAR, float(now_N[row])) for row in rows.tolist()]

    def _starts(self, user: User) -> tuple[str, ...]:
        return tuple(touched.item for touched in user.history.liked[-MOST_STEPS_FROM:])

    def _steps(self, names: Iterable[str], strengths: Floats) -> Floats:
        """One step over boards and, where these lead nowhere, over edges."""
        names = tuple(names)
        over_boards_N = self.boards.scores(names, strengths)
        return over_boards_N if over_boards_N.any() else np.maximum(self.chosen.scores(names, strengths), 0)

    def _lateral_scores(self, user: User, allowed_N: NDArray[np.bool_]) -> Floats:
        """Of items one or two steps away that lie in the middle band of likeness to the user's interests."""
        starts = self._starts(user)
        first_N = self._steps(starts, np.ones(len(starts), np.float32))
        between = ranked(first_N, np.ones(len(first_N), bool), MOST_STEPS_FROM, above=0)
        ids = [self.items.ids[row] for row in between.tolist()]
        second_N = self._steps(ids, first_N[between] / max(float(first_N.max()), 1e-12))
        scores_N = first_N + SECOND_STEP * second_N
        medoids = self.items.rows(interest.item for interest in user.interests)
        if not len(medoids):
            return np.zeros_like(scores_N)
        low, high = np.quantile(_likeness(self._spread_SD, self.items.vectors_ND[medoids]), MIDDLE)
        reached = ranked(scores_N, allowed_N, MOST_REACHED, above=0)
        likeness = _likeness(self.items.vectors_ND[reached], self.items.vectors_ND[medoids])
        kept = reached[(likeness >= low) & (likeness <= high)]
        lateral_N = np.zeros_like(scores_N)
        lateral_N[kept] = scores_N[kept]
        return lateral_N

    @cached_property
    def _spread_SD(self) -> Floats:
        """Vectors of some thousand items that stand for the catalogue."""
        return self.items.vectors_ND[:: max(1, len(self.items.ids) // SPREAD_ITEMS)]

    def _path(self, user: User, row: int) -> tuple[str, str]:
        """The user's item that a lateral path begins at, and the one that it leads over."""
        starts, item_id = self._starts(user), self.items.ids[row]
        for edges in (self.boards, self.chosen):
            direct = edges.parts(starts, np.ones(len(starts), np.float32), row)
            if direct.max(initial=0) > 0:
                return starts[int(np.argmax(direct))], ""
        for edges in (self.boards, self.chosen):
            back_N = edges.scores((item_id,), np.ones(1, np.float32))
            for start in reversed(starts):
                joint_N = np.minimum(edges.scores((start,), np.ones(1, np.float32)), back_N)
                if joint_N.max(initial=0) > 0:
                    return start, self.items.ids[int(np.argmax(joint_N))]
        return "", ""


def _likeness(vectors_MD: Floats, medoids_ID: Floats) -> Floats:
    """Cosine of items to the nearest medoid, (M,)."""
    likeness_M: Floats = (vectors_MD @ medoids_ID.T).max(axis=1)
    return likeness_M
