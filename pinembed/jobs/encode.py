"""The encode job: images to rows of a table, and nothing twice."""

from __future__ import annotations

import time

from pinembed.catalogue.inputs import find_inputs
from pinembed.catalogue.parts import InputParts
from pinembed.encoding.history import RunHistory
from pinembed.encoding.run import EncodeRun
from pinembed.encoding.shards.adopt import adopt_left_over
from pinembed.encoding.target import choose_target
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.address import parse_address
from pinembed.table.columns import refuse_other_types, text_columns
from pinembed.table.lock import refuse_sealed, run_lock, table_of_sandbox
from pinembed.table.side_tables import Tables


def encode(settings: EncodeSettings, *, progress: Progress = SILENT, stop: Stop | None = None) -> EncodeReport:
    """Bring a table up to date with images.

    Raises:
        UsageError: a value that cannot be meant, or another dtype or type of a column than the table's.
        DataError: no images, unreadable metadata, or --prune would remove too much.
        EncoderError: the encoder cannot be loaded.
        EncoderMismatchError: the table holds another encoder's embeddings.
        TableLockedError: another run holds the table.
        TableError: the table cannot be read or written.
        StoppedError: `stop` was asked for; what was committed is whole.
    """
    started_s = time.perf_counter()
    if not settings.dry_run:
        refuse_sealed(settings.table)
    tables = Tables(parse_address(table_of_sandbox(settings.table)))
    target = choose_target(settings, tables)
    if tables.embeddings is not None:
        refuse_other_types(tables.embeddings, settings.column_types)
    progress.start("scan")
    if settings.dry_run:
        run = EncodeRun(settings, target, _inputs(settings, tables), tables, progress)
        run.scan_s = time.perf_counter() - started_s
        run.foresee()
        return run.report(seconds=time.perf_counter() - started_s)
    # a first run that finds nothing to encode leaves nothing behind, not even a lock
    inputs = _inputs(settings, tables) if tables.embeddings is None else None
    history = RunHistory(settings, target, tables)
    with run_lock(target.address):
        tables.catch_up()
        if rows := adopt_left_over(tables):  # before side tables are opened, which the fence is for as well
            progress.say(f"{rows} row(s) of a run that ended early came into the table from its workers' receipts.")
        with history.kept():
            run = EncodeRun(settings, target, inputs or _inputs(settings, tables), tables, progress)
            run.scan_s = time.perf_counter() - started_s
            history.counts = run.counters.counts
            run.carry_out(history, stop or Stop())
            report = run.report(seconds=time.perf_counter() - started_s)
            history.finish(report, folder=run.parts.folder, disk=run.disk)
    return report


def _inputs(settings: EncodeSettings, tables: Tables) -> InputParts:
    table = tables.embeddings
    return find_inputs(settings, texts=() if table is None else text_columns(table))
