"""The encoding of one plan: decoders, a backend or an engine's workers, and a writer, all at the same time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import nullcontext

from pinembed.encoder.backends.probe import REFERENCE
from pinembed.encoder.locate import with_absolute_paths
from pinembed.encoding.pipeline import Counters, EncodePipeline
from pinembed.encoding.plan import Plan
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
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.options import storage_options
from pinembed.table.columns import fit_columns
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import MeasureTable
from pinembed.table.side_tables import Tables
from pinembed.table.writer import TableWriter


class PlanRun:
    """Encodes the images of one plan into the table.

    Args:
        plan: what to load and to write.
        settings: what was asked for.
        target: where it goes.
        tables: to bring up to date; the table of embeddings is made where there is none.
        counters: to count in.
        progress: is told what happens.
        note: takes sentences for a person and the report.

    Attributes:
        backend: of this process; workers of an engine have their own.
        computed_by: the backends of an engine's workers.
        engine_s: until the workers could be asked.

    Raises:
        UsageError: there is no such device or backend.
        MissingExtraError: the package of the named backend is not installed.
    """

    def __init__(
        self,
        plan: Plan,
        settings: EncodeSettings,
        target: EncodeTarget,
        tables: Tables,
        counters: Counters,
        progress: Progress,
        note: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.target = target
        self.tables = tables
        self.counters = counters
        self.progress = progress
        self._plan = plan
        self._note = note
        self._workers = settings.workers or usable_cores()
        self.backend = self._new_backend(len(plan.load))
        self.computed_by = ""
        self.engine_s = 0.0

    def go(self, begin: Callable[[], None], stop: Stop) -> None:
        """Load, encode and write everything, or what there is when asked to stop.

        Args:
            begin: called once there is a table.
            stop: is asked after every image.
        """
        # The decoders start first, then the encoder opens in a thread of its own, and meanwhile this thread makes the
        # table ready: three things of a second each. Only where the backend has still to be measured they come one
        # after the other, because what is measured wants the machine for itself (`_write` begins the pool then).
        self.counters.first_s = 0.0
        is_local = len(self._plan.load) and not self.settings.is_in_shards
        with self._pool() if is_local else nullcontext() as pool:
            if pool is not None and not self.backend.calibration_images:
                pool.begin(self._plan.requests(is_measured=self.settings.measure))
                self.backend.open_ahead()
            table = self._ready_table(begin)
            self._write(table, pool, stop)

    def _ready_table(self, begin: Callable[[], None]) -> EmbeddingTable:
        """The table, made where it is missing, with the columns of today's metadata."""
        table = self.tables.embeddings = self.tables.embeddings or self._create()
        begin()
        if len(self._plan.load) or len(self._plan.rewrite):
            fit_columns(table, self._plan.inputs.schema)
        return table

    def _create(self) -> EmbeddingTable:
        wanted = self.target
        return EmbeddingTable.create(
            str(wanted.address), wanted.spec, self._plan.inputs.schema, reference=wanted.reference, dtype=wanted.dtype
        )

    def _write(self, table: EmbeddingTable, pool: LoadingPool | None, stop: Stop) -> None:
        """The pipeline, with everything committed at its end, also at an early one."""
        plan, backend, counters, fuser = self._plan, self.backend, self.counters, self._fuser()
        writer = self._writer(table, fuser)
        pipeline = EncodePipeline(
            plan, counters=counters, writer=writer, dims=self.target.spec.dim, progress=self.progress
        )
        try:
            for failure in plan.failures:
                writer.fail(failure)
            pipeline.rewrite()
            if len(plan.load) and backend.calibration_images:
                self._calibrate(stop)
                if pool is not None:
                    pool.begin(plan.requests(is_measured=self.settings.measure))
            begun_s, calibrated_s = time.perf_counter(), backend.calibrate_s
            was_stopped = stop.requested and backend.calibration_images > 0  # nothing is chosen
            if pool is not None and not was_stopped:
                pipeline.load_and_encode(pool, backend, stop)
            elif len(plan.load) and not was_stopped:
                begun_s += self._encode_in_shards(table, writer, stop)
        finally:
            writer.flush()
        text_s = 0.0
        if fuser is not None:
            text_s = fuser.seconds  # the text tower works while the writer waits
            if fuser.note:
                self.progress.say(f"texts in items' vectors: {fuser.note}")
        counters.encode_s += text_s
        counters.write_s += writer.seconds - text_s
        # without what the first batch waited for: opening the encoder, and measuring again one that opens no more
        not_pipeline_s = backend.waited_s + backend.calibrate_s - calibrated_s
        counters.pipeline_s += time.perf_counter() - (counters.first_s or begun_s) - not_pipeline_s

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

    def _encode_in_shards(self, table: EmbeddingTable, writer: TableWriter, stop: Stop) -> float:
        """The plan's images, by the workers of an engine; seconds that the engine took to start."""
        writer.flush()  # so that copies find what is rewritten
        epochs, started_s = Epochs(table.address), time.perf_counter()
        work = ShardWork(
            settings=self.settings,
            files=with_absolute_paths(self.target.files),
            spec=self.target.spec,
            tower_fingerprint=self._tower_fingerprint(),
            backend=self.backend.chosen or REFERENCE,
            epoch=epochs.open_next(),
            threads=self._workers if self.settings.engine == "local" else self.settings.threads_per_worker or 1,
            storage=storage_options(),
        )
        with engine_of(work) as engine:
            self.engine_s = time.perf_counter() - started_s
            run = ShardRun(
                self._plan,
                epoch=work.epoch,
                table=table,
                failures=self.tables.failures,
                writer=writer,
                counters=self.counters,
                commit_s=self.settings.commit_s,
                progress=self.progress,
            )
            self.computed_by = run.go(engine, stop, shard_images=self.settings.shard_images)
            if not stop.requested:  # else a receipt may still come, which the next run adopts
                epochs.close()
        return self.engine_s

    def _calibrate(self, stop: Stop) -> None:
        """Choose the backend by measurement, before the pipeline begins."""
        self.progress.start("backends")
        pixels_BCHW = sample_pixels(
            self._plan,
            self.target.spec.preprocessing,
            images=self.backend.calibration_images,
            workers=self._workers,
            image_limit_s=self.settings.image_limit_s,
        )
        if pixels_BCHW is not None:
            self.backend.calibrate(pixels_BCHW, stop)

    def _pool(self) -> LoadingPool:
        setup = WorkerSetup(preprocessing=self.target.spec.preprocessing, reduced=self.settings.reduced_decode)
        wanted = self.settings
        return LoadingPool(setup, workers=self._workers, image_limit_s=wanted.image_limit_s, ahead=LOADED_AHEAD)

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
        lacking = [name for name in fusion.names if name not in self._plan.inputs.schema.names]
        if lacking:
            self._note(f"the metadata has no column {', '.join(lacking)}; items are fused without.")
        return ItemFuser(self.target.files, fusion, device=self.settings.device)
