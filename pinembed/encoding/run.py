"""The steps of one run: plan, carry out, keep the table in order, report."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pinembed.catalogue.parts import InputParts, Inputs
from pinembed.encoding.folders import Folders
from pinembed.encoding.history import RunHistory
from pinembed.encoding.pipeline import Counters
from pinembed.encoding.plan import Plan, make_plan
from pinembed.encoding.plan_run import PlanRun
from pinembed.encoding.target import EncodeTarget
from pinembed.nouns.failure import Failure
from pinembed.nouns.progress import Progress, Stop
from pinembed.reports.encode import EncodeReport, EncodeStages
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.address import absolute_place
from pinembed.table.columns import as_stored
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.side_tables import Tables
from pinembed.table.upkeep import compact, index_if_large

SHOWN_FAILURES = 20


class EncodeRun:
    """One run over inputs that were scanned, part by part.

    Args:
        settings: what was asked for.
        target: where it goes.
        parts: what there is.
        tables: to bring up to date.
        progress: is told what happens.

    Attributes:
        counters: what was done so far.
        disk: that the rows of the inputs' folder came from; None where that is another one than the folder is on.
        scan_s: spent on making plans.
    """

    def __init__(
        self, settings: EncodeSettings, target: EncodeTarget, parts: InputParts, tables: Tables, progress: Progress
    ) -> None:
        self.settings = settings
        self.target = target
        self.parts = parts
        self.tables = tables
        self.progress = progress
        self.counters = Counters()
        self.disk: int | None = None
        self.scan_s = 0.0
        self._planned = _Planned()
        self._known = tables.failures.known()
        self._folders = self._folders_of_rows()
        self._notes: list[str] = []
        self._computed_by = ""
        self._load_s = 0.0  # until backends or an engine's workers could be asked
        self._calibrate_s = 0.0

    def _note(self, sentence: str) -> None:
        """Tell a person, now and in the report, what no part before has told."""
        if sentence not in self._notes:
            self._notes.append(sentence)
            self.progress.say(sentence)

    def plans(self) -> Iterator[Plan]:
        """The plan of each part, after making sure that the table is this encoder's.

        Raises:
            EncoderMismatchError: it is another one's.
            DataError: --prune would remove too much; told before anything is done.
        """
        for number, inputs in enumerate(self.parts, start=1):
            started_s = time.perf_counter()
            plan = self._plan(inputs, is_first=number == 1)
            self._planned.take(plan)
            self.scan_s += time.perf_counter() - started_s
            if len(self.parts) > 1:
                self.progress.say(f"part {number} of {len(self.parts)}: {len(plan.load)} image(s) to encode")
            yield plan
            del plan, inputs  # while the next ones are made

    def _plan(self, inputs: Inputs, *, is_first: bool) -> Plan:
        for note in inputs.notes:
            self._note(note)
        wanted, table = self.settings, self.tables.embeddings
        if table is not None:
            table.check_encoder(self.target.spec)
            inputs = self._fitting(inputs, table)
        plan = make_plan(
            inputs,
            table,
            self._known,
            self._folders,
            retry_failed=wanted.retry_failed,
            prune=self.parts if wanted.prune and is_first else None,
            force=wanted.force,
        )
        for absence, rows in plan.spared.items():
            self._note(f"{absence.place} {absence.found}; --prune spares its {rows} row(s). {absence.remedy}")
        return plan

    def _folders_of_rows(self) -> Folders:
        """Where rows came from; a folder that the user says to have moved to itself stays on the disk of today."""
        folder, was = self.parts.folder, self.settings.moved_from
        known = {} if self.tables.embeddings is None else self.tables.runs.disks()
        if was is not None and absolute_place(was) == folder:
            known.pop(folder, None)
        folders = Folders(self.tables.embeddings, known)
        self.disk = None if folders.is_on_other_disk(folder) else self.parts.disk
        return folders

    def _fitting(self, inputs: Inputs, table: EmbeddingTable) -> Inputs:
        """The inputs with metadata of the table's types."""
        candidates = inputs.candidates
        if candidates.fields is None:
            return inputs
        fields, notes = as_stored(table, candidates.fields)
        for note in notes:
            self._note(note)
        candidates = dataclasses.replace(candidates, fields=fields)
        return dataclasses.replace(inputs, candidates=candidates, schema=fields.schema)

    def foresee(self) -> None:
        """Count as a dry run does: what the plans say, where nothing fails and no contents are equal."""
        counts, rows = self.counters.counts, 0
        for plan in self.plans():
            counts.added += plan.new
            counts.updated += len(plan.load) - plan.new + len(plan.rewrite)
            rows = plan.rows
        counts.rows = rows + counts.added - len(self._planned.gone)

    def carry_out(self, history: RunHistory, stop: Stop) -> None:
        """Load, encode and write; then remove what is gone.

        Raises:
            StoppedError: after a whole commit, when asked to stop.
        """
        is_done, rows = True, 0
        for plan in self.plans():
            rows = plan.rows
            if not plan.is_done:
                is_done = False
                with stop.deferred():
                    self._encode(plan, history, stop)
            del plan
        with stop.deferred():
            self._forget_obsolete()
            table = self.tables.embeddings
            if table is not None and not is_done:
                table.remove(self._planned.gone)
                self._keep_up(table)
        self.counters.counts.rows = rows if is_done or table is None else table.count_rows()

    def _encode(self, plan: Plan, history: RunHistory, stop: Stop) -> None:
        run = PlanRun(plan, self.settings, self.target, self.tables, self.counters, self.progress, self._note)
        try:
            run.go(history.begin, stop)
        finally:
            self._load_s += run.engine_s + run.backend.load_s
            self._calibrate_s += run.backend.calibrate_s
            self._computed_by = run.computed_by or run.backend.name or self._computed_by

    def report(self, *, seconds: float) -> EncodeReport:
        """What the run did, for people and scripts."""
        target, counters, planned = self.target, self.counters, self._planned
        failures = [*planned.failures, *planned.not_retried, *counters.failures]
        counts = dataclasses.replace(
            counters.counts, unchanged=planned.unchanged, failed=len(failures), removed=len(planned.gone)
        )
        return EncodeReport(
            table=str(target.address),
            encoder=target.spec.architecture,
            fingerprint=target.spec.fingerprint,
            counts=counts,
            seconds=seconds,
            images_per_s=counts.encoded / counters.pipeline_s if counters.pipeline_s else 0.0,
            stages=EncodeStages(
                scan=self.scan_s,
                decode=counters.decode_s,
                load=self._load_s,
                calibrate=self._calibrate_s,
                encode=counters.encode_s,
                wait=counters.wait_s,
                write=counters.write_s,
            ),
            failures=dict(sorted(Counter(failure.reason for failure in failures).items())),
            failed_images=tuple(failures[:SHOWN_FAILURES]),
            not_retried=len(planned.not_retried),
            backend=self._computed_by,
            dry_run=self.settings.dry_run,
            max_failure_rate=self.settings.max_failure_rate,
            notes=tuple(self._notes),
        )

    def _keep_up(self, table: EmbeddingTable) -> None:
        """Compact, and index what has grown large."""
        compact(table.address, table.dataset)
        self.tables.failures.compact()
        index = index_if_large(table)
        if index is not None and index.is_kept:
            self._note(
                f"an IVF_RQ index of {index.segments} segment(s) over {table.count_rows()} rows: "
                f"recall@10 {index.recall:.3f}"
            )
        elif index is not None:
            self._note(f"an IVF_RQ index found {index.recall:.3f} of the 10 nearest and was dropped; search is exact.")

    def _forget_obsolete(self) -> None:
        """Take failures of this folder out that are none any more: mended, or gone."""
        known = [failure for failure in self._known.values() if failure.folder in self.parts.folders]
        is_here = self.parts.hold(pa.array([failure.id for failure in known], pa.large_string()))
        planned = self._planned
        failing = {failure.id for failure in (*planned.failures, *planned.not_retried, *self.counters.failures)}
        self.tables.failures.delete(
            failure.id
            for failure, has_item in zip(known, is_here.tolist(), strict=True)
            if failure.id not in failing and (has_item or self.parts.would_have_seen(failure.file_name))
        )


@dataclass(kw_only=True)
class _Planned:
    """What the plans of all parts say that is needed when they are carried out and gone."""

    unchanged: int = 0
    failures: list[Failure] = field(default_factory=list)
    not_retried: list[Failure] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def take(self, plan: Plan) -> None:
        self.unchanged += plan.unchanged
        self.failures += plan.failures
        self.not_retried += plan.not_retried
        self.gone += plan.gone
