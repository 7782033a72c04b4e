"""The steps of one run: plan, carry out, keep the table in order."""

from __future__ import annotations

import dataclasses
import time
from contextlib import nullcontext

import pyarrow as pa

from pinembed.catalogue.candidates import NOT_FOUND
from pinembed.catalogue.inputs import Inputs
from pinembed.encoding.backend import BackendOfRun, sample_pixels
from pinembed.encoding.pipeline import Counters, EncodePipeline
from pinembed.encoding.plan import Plan, make_plan
from pinembed.encoding.run_log import Outcome, RunHistory
from pinembed.encoding.target import EncodeTarget
from pinembed.fusion.item_fuser import ItemFuser
from pinembed.images.loading import WorkerSetup
from pinembed.images.pool import LoadingPool
from pinembed.machine import usable_cores
from pinembed.nouns.progress import Progress, Stop
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.embedding_table import EmbeddingTable, table_exists
from pinembed.table.side_tables import FailureTable
from pinembed.table.upkeep import fit_columns, index_if_large, tidy
from pinembed.table.writer import TableWriter

LOADED_AHEAD = 128  # images; at 224 px they are 20 MB, and what is decoded while the encoder opens


class EncodeRun:
    """One run over inputs that were scanned.

    Args:
        settings: what was asked for.
        target: where it goes.
        inputs: what there is.
        progress: is told what happens.

    Attributes:
        counters: what was done so far.
    """

    def __init__(self, settings: EncodeSettings, target: EncodeTarget, inputs: Inputs, progress: Progress) -> None:
        self.settings = settings
        self.target = target
        self.workers = settings.workers or usable_cores()
        self.inputs = inputs
        self.progress = progress
        self.counters = Counters()

    def plan(self) -> Plan:
        """Compare the inputs with the table, after making sure that the table is this encoder's."""
        for note in self.inputs.notes:
            self.progress.say(note)
        table = self._open()
        if table is not None:
            table.check_encoder(self.target.spec)
        known = FailureTable(self.target.address).known()
        wanted = self.settings
        return make_plan(
            self.inputs, table, known, retry_failed=wanted.retry_failed, prune=wanted.prune, force=wanted.force
        )

    def foreseen(self, plan: Plan) -> Outcome:
        """The outcome of a dry run: what the plan says, where nothing fails and no contents are equal."""
        counters = Counters(added=plan.new, updated=len(plan.load) - plan.new + len(plan.rewrite))
        return Outcome(counters=counters, rows=plan.rows + plan.new - len(plan.gone))

    def carry_out(self, plan: Plan, history: RunHistory, stop: Stop) -> Outcome:
        """Load, encode and write; then remove what is gone.

        Raises:
            StoppedError: after a whole commit, when asked to stop.
        """
        if plan.is_done:
            self._forget_obsolete(plan)
            return Outcome(counters=self.counters, rows=plan.rows)
        with stop.deferred():
            backend = self._backend(len(plan.load))
            with self._pool() if len(plan.load) else nullcontext() as pool:
                if pool is not None and not backend.calibration_images:
                    pool.begin(plan.requests())  # decoders and encoder start while the table is made ready
                    backend.open_ahead()
                table = self._ready_table(plan, history)
                outcome = self._run(plan, table, pool, backend, stop)
            if not stop.requested:
                self._forget_obsolete(plan)
                table.remove(plan.gone)
                self._keep_up(table)
        return dataclasses.replace(outcome, rows=table.count_rows())

    def _ready_table(self, plan: Plan, history: RunHistory) -> EmbeddingTable:
        """The table, made where it is missing, with the columns of today's metadata."""
        table = self._open() or self._create()
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
        tidy(table)
        FailureTable(self.target.address).tidy()
        recall = index_if_large(table)
        if recall is not None:
            self.progress.say(f"built an IVF_RQ index over {table.count_rows()} rows: recall@10 {recall:.3f}")

    def _run(
        self, plan: Plan, table: EmbeddingTable, pool: LoadingPool | None, backend: BackendOfRun, stop: Stop
    ) -> Outcome:
        """The pipeline, with everything committed at its end, also at an early one."""
        wanted, failures, fuser = self.settings, FailureTable(self.target.address), self._fuser()
        writer = TableWriter(table, failures, commit_rows=wanted.commit_rows, commit_s=wanted.commit_s, fuse=fuser)
        dims = self.target.spec.dim
        run = EncodePipeline(
            plan, self.inputs, counters=self.counters, writer=writer, dims=dims, progress=self.progress
        )
        try:
            for failure in plan.failures:
                writer.fail(failure)
            run.rewrite()
            if pool is not None and backend.calibration_images:
                self._calibrate(backend, plan, stop)
                pool.begin(plan.requests())
            begun_s, calibrated_s = time.perf_counter(), backend.calibrate_s
            was_stopped = stop.requested and backend.calibration_images > 0  # nothing is chosen
            if pool is not None and not was_stopped:
                run.load_and_encode(pool, backend, stop)
        finally:
            writer.flush()
        text_s = fuser.seconds if fuser is not None else 0.0  # the text tower works while the writer waits
        self.counters.encode_s += text_s
        return Outcome(
            counters=self.counters,
            rows=0,
            backend=backend,
            write_s=writer.seconds - text_s,
            pipeline_s=time.perf_counter()
            - (self.counters.first_s or begun_s)
            - backend.waited_s
            - (backend.calibrate_s - calibrated_s),
        )

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

    def _backend(self, images: int) -> BackendOfRun:
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
        self.progress.say(f"an item's vector is the mean of {fusion}")
        lacking = [name for name in fusion.names if name not in self.inputs.schema.names]
        if lacking:
            self.progress.say(f"the metadata has no column {', '.join(lacking)}; items are fused without.")
        return ItemFuser(self.target.files, fusion, device=self.settings.device)

    def _open(self) -> EmbeddingTable | None:
        return EmbeddingTable.open(str(self.target.address)) if table_exists(self.target.address) else None

    def _forget_obsolete(self, plan: Plan) -> None:
        """Take failures of this folder out that are none any more: mended, or gone."""
        table = FailureTable(self.target.address)
        known = [failure for failure in table.known().values() if failure.folder == self.inputs.folder]
        indices = self.inputs.candidates.find(pa.array([failure.id for failure in known], pa.large_string()))
        failing = {failure.id for failure in (*plan.failures, *plan.not_retried, *self.counters.failures)}
        table.forget(
            failure.id
            for failure, is_here in zip(known, indices != NOT_FOUND, strict=True)
            if failure.id not in failing and (is_here or self.inputs.would_have_seen(failure.file_name))
        )
