"""What the commands of `pinembed taste` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinembed.nouns.scores import Estimate


@dataclass(frozen=True, kw_only=True)
class TasteUpdateReport:
    """What one run of `taste update` did.

    Attributes:
        store: DATABASE/NAME.
        added: events that are new.
        known: events that were stored already, by this log or another.
        forgotten: events of users who were forgotten; not stored.
        late: of the new events, those older than one that was stored before them.
        bad: rows that are no events, by reason.
        bad_rows: the first of them, in words.
        waiting: logs whose last line has no end yet; it is read once it has one.
        pruned: events that --prune took out.
        events: of the store after the run.
        users: of the store after the run.
        touched: users who were worked out anew.
        capped: events of touched users beyond 1,000 in an hour, which do not count.
        bots: users who have such events.
        unknown_items: items of events that the table does not hold yet.
        warning: that these are all that the events name, and how ids are written on both sides; else empty.
        max_failure_rate: share of bad rows above which the run counts as failed.
    """

    store: str
    added: int
    known: int
    forgotten: int
    late: int
    bad: Mapping[str, int]
    bad_rows: tuple[str, ...]
    waiting: tuple[str, ...]
    pruned: int
    events: int
    users: int
    touched: int
    capped: int
    bots: tuple[str, ...]
    unknown_items: int
    warning: str
    seconds: float
    max_failure_rate: float

    @property
    def failure_rate(self) -> float:
        """Share of the rows that are no events."""
        bad = sum(self.bad.values())
        rows = bad + self.added + self.known + self.forgotten
        return bad / rows if rows else 0.0

    @property
    def exit_code(self) -> int:
        """0, or 3 when more rows are bad than the user allows."""
        return 3 if self.failure_rate > self.max_failure_rate else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """One item of a list.

    Attributes:
        rank: 1 is the first.
        slot: `known` from the graph, `fresh` by likeness, `lateral` to the side, `popular` where nothing is known.
        score: by the slot's own arm.
        because: item of the user that speaks loudest for it; empty where none does.
        via: item that a lateral path leads over; empty for one step.
        reason: in words.
    """

    rank: int
    id: str
    title: str
    slot: str
    score: float
    because: str
    via: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TasteRecommendReport:
    """A list for one user, or how many lists were written.

    Attributes:
        user: None where all got one, or a new one did.
        known_user: an event names the user.
        lists: lists that were written; 1 for one user.
        demoted: items of the table that come last, for open flags of `demoted_checks`.
        results: of the one user.
        seconds: of all lists, without opening the store.
    """

    store: str
    user: str | None
    known_user: bool
    lists: int
    demoted: int
    demoted_checks: tuple[str, ...]
    results: tuple[Recommendation, ...]
    out: Path | None
    sheet: Path | None
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one item of a user adds.

    Attributes:
        part: of the score by the graph; of a thin item, the likeness.
        weight: of the item in the user's history.
    """

    id: str
    title: str
    part: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class TasteExplainReport:
    """Why an item is, or is not, for a user.

    Attributes:
        slot: that it could take: `known` or `fresh`.
        state: what the user did with it: `new`, `seen`, `liked` or `hidden`; only new ones are recommended.
        score: by the slot's arm.
        place: among all items that this arm may recommend to the user; None where it is not new.
        users: who did not hide it.
        parts: the items that speak loudest for it.
        now: what being chosen now adds to the score.
        board_path: items of the user that lie on boards with it.
    """

    store: str
    user: str
    item: str
    slot: str
    state: str
    score: float
    place: int | None
    users: int
    parts: tuple[Part, ...]
    now: float
    board_path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SimilarUser:
    """A user like another.

    Attributes:
        score: cosine of what both chose and saw, rare items louder than common ones.
        shared: items that both chose, the rarest first.
    """

    user: str
    score: float
    shared: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TasteSimilarReport:
    """Users like one."""

    store: str
    user: str
    results: tuple[SimilarUser, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InterestShown:
    """An interest of a user, with the words for its medoid."""

    item: str
    title: str
    weight: float
    items: int
    stage: str


@dataclass(frozen=True, kw_only=True)
class TasteInspectReport:
    """What a store holds, and how fresh it is.

    Attributes:
        newest: time of the newest event, ISO 8601 in UTC; empty without any.
        waiting: events that the users do not know of yet.
        catalogue: items of the table.
        touched_share: share of the catalogue with any user.
        graph_share: share of the catalogue with the five users that the graph needs.
        unknown_items: items of events that the table does not hold.
        interests: mean number a user.
        drift_users: users with 8 liked items or more.
        drift: their mean distance, 0 to 1, between interests of the latest quarter of liked items and of those before.
        moved_share: share of them whose distance is over a half.
        forgotten: users who were forgotten.
        user: that was asked for, and their events, drift and interests.
    """

    store: str
    events: int
    users: int
    newest: str
    waiting: int
    catalogue: int
    touched_share: float
    graph_share: float
    unknown_items: int
    interests: float
    drift_users: int
    drift: float
    moved_share: float
    forgotten: int
    user: str | None
    user_events: int
    user_drift: float | None
    user_interests: tuple[InterestShown, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmFigures:
    """How good one way of making lists is.

    Attributes:
        recall: recall@k over all items.
        warm: over items with five users or more before the cut; None where nobody wanted one.
        thin: over items with one to four.
        cold: over items with none.
        by_length: recall of users by the number of items in their history.
        coverage: share of the catalogue in any list.
        novelty: mean of -log2 of the share of users who touched an item, in bits.
        diversity: one minus the mean cosine of two items of a list.
    """

    arm: str
    recall: Estimate
    warm: Estimate | None
    thin: Estimate | None
    cold: Estimate | None
    by_length: Mapping[str, Estimate]
    coverage: float
    novelty: float
    diversity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DialPoint:
    """The blend at one value of --fresh."""

    fresh: float
    recall: Estimate
    warm: Estimate | None
    cold: Estimate | None


@dataclass(frozen=True, kw_only=True)
class TasteEvaluateReport:
    """All arms before a cut, judged by what users chose after it.

    Attributes:
        at: the cut, ISO 8601 in UTC.
        before: events before it.
        after: events from it on.
        users: who chose something new after it.
        arms: the blend first.
        best_arm: single arm of the greatest recall.
        difference: of the blend to it, paired by user.
        now: share of what is chosen now in the blend's known scores, learned of the events before the cut.
        fresh: share of the blend's slots for items with under five users, learned likewise where none was given.
        default: what `taste recommend` is to use: `blend`, or the best arm where the blend does not beat it.
        stored: the default was written to the store.
        dial: the blend over --fresh.
        bad: rows of the log that are no events, by reason.
        warning: why the figures may flatter; empty where nothing is known.
        plot: None where none was asked for.
    """

    at: str
    before: int
    after: int
    users: int
    items: int
    k: int
    arms: tuple[ArmFigures, ...]
    best_arm: str
    difference: Estimate
    now: float
    fresh: float
    default: str
    stored: bool
    dial: tuple[DialPoint, ...]
    bad: Mapping[str, int]
    warning: str
    plot: Path | None
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, or 4 where the blend does not beat the best arm."""
        return 0 if self.default == "blend" else 4


@dataclass(frozen=True, kw_only=True)
class TasteForgetReport:
    """What was forgotten of a user.

    Attributes:
        events: that the store held of them.
        verified: `--verify` looked for traces.
        versions: of tables that it opened.
        files: that it searched for the bytes of the name; 0 where the name is shorter than four bytes.
        size_bytes: of these files.
        traces: where it found the name.
    """

    store: str
    user: str
    events: int
    verified: bool
    versions: int
    files: int
    size_bytes: int
    traces: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """1 when the name is still somewhere."""
        return 1 if self.traces else 0
