"""The audit job: a table to flags with evidence, beside what people answered."""

from __future__ import annotations

import time

from pinembed.flags.answer_file import check_answer_file, write_answer_file
from pinembed.flags.audit import Audit
from pinembed.flags.checks import CAPTION_MISMATCH, LEARNED, OUTLIER
from pinembed.flags.page import write_flag_page
from pinembed.flags.stored import StoredRows, read_rows
from pinembed.flags.vectors import vector_checks
from pinembed.images.contact_sheet import SheetCell, draw_sheet
from pinembed.machine import user_name
from pinembed.nouns.flag import OPEN_STATES, Flag
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.outfolder import check_file
from pinembed.reports.quality import AuditReport
from pinembed.settings.quality import AuditSettings
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock

SHEET_CELLS = 60


def audit(settings: AuditSettings, *, progress: Progress = SILENT, stop: Stop | None = None) -> AuditReport:
    """Look at every content of a table and flag what is wrong with it; only what is new is read and compared.

    Raises:
        TableError: no such table, or one that cannot be read or written.
        TableLockedError: another run holds it.
        UsageError: a check of vectors lacks its column, or its labels are none.
        EncoderError: captions are to be compared, and the table's encoder is gone.
        OutputError, OutputExistsError: the sheet, the page or the file for answers cannot be written.
        DataError: the answers cannot be read, or one of them is none; nothing was changed.
        StoppedError: `stop` was asked for; what was measured is stored.
    """
    started_s = time.perf_counter()
    check_file(settings.sheet, option="--sheet", makes_folder=True)
    check_file(settings.html, option="--html", makes_folder=True)
    if settings.appeals is not None:
        check_answer_file(settings.appeals)
    table = EmbeddingTable.open(settings.table)
    checks = settings.checks
    named = {CAPTION_MISMATCH: settings.caption, OUTLIER: settings.category, LEARNED: settings.labels}
    vectors = vector_checks(table, checks, named, takes_all=settings.check == ("all",))
    with run_lock(table.address):
        table.dataset.checkout_latest()
        rows = read_rows(table, settings.seller)
        run = Audit(table.address, rows, checks, vectors=vectors, progress=progress, stop=stop or Stop())
        if settings.flags_from is not None:
            run.take_over(EmbeddingTable.open(settings.flags_from).address)
        answered = 0 if settings.answers is None else run.take_answers(settings.answers, by=user_name())
        run.run(settings.confirm)
        flags = sorted(
            (flag for flag in run.flags.values() if flag.check in checks),
            key=lambda flag: (checks.index(flag.check), -flag.score, flag.sha256),
        )
        open_flags = [flag for flag in flags if flag.state in OPEN_STATES]
        if settings.appeals is not None:
            write_answer_file(settings.appeals, flags, rows)
    if settings.sheet is not None:
        draw_sheet(_cells(open_flags, rows), heading=f"{table.address}: {len(open_flags)} flags", path=settings.sheet)
    if settings.html is not None:
        write_flag_page(settings.html, open_flags, rows, heading=f"Audit of {table.address}")
    flagged_rows = sum(len(rows.of_content[sha256]) for sha256 in {flag.sha256 for flag in open_flags})
    return AuditReport(
        table=str(table.address),
        rows=len(rows),
        contents=len(rows.of_content),
        measured=run.measured,
        unmeasured=run.unmeasured,
        compared=run.compared,
        answered=answered,
        checks=run.counts(),
        silent=run.silent,
        flagged_rows=flagged_rows,
        share=flagged_rows / len(rows) if len(rows) else 0.0,
        max_share=settings.max_share,
        sheet=settings.sheet,
        html=settings.html,
        appeals=settings.appeals,
        seconds=time.perf_counter() - started_s,
    )


def _cells(flags: list[Flag], rows: StoredRows) -> list[SheetCell]:
    """The worst of each check, as many of one as of another."""
    rank: dict[str, int] = {}
    ranked = []
    for flag in flags:
        rank[flag.check] = rank.get(flag.check, 0) + 1
        ranked.append((rank[flag.check], flag))
    kept = {flag.key for _, flag in sorted(ranked, key=lambda pair: pair[0])[:SHEET_CELLS]}
    return [
        SheetCell(
            path=rows.path(flag.sha256),
            title=f"{flag.check}: {rows.name(flag.sha256)}",
            score=flag.score,
            note=f"{flag.evidence} [{flag.state}]",
        )
        for flag in flags
        if flag.key in kept
    ]
