"""The appeal job: people's answers to flags."""

from __future__ import annotations

from collections import Counter

from pinembed.flags.answer_file import take_answers
from pinembed.machine import user_name
from pinembed.nouns.flag import APPEALED, CLEARED, CONFIRMED
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.quality import AppealReport
from pinembed.settings.quality import AppealSettings
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import run_lock
from pinembed.table.quality_tables import FlagTable


def appeal(settings: AppealSettings, *, progress: Progress = SILENT) -> AppealReport:
    """Store the answers of a file: all of them, or none where one cannot be understood.

    Raises:
        TableError: no such table, or one that cannot be read or written.
        TableLockedError: another run holds it.
        DataError: the file cannot be read, or an answer is none.
    """
    table = EmbeddingTable.open(settings.table)
    with run_lock(table.address):
        flags, by = FlagTable(table.address), settings.by or user_name()
        changed, unknown = take_answers(settings.file, flags, by=by, progress=progress)
    states = Counter(flag.state for flag in changed)
    return AppealReport(
        table=str(table.address),
        file=settings.file,
        confirmed=states[CONFIRMED],
        appealed=states[APPEALED],
        cleared=states[CLEARED],
        unknown=unknown,
    )
