"""One audit of a table: measure what is not measured, check, compare, and keep the flags up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinembed.flags.answer_file import take_answers
from pinembed.flags.answers import Changes, compare_with_answers, confirmed
from pinembed.flags.checks import (
    COPY_VERSIONS,
    DUPLICATE,
    FLOOD,
    NEAR_DUPLICATE,
    VERSIONS,
    Contents,
    contents_of,
)
from pinembed.flags.copies import find_copies
from pinembed.flags.findings import Finding, find_damage, find_duplicates, find_floods, near_duplicates
from pinembed.flags.measuring import measure_contents
from pinembed.flags.stored import StoredRows
from pinembed.flags.vectors import VectorChecks
from pinembed.nouns.flag import APPEALED, CLEARED, CONFIRMED, FLAGGED, Flag
from pinembed.nouns.progress import Progress, Stop
from pinembed.reports.quality import CheckCounts
from pinembed.table.address import TableAddress
from pinembed.table.quality_tables import COMPARED, FlagTable, MeasureTable


class Audit:
    """One run over the rows of a table; the caller holds the table's run lock.

    Args:
        address: of the table.
        rows: of the table.
        checks: to be done.
        vectors: the checks of stored vectors among them.
        progress: is told what happens.
        stop: asks to end after what is stored.

    Attributes:
        measured: contents that were read and measured.
        unmeasured: contents without measures.
        compared: contents that were compared with all others.
        silent: by check, why it could say nothing.
        flags: the flags of the table's contents after the audit, by key.
    """

    def __init__(
        self,
        address: TableAddress,
        rows: StoredRows,
        checks: Collection[str],
        *,
        vectors: VectorChecks,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self.measured = 0
        self.unmeasured = 0
        self.compared = 0
        self.silent: dict[str, str] = {}
        self.flags: dict[str, Flag] = {}
        self._rows = rows
        self._checks = frozenset(checks)
        self._vectors = vectors
        self._progress = progress
        self._stop = stop
        self._measures = MeasureTable(address)
        self._table = FlagTable(address)
        self._changes = Changes(stored=(), new=frozenset(), reopened=frozenset(), resolved=frozenset())

    def take_over(self, other: TableAddress) -> None:
        """Take flags and measures of this table's contents from another table, where this one has none.

        Raises:
            TableError: a table cannot be read or written.
        """
        ours = self._rows.of_content
        has = self._measures.contents()
        theirs = MeasureTable(other).current()
        wanted = [sha256 in ours and sha256 not in has for sha256 in theirs["sha256"].to_pylist()]
        self._measures.mark_compared(theirs.filter(pa.array(wanted, pa.bool_())), 0)
        known = self._table.known()
        flags = FlagTable(other).known()
        self._table.record(flag for key, flag in flags.items() if key not in known and flag.sha256 in ours)

    def take_answers(self, path: Path, *, by: str) -> int:
        """Store the answers of a file; returns how many flags they change.

        Raises:
            DataError: the file cannot be read, or an answer is none; nothing was changed.
            TableError: the table cannot be written.
        """
        changed, _ = take_answers(path, self._table, by=by, progress=self._progress)
        return len(changed)

    def run(self, confirm: Collection[str]) -> None:
        """Do all of it and store what changed.

        Raises:
            TableError: a table cannot be read or written.
            StoppedError: what was measured is stored.
        """
        with self._stop.deferred():
            contents = self._contents()
            if self._stop.requested:
                return
            now = datetime.now(timezone.utc).replace(microsecond=0)
            known = self._table.known()
            findings, looked_at = self._look(contents, known)
            self._changes = compare_with_answers(findings, known, looked_at=looked_at, now=now)
            flags = known | {flag.key: flag for flag in self._changes.stored}
            flags = {key: flag for key, flag in flags.items() if key not in self._changes.resolved}
            settled = {flag.key: flag for flag in confirmed(flags.values(), confirm, now=now)}
            self._table.record(({flag.key: flag for flag in self._changes.stored} | settled).values())
            self._table.delete(self._changes.resolved)
            self._table.compact()
            self.flags = {key: flag for key, flag in (flags | settled).items() if flag.sha256 in self._rows.of_content}
            self._mark_compared(contents)

    def counts(self) -> tuple[CheckCounts, ...]:
        """By check, those that were done."""
        states = Counter((flag.check, flag.state) for flag in self.flags.values())
        changed = {
            name: Counter(key.partition("/")[2] for key in getattr(self._changes, name))
            for name in ("new", "reopened", "resolved")
        }
        return tuple(
            CheckCounts(
                check=check,
                version=version,
                **{state: states[check, state] for state in (FLAGGED, CONFIRMED, APPEALED, CLEARED)},
                **{name: found[check] for name, found in changed.items()},
            )
            for check, version in VERSIONS.items()
            if check in self._checks
        )

    def _contents(self) -> Contents:
        """The measured contents of the table: those that were compared already first, then large ones before small."""
        of_content = self._rows.of_content
        lacking = sorted(of_content.keys() - self._measures.contents())
        self.measured = measure_contents(lacking, self._rows, self._measures, progress=self._progress, stop=self._stop)
        stored = self._measures.current()
        stored = stored.filter(pc.is_in(stored["sha256"], value_set=self._rows.columns["sha256"].combine_chunks()))
        self.unmeasured = len(of_content) - stored.num_rows
        first = pa.array([of_content[sha256][0] for sha256 in stored["sha256"].to_pylist()], pa.int64())
        sizes = self._rows.columns.select(["width_px", "height_px", "mtime_ns"]).take(first)
        area = pc.multiply(pc.cast(sizes["width_px"], pa.int64()), sizes["height_px"])
        keys = pa.table(
            {
                "is_new": pc.less(stored[COMPARED], COPY_VERSIONS[NEAR_DUPLICATE]),
                "area": pc.negate(area),
                "mtime_ns": sizes["mtime_ns"],
                "sha256": stored["sha256"],
            }
        )
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
        sizes = sizes.take(order)
        width_px, height_px = (sizes[name].to_numpy().astype(np.int64) for name in ("width_px", "height_px"))
        return contents_of(stored.take(order), width_px=width_px, height_px=height_px)

    def _look(self, contents: Contents, known: Mapping[str, Flag]) -> tuple[list[Finding], dict[str, Collection[str]]]:
        """All findings, and by check the contents whose flags would have been found again."""
        sha256 = contents.texts("sha256")
        findings = list(find_damage(contents, self._checks))
        measured, there = set(sha256), self._rows.of_content.keys()
        looked_at: dict[str, Collection[str]] = dict.fromkeys(self._checks - COPY_VERSIONS.keys(), measured)
        looked_at |= dict.fromkeys(self._vectors.names, there)
        findings += self._vectors.find(self._rows.columns["sha256"].to_pylist(), self._progress, self.silent)
        if DUPLICATE in self._checks:
            findings += find_duplicates(self._rows)
            looked_at[DUPLICATE] = there
        if NEAR_DUPLICATE in self._checks:
            copies, looked_at[NEAR_DUPLICATE] = self._near_duplicates(contents, known)
            findings += copies
        if FLOOD in self._checks:
            partners = {flag.sha256: flag.partner for flag in known.values() if flag.check == NEAR_DUPLICATE}
            partners |= {one.sha256: one.partner for one in findings if one.check == NEAR_DUPLICATE}
            partners = {one: other for one, other in partners.items() if {one, other} <= there}
            findings += find_floods(self._rows, partners)
            looked_at[FLOOD] = there
        return findings, looked_at

    def _near_duplicates(self, contents: Contents, known: Mapping[str, Flag]) -> tuple[list[Finding], frozenset[str]]:
        """The copies among contents that were not compared before or whose original is gone, and these contents."""
        sha256 = contents.texts("sha256")
        version = COPY_VERSIONS[NEAR_DUPLICATE]
        there = set(sha256)
        orphans = {
            flag.sha256
            for flag in known.values()
            if flag.check == NEAR_DUPLICATE and flag.sha256 in there and flag.partner not in there
        }
        is_new = np.array([stored < version for stored in contents.column(COMPARED)], dtype=bool)
        is_new |= np.array([one in orphans for one in sha256], dtype=bool)
        order = np.argsort(is_new, kind="stable")
        names = [sha256[index] for index in order]
        first = len(names) - int(is_new.sum())
        self.compared = len(names) - first
        if not self.compared:
            return [], frozenset()
        self._progress.start("looking for copies", self.compared, "img")
        copies = find_copies(
            contents.luma_NHW[order], contents.chroma_N[order], first=first, advance=self._progress.advance
        )
        findings = list(near_duplicates(copies, names, self._rows))
        self._progress.finish()
        return findings, frozenset(names[first:])

    def _mark_compared(self, contents: Contents) -> None:
        """Last of all, so that a run that is killed before compares again."""
        if NEAR_DUPLICATE in self._checks:
            version = COPY_VERSIONS[NEAR_DUPLICATE]
            is_new = pc.less(contents.measures[COMPARED], version)
            self._measures.mark_compared(contents.measures.filter(is_new), version)
            self._measures.compact()
