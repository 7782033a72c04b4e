"""The taste update job: logs of events to users and a graph, and no event twice."""

from __future__ import annotations

import time

from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.outfolder import check_output
from pinembed.reports.taste import TasteUpdateReport
from pinembed.settings.taste import TasteUpdateSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock
from pinembed.taste.event import read_kinds
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.log_file import LogReader, log_files
from pinembed.taste.update import TasteStore, UnknownItems
from pinembed.taste.user_source import write_user_source


def taste_update(
    settings: TasteUpdateSettings, *, progress: Progress = SILENT, stop: Stop | None = None
) -> TasteUpdateReport:
    """Bring a taste store up to date with logs and with the catalogue.

    Raises:
        DataError: no log, columns that are missing, or --prune would remove too much.
        TableLockedError: another run holds the store.
        TableError: a table cannot be read or written.
        OutputExistsError, OutputError: the folder of --serve cannot be written.
        StoppedError: `stop` was asked for; what was committed is whole.
    """
    started_s = time.perf_counter()
    if settings.serve is not None:
        check_output(settings.serve, overwrite=True)
    stop = stop or Stop()
    logs = log_files(settings.events)
    kinds = read_kinds(settings.kinds) if settings.kinds is not None else None
    table = EmbeddingTable.open(settings.table)
    address = parse_address(settings.users)
    with run_lock(address), stop.deferred():
        store = TasteStore(address, kinds)
        reader = LogReader(kinds=store.kinds)
        totals = store.read_logs(logs, reader, progress, stop)
        progress.start("catalogue")
        items = ItemVectors.read(table)
        pruned = store.prune(items, force=settings.force) if settings.prune else 0
        derived = store.derive(items, progress, stop)
        if settings.serve is not None:
            progress.start("serve")
            write_user_source(settings.serve, store.users)
        unknown = UnknownItems.of(store.edges, items)
        progress.finish()
        return TasteUpdateReport(
            store=str(address),
            added=totals.added,
            known=totals.known,
            forgotten=totals.forgotten,
            late=totals.late,
            bad=reader.bad.reasons,
            bad_rows=tuple(reader.bad.named),
            waiting=tuple(reader.waiting),
            pruned=pruned,
            events=store.events.count(),
            users=store.users.count(),
            touched=derived.users,
            capped=derived.capped,
            bots=derived.bots,
            unknown_items=unknown.count,
            warning=unknown.words,
            seconds=time.perf_counter() - started_s,
            max_failure_rate=settings.max_failure_rate,
        )
