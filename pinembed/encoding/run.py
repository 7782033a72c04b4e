"""The steps of one run: plan, carry out, keep the table in order, report."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from contextlib import nullcontext

import pyarrow as pa

from pinembed.catalogue.candidates import NOT_FOUND
from pinembed.catalogue.inputs import Inputs
from pinembed.encoder.backends.probe import REFERENCE
from pinembed.encoder.locate import with_absolute_paths
from pinembed.encoding.folders import Folders
from pinembed.encoding.history import RunHistory
from pinembed.encoding.pipeline import Counters, EncodePipeline
from pinembed.encoding.plan import Plan, make_plan
from pinembed.encoding.run_backend import BackendOfRun, sample_pixels
from pinembed.encoding.shards.choose import engine_of
from pinembed.encoding.shards.epoch import Epochs
from pinembed.encoding.shards.run import ShardRun
from pinembed.encoding.shards.worker import ShardWork
from pinembed.encoding.target import EncodeTarget
from pinembed.fusion.item_fuser import ItemFuser
from pinembed.images.loading import WorkerSetup
from pinembed.images.pool import LOADED_AHEAD, LoadingPool
from pinembed.machine import usable_cores
from pinembed.nouns.progress import Progress, Stop
from pinembed.reports.encode import EncodeReport, EncodeStages
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.address import absolute_place
from pinembed.stores.options import storage_options
from pinembed.table.columns import as_stored, fit_columns
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import MeasureTable
from pinembed.table.side_tables import Tables
from pinembed.table.upkeep import compact, index_if_large
from pinembed.table.writer import TableWriter

SHOWN_FAILURES = 20


class EncodeRun:
    """One run over inputs that were scanned.

    Args:
        settings: what was asked for.
        target: where it goes.
        inputs: what there is.
        tables: to bring up to date.
        progress: is told what happens.

    Attributes:
        counters: what was done so far.
        disk: that the rows of the inputs' folder came from; None where that is another one than the folder is on.
    """

    def __init__(
        self, settings: EncodeSettings, target: EncodeTarget, inputs: Inputs, tables: Tables, progress: Progress
    ) -> None:
        self.settings = settings
        self.target = target
        self.workers = settings.workers or usable_cores()
        self.inputs = inputs
        self.tables = tables
        self.progress = progress
        self.counters = Counters()
        self.disk: int | None = None
        self._notes: list[str] = []
        self._backend: BackendOfRun | None = None  # where there is nothing to write, none is looked for
        self._computed_by = ""  # the workers of an engine
        self._engine_s = 0.0  # until they could be asked

    def _note(self, sentence: str) -> None:
        """Tell a person, now and in the report."""
        self._notes.append(sentence)
        self.progress.say(sentence)

    def plan(self) -> Plan:
        """Compare the inputs with the table, after making sure that the table is this encoder's."""
        for note in self.inputs.notes:
            self._note(note)
        wanted, table = self.settings, self.tables.embeddings
        if table is not None:
            table.check_encoder(self.target.spec)
            self._fit_metadata(table)
        known, folders = self.tables.failures.known(), self._folders()
        plan = make_plan(
            self.inputs, table, known, folders, retry_failed=wanted.retry_failed, prune=wanted.prune, force=wanted.force
        )
        for absence, rows in plan.spared.items():
            self._note(f"{absence.place} {absence.found}; --prune spares its {rows} row(s). {absence.remedy}")
        return plan

    def _folders(self) -> Folders:
        """Where rows came from; a folder that the user says to have moved to itself stays on the disk of today."""
        folder, was = self.inputs.folder, self.settings.moved_from
        known = {} if self.tables.embeddings is None else self.tables.runs.disks()
        if was is not None and absolute_place(was) == folder:
            known.pop(folder, None)
        folders = Folders(self.tables.embeddings, known)
        self.disk = None if folders.is_on_other_disk(folder) else self.inputs.disk
        return folders

    def _fit_metadata(self, table: EmbeddingTable) -> None:
        candidates = self.inputs.candidates
        if candidates.fields is not None:
            fields, notes = as_stored(table, candidates.fields)
            candidates = dataclasses.replace(candidates, fields=fields)
            self.inputs = dataclasses.replace(self.inputs, candidates=candidates, schema=fields.schema)
            for note in notes:
                self._note(note)

    def foresee(self, plan: Plan) -> None:
        """Count as a dry run does: what the plan says, where nothing fails and no contents are equal."""
        counts = self.counters.counts
        counts.added = plan.new
        counts.updated = len(plan.load) - plan.new + len(plan.rewrite)
        counts.rows = plan.rows + plan.new - len(plan.gone)

    def carry_out(self, plan: Plan, history: RunHistory, stop: Stop) -> None:
        """Load, encode and write; then remove what is gone.

        Raises:
            StoppedError: after a whole commit, when asked to stop.
        """
        if plan.is_done:
            self._forget_obsolete(plan)
            self.counters.counts.rows = plan.rows
            return
        # The decoders start first, then the encoder opens in a thread of its own, and meanwhile this thread makes the
        # table ready: three things of a second each. Only where the backend has still to be measured they come one
        # after the other, because what is measured wants the machine for itself (`_write` begins the pool then).
        with stop.deferred():
            backend = self._backend = self._new_backend(len(plan.load))
            is_local = len(plan.load) and not self.settings.is_in_shards
            with self._pool() if is_local else nullcontext() as pool:
                if pool is not None and not backend.calibration_images:
                    pool.begin(plan.requests(is_measured=self.settings.measure))
                    backend.open_ahead()
                table = self._ready_table(plan, history)
                self._write(plan, table, pool, backend, stop)
            if not stop.requested:
                self._forget_obsolete(plan)
                table.remove(plan.gone)
                self._keep_up(table)
        self.counters.counts.rows = table.count_rows()

    def report(self, plan: Plan, *, scan_s: float, seconds: float) -> EncodeReport:
        """What the run did, for people and scripts."""
        target, counters, backend = self.target, self.counters, self._backend
        failures = [*plan.failures, *plan.not_retried, *counters.failures]
        counts = dataclasses.replace(
            counters.counts, unchanged=plan.unchanged, failed=len(failures), removed=len(plan.gone)
        )
        return EncodeReport(
            table=str(target.address),
            encoder=target.spec.architecture,
            fingerprint=target.spec.fingerprint,
            counts=counts,
            seconds=seconds,
            images_per_s=counts.encoded / counters.pipeline_s if counters.pipeline_s else 0.0,
            stages=EncodeStages(
                scan=scan_s,
                decode=counters.decode_s,
                load=self._engine_s + (backend.load_s if backend else 0.0),
                calibrate=backend.calibrate_s if backend else 0.0,
                encode=counters.encode_s,
                wait=counters.wait_s,
                write=counters.write_s,
            ),
            failures=dict(sorted(Counter(failure.reason for failure in failures).items())),
            failed_images=tuple(failures[:SHOWN_FAILURES]),
            not_retried=len(plan.not_retried),
            backend=self._computed_by or (backend.name if backend else ""),
            dry_run=self.settings.dry_run,
            max_failure_rate=self.settings.max_failure_rate,
            notes=tuple(self._notes),
        )

    def _ready_table(self, plan: Plan, history: RunHistory) -> EmbeddingTable:
        """The table, made where it is missing, with the columns of today's metadata."""
        table = self.tables.embeddings = self.tables.embeddings or self._create()
        history.begin()
        if len(plan.load) or len(plan.rewrite):
            fit_columns(table, self.inputs.schema)
        return table

    def _create(self) -> EmbeddingTable:
        wanted = self.target
        return EmbeddingTable.create(
            str(wanted.address), wanted.spec, self.inputs.schema, reference=wanted.reference, dtype=wanted.dtype
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

    def _write(
        self, plan: Plan, table: EmbeddingTable, pool: LoadingPool | None, backend: BackendOfRun, stop: Stop
    ) -> None:
        """The pipeline, with everything committed at its end, also at an early one."""
        counters, fuser = self.counters, self._fuser()
        writer = self._writer(table, fuser)
        pipeline = EncodePipeline(
            plan, counters=counters, writer=writer, dims=self.target.spec.dim, progress=self.progress
        )
        try:
            for failure in plan.failures:
                writer.fail(failure)
            pipeline.rewrite()
            if len(plan.load) and backend.calibration_images:
                self._calibrate(backend, plan, stop)
                if pool is not None:
                    pool.begin(plan.requests(is_measured=self.settings.measure))
            begun_s, calibrated_s = time.perf_counter(), backend.calibrate_s
            was_stopped = stop.requested and backend.calibration_images > 0  # nothing is chosen
            if pool is not None and not was_stopped:
                pipeline.load_and_encode(pool, backend, stop)
            elif len(plan.load) and not was_stopped:
                begun_s += self._encode_in_shards(plan, table, writer, backend, stop)
        finally:
            writer.flush()
        text_s = 0.0
        if fuser is not None:
            text_s = fuser.seconds  # the text tower works while the writer waits
            if fuser.note:
                self.progress.say(f"texts in items' vectors: {fuser.note}")
        counters.encode_s += text_s
        counters.write_s = writer.seconds - text_s
        # without what the first batch waited for: opening the encoder, and measuring again one that opens no more
        not_pipeline_s = backend.waited_s + backend.calibrate_s - calibrated_s
        counters.pipeline_s = time.perf_counter() - (counters.first_s or begun_s) - not_pipeline_s

    def _writer(self, table: EmbeddingTable, fuser: ItemFuser | None) -> TableWriter:
        wanted = self.settings
        return TableWriter(
            table,
            self.tables.failures,
            commit_rows=wanted.commit_rows,
            commit_s=wanted.commit_s,
            measures=MeasureTable(table.address) if wanted.measure else None,
            fuse=fuser,
        )

    def _encode_in_shards(
        self, plan: Plan, table: EmbeddingTable, writer: TableWriter, backend: BackendOfRun, stop: Stop
    ) -> float:
        """The plan's images, by the workers of an engine; seconds that the engine took to start."""
        writer.flush()  # so that copies find what is rewritten
        epochs, started_s = Epochs(table.address), time.perf_counter()
        work = ShardWork(
            settings=self.settings,
            files=with_absolute_paths(self.target.files),
            spec=self.target.spec,
            tower_fingerprint=self._tower_fingerprint(),
            backend=backend.chosen or REFERENCE,
            epoch=epochs.open_next(),
            threads=self.workers if self.settings.engine == "local" else self.settings.threads_per_worker or 1,
            storage=storage_options(),
        )
        with engine_of(work) as engine:
            self._engine_s = time.perf_counter() - started_s
            run = ShardRun(
                plan,
                epoch=work.epoch,
                table=table,
                failures=self.tables.failures,
                writer=writer,
                counters=self.counters,
                commit_s=self.settings.commit_s,
                progress=self.progress,
            )
            self._computed_by = run.go(engine, stop, shard_images=self.settings.shard_images)
            if not stop.requested:  # else a receipt may still come, which the next run adopts
                epochs.close()
        return self._engine_s

    def _calibrate(self, backend: BackendOfRun, plan: Plan, stop: Stop) -> None:
        """Choose the backend by measurement, before the pipeline begins."""
        self.progress.start("backends")
        pixels_BCHW = sample_pixels(
            plan,
            self.target.spec.preprocessing,
            images=backend.calibration_images,
            workers=self.workers,
            image_limit_s=self.settings.image_limit_s,
        )
        if pixels_BCHW is not None:
            backend.calibrate(pixels_BCHW, stop)

    def _pool(self) -> LoadingPool:
        setup = WorkerSetup(preprocessing=self.target.spec.preprocessing, reduced=self.settings.reduced_decode)
        wanted = self.settings
        return LoadingPool(setup, workers=self.workers, image_limit_s=wanted.image_limit_s, ahead=LOADED_AHEAD)

    def _new_backend(self, images: int) -> BackendOfRun:
        return BackendOfRun(
            self.target.files,
            fingerprint=self._tower_fingerprint(),
            name=self.settings.backend,
            device=self.settings.device,
            batch_size=self.settings.batch_size,
            images=images,
            progress=self.progress,
        )

    def _tower_fingerprint(self) -> str:
        """Of what computes, which is the same however many of its floats are kept."""
        return dataclasses.replace(self.target.spec, dim=self.target.files.tower_dim).fingerprint

    def _fuser(self) -> ItemFuser | None:
        """What makes item vectors; None where they are the images' own."""
        fusion = self.target.spec.fusion
        if fusion is None:
            return None
        self._note(f"an item's vector is the mean of {fusion}")
        lacking = [name for name in fusion.names if name not in self.inputs.schema.names]
        if lacking:
            self._note(f"the metadata has no column {', '.join(lacking)}; items are fused without.")
        return ItemFuser(self.target.files, fusion, device=self.settings.device)

    def _forget_obsolete(self, plan: Plan) -> None:
        """Take failures of this folder out that are none any more: mended, or gone."""
        known = [failure for failure in plan.known_failures.values() if failure.folder in self.inputs.folders]
        indices = self.inputs.candidates.find(pa.array([failure.id for failure in known], pa.large_string()))
        failing = {failure.id for failure in (*plan.failures, *plan.not_retried, *self.counters.failures)}
        self.tables.failures.delete(
            failure.id
            for failure, is_here in zip(known, indices != NOT_FOUND, strict=True)
            if failure.id not in failing and (is_here or self.inputs.would_have_seen(failure.file_name))
        )
