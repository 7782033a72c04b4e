"""The taste evaluate job: a log cut at a moment; which way of making lists foretells best what users chose after it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pinembed.errors import DataError
from pinembed.evaluation.plot import check_plot, draw_dial
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import ArmFigures, DialPoint, TasteEvaluateReport
from pinembed.settings.taste import ARMS, BLEND, TasteEvaluateSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock
from pinembed.taste.blend import Slots
from pinembed.taste.event import ENGAGED, KINDS, Event, Kinds, read_kinds, shown_time
from pinembed.taste.log_file import LogReader, log_files
from pinembed.taste.measure import Lists, Measurement
from pinembed.taste.store import DEFAULT_ARM, FRESH_SHARE, NOW_SHARE, State, no_store
from pinembed.taste.time_split import cut_us, learn, measurement, split_at
from pinembed.taste.update import KINDS_FACT, TasteStore

DIAL = (0.0, 0.1, 0.2, 0.3, 0.5)


def taste_evaluate(settings: TasteEvaluateSettings, *, progress: Progress = SILENT) -> TasteEvaluateReport:
    """Judge all arms and the blend.

    Raises:
        UsageError: a cut that is no time.
        DataError: nothing to judge on one side of the cut, or a log that cannot be read.
        TableLockedError: another run holds the store that the default is to be written to.
        TableError: a table cannot be read.
        MissingExtraError: a plot is asked for and matplotlib is not installed.
    """
    started_s = time.perf_counter()
    check_plot(settings.plot, has_something=True)
    at_us = cut_us(settings.at)
    reader = LogReader(kinds=_kinds(settings))
    progress.start("events", unit="event")
    logs = log_files(settings.events)
    events = [event for path in logs for batch in reader.batches(path, []) for event in batch.events]
    before, after = split_at(events, at_us)
    table = EmbeddingTable.open(settings.table)
    progress.start("users and graph")
    found = measurement(table, before, after, reader.kinds, k=settings.k, seed=settings.seed)
    if not before or not found.trials:
        raise _nothing_to_judge(settings, before, after, found, reader)
    progress.start("shares of the blend")
    learned = learn(table, before, reader.kinds, k=settings.k, seed=settings.seed)
    if learned is not None:
        found.recommender.now, found.recommender.fresh = learned.now, learned.fresh
    slots = found.recommender.slots(settings.k, fresh=settings.fresh, explore=settings.explore)
    arms = found.arms(slots, progress)
    single = {name: lists for name, lists in arms.items() if name != BLEND}
    best_arm = max(single, key=lambda name: float(single[name].recall_U.mean()))
    difference = found.mean(arms[BLEND].recall_U - arms[best_arm].recall_U)
    assert difference is not None  # there are trials
    # rivals are there to compare with; the graph is what a store can serve in their place
    servable = max((name for name in single if name in ARMS), key=lambda name: single[name].recall_U.mean())
    default = BLEND if difference.low > 0 else servable
    if settings.users is not None:
        shares = {NOW_SHARE: found.recommender.now, FRESH_SHARE: slots.fresh}
        _keep(settings.users, {DEFAULT_ARM: default, **shares})
    dial = _dial(found, settings, progress)
    progress.finish()
    if settings.plot is not None:
        draw_dial(dial, settings.plot)
    return TasteEvaluateReport(
        at=shown_time(at_us),
        before=len(before),
        after=len(after),
        users=len(found.trials),
        items=len(found.recommender.items.ids),
        k=settings.k,
        arms=tuple(_figures(found, name, lists) for name, lists in arms.items()),
        best_arm=best_arm,
        difference=difference,
        now=found.recommender.now,
        fresh=slots.fresh,
        default=default,
        stored=settings.users is not None,
        dial=dial,
        bad=reader.bad.reasons,
        warning=_warning(table, at_us),
        plot=settings.plot,
        seconds=time.perf_counter() - started_s,
    )


def _kinds(settings: TasteEvaluateSettings) -> Kinds:
    """Those of the file, else of the store that the default is for."""
    if settings.kinds is not None or settings.users is None:
        return read_kinds(settings.kinds)
    kinds: Kinds = State(parse_address(settings.users)).read().get(KINDS_FACT, KINDS)
    return kinds


def _nothing_to_judge(
    settings: TasteEvaluateSettings, before: list[Event], after: list[Event], found: Measurement, reader: LogReader
) -> DataError:
    """What the log lacks: rows that are events, items of the table, or time on both sides of the cut."""
    events, row_of = [*before, *after], found.recommender.items.row_of
    told = (
        f"{settings.events} has {len(before)} events before {settings.at}, and {len(found.trials)} users who chose "
        "something new of the table after it; wanted some of each."
    )
    if reader.bad.named and len(events) < sum(reader.bad.reasons.values()):
        return DataError(
            f"{told} Most rows are no events: {reader.bad.named[0]}.",
            remedy="Mend the log, or name its kinds with --kinds.",
        )
    if events and not any(event.item in row_of for event in events):
        return DataError(f"{told} None of its items is in the table, not {events[0].item}.", remedy="Check --table.")
    if events and not any(reader.kinds.get(event.kind, 0.0) >= ENGAGED for event in events):
        return DataError(
            f"{told} No event is a choice: none has a kind of weight {ENGAGED} or more.",
            remedy="Give the kind that says a user wants an item such a weight with --kinds.",
        )
    moments = sorted(event.time_us for event in events)
    span = f" It goes from {shown_time(moments[0])} to {shown_time(moments[-1])}." if moments else ""
    return DataError(f"{told}{span}", remedy="Give another --at, inside of the log's time.")


def _figures(found: Measurement, arm: str, lists: Lists) -> ArmFigures:
    recall = found.mean(lists.recall_U)
    assert recall is not None  # there are trials
    strata: Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = lists.by_stratum
    return ArmFigures(
        arm=arm,
        recall=recall,
        warm=found.mean(strata["warm"]),
        thin=found.mean(strata["thin"]),
        cold=found.mean(strata["cold"]),
        by_length=found.by_length(lists.recall_U),
        coverage=found.coverage(lists.rows_UK),
        novelty=found.novelty(lists.rows_UK),
        diversity=found.diversity(lists.rows_UK),
    )


def _dial(found: Measurement, settings: TasteEvaluateSettings, progress: Progress) -> tuple[DialPoint, ...]:
    progress.start("dial", total=len(DIAL), unit="value")
    points = []
    for fresh in DIAL:
        lists = found.lists(Slots(k=settings.k, fresh=fresh))
        recall = found.mean(lists.recall_U)
        assert recall is not None  # there are trials
        warm, cold = (found.mean(lists.by_stratum[name]) for name in ("warm", "cold"))
        points.append(DialPoint(fresh=fresh, recall=recall, warm=warm, cold=cold))
        progress.advance()
    return tuple(points)


def _keep(users: str, facts: dict[str, object]) -> None:
    address = parse_address(users)
    with run_lock(address):
        store = TasteStore(address)
        if store.events.dataset is None:
            raise no_store(address)
        store.keep(facts)


def _warning(table: EmbeddingTable, at_us: int) -> str:
    """Whether the encoder may know what came after the cut."""
    folder = Path(table.reference) if table.reference else None
    if folder is None or not folder.is_dir():
        return ""
    newest_us = max((path.stat().st_mtime_ns // 1000 for path in folder.glob("*.safetensors")), default=0)
    if newest_us <= at_us:
        return ""
    return (
        f"The encoder {table.reference} was written on {shown_time(newest_us)}, after the cut: if it was trained on "
        "what users did, the figures of content, interests and blend flatter."
    )
