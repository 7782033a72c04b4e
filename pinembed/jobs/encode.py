"""The encode job: images to rows of a table, and nothing twice."""

from __future__ import annotations

import time

from pinembed.catalogue.inputs import find_inputs
from pinembed.encoding.run import EncodeRun
from pinembed.encoding.run_log import RunHistory, make_report
from pinembed.encoding.target import choose_target
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.embedding_table import table_exists
from pinembed.table.lock import run_lock


def encode(settings: EncodeSettings, *, progress: Progress = SILENT, stop: Stop | None = None) -> EncodeReport:
    """Bring a table up to date with images.

    Args:
        settings: its fields say what they do.
        progress: is told what happens.
        stop: asks the run to end after a whole commit.

    Raises:
        UsageError: a value that cannot be meant, or another dtype than the table's.
        DataError: no images, unreadable metadata, or --prune would remove too much.
        EncoderError: the encoder cannot be loaded.
        EncoderMismatchError: the table holds another encoder's embeddings.
        TableLockedError: another run holds the table.
        TableError: the table cannot be read or written.
        StoppedError: `stop` was asked for; what was committed is whole.
    """
    started_s = time.perf_counter()
    target = choose_target(settings)
    progress.start("scan")
    if settings.dry_run:
        run = EncodeRun(settings, target, find_inputs(settings), progress)
        plan = run.plan()
        scan_s = time.perf_counter() - started_s
        return make_report(settings, target, plan, run.foreseen(plan), scan_s=scan_s, seconds=scan_s)
    # a first run that finds nothing to encode leaves nothing behind, not even a lock
    inputs = None if table_exists(target.address) else find_inputs(settings)
    history = RunHistory(settings, target)
    with run_lock(target.address), history.kept():
        run = EncodeRun(settings, target, inputs or find_inputs(settings), progress)
        history.counters = run.counters
        plan = run.plan()
        scan_s = time.perf_counter() - started_s
        outcome = run.carry_out(plan, history, stop or Stop())
        seconds = time.perf_counter() - started_s
        report = make_report(settings, target, plan, outcome, scan_s=scan_s, seconds=seconds)
        history.finish(report)
    return report
