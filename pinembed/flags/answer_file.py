"""The file of answers: a row for each flag, in which people write `confirm`, `appeal` or `clear`."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from pinembed.errors import DataError, OutputExistsError
from pinembed.flags.stored import StoredRows
from pinembed.nouns.flag import APPEALED, CLEARED, CONFIRMED, Flag, flag_key
from pinembed.nouns.progress import Progress
from pinembed.outfolder import check_file, whole_file
from pinembed.table.quality_tables import FlagTable

COLUMNS = ("answer", "by", "check", "id", "file", "evidence", "score", "state", "version", "sha256")
NEEDED = ("answer", "check", "sha256")
STATE_OF = {"confirm": CONFIRMED, "appeal": APPEALED, "clear": CLEARED}
MOST_CELL_CHARS = 1 << 20
FORMULA_STARTS = {"=", "+", "-", "@", "\t", "\r"}
SEPARATORS = ",;\t"  # as spreadsheets save a CSV in one country or another


def check_answer_file(path: Path) -> None:
    """Refuse a file that `write_answer_file` would refuse at the end; errors as there."""
    check_file(path, option="--appeals", makes_folder=True)
    _refuse_to_lose_answers(path)


def write_answer_file(path: Path, flags: Iterable[Flag], rows: StoredRows) -> None:
    """Write the flags, with empty places for answers; a file with answers in it is never replaced.

    Raises:
        OutputExistsError: the file holds answers, or is no such file.
        OutputError: it cannot be written.
    """
    _refuse_to_lose_answers(path)
    with whole_file(path, option="--appeals") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for flag in flags:
            row = rows.first(flag.sha256)
            cells = {"id": row["id"], "file": f"{row['folder']}/{row['file_name']}", "score": f"{flag.score:.4g}"}
            writer.writerow({name: _harmless(value) for name, value in (_cells(flag) | cells).items()})


def _cells(flag: Flag) -> dict[str, object]:
    return dataclasses.asdict(flag) | {"answer": "", "by": ""}


def _harmless(value: object) -> object:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA_STARTS else value


def _refuse_to_lose_answers(path: Path) -> None:
    if not path.exists():
        return
    try:
        is_ours = not any((row.get("answer") or "").strip() for row in _rows(path))
    except DataError:
        is_ours = False
    if not is_ours:
        raise OutputExistsError(
            f"--appeals {path} exists and holds answers, or is no file of answers; it is left as it is.",
            remedy="Read it with `pinembed appeal` and move it away, or give another name.",
        )


def take_answers(path: Path, table: FlagTable, *, by: str, progress: Progress) -> tuple[list[Flag], int]:
    """Store the answers of a file, all of them or none, and tell of those to no flag; the caller holds the run lock.

    Returns:
        the flags that changed, and the number of answers to flags that the table does not have.

    Raises:
        DataError: as for `read_answers`.
        TableError: the table cannot be read or written.
    """
    now = datetime.now(timezone.utc).replace(microsecond=0)
    changed, strangers = read_answers(path, table.known(), by=by, now=now)
    table.record(changed)
    if strangers:
        progress.say(f"{strangers} answer(s) are about flags that table {table.address} does not have.")
    return changed, strangers


def read_answers(path: Path, known: Mapping[str, Flag], *, by: str, now: datetime) -> tuple[list[Flag], int]:
    """The flags that the answers of a file change, as they are then, and the number of answers to none.

    Raises:
        DataError: the file cannot be read, or an answer is none.
    """
    changed, strangers = {}, 0
    answered: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(_rows(path), start=2):
        answer = (row.get("answer") or "").strip().lower()
        if not answer:
            continue
        state = STATE_OF.get(answer)
        if state is None:
            raise DataError(
                f"{path}, row {number}: the answer is {answer[:40]!r}; wanted {', '.join(STATE_OF)} or nothing.",
                remedy="Correct it and run the same command again; nothing was changed.",
            )
        key = flag_key(row.get("sha256") or "", row.get("check") or "")
        flag = known.get(key)
        if flag is None:
            strangers += 1
            continue
        before, line = answered.setdefault(key, (state, number))
        if before != state:
            raise DataError(
                f"{path}, rows {line} and {number} answer one flag with {before} and {state}.",
                remedy="Leave one of the answers and run the same command again; nothing was changed.",
            )
        who = (row.get("by") or "").strip() or by
        if (flag.state, flag.by) != (state, who):
            changed[key] = dataclasses.replace(flag, state=state, by=who, at=now)
    return list(changed.values()), strangers


def _rows(path: Path) -> list[dict[str, str | None]]:
    """Rows of the CSV.

    Raises:
        DataError: it cannot be read, or lacks a column that is needed.
    """
    csv.field_size_limit(MOST_CELL_CHARS)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = max(SEPARATORS, key=file.readline(MOST_CELL_CHARS).count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=separator)
            rows: list[dict[str, str | None]] = list(reader)
            names = list(reader.fieldnames or ())
            lacking = [name for name in NEEDED if name not in names]
            twice = [name for name in COLUMNS if names.count(name) > 1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            remedy="Give the CSV that `pinembed audit --appeals` wrote, saved as UTF-8.",
        ) from error
    if twice:
        raise DataError(
            f"{path} has several columns {', '.join(twice)}.", remedy="Leave the one that holds the answers."
        )
    if lacking:
        raise DataError(
            f"{path} has no column {', '.join(lacking)}; wanted {', '.join(NEEDED)}.",
            remedy="Give the CSV that `pinembed audit --appeals` wrote.",
        )
    return rows
