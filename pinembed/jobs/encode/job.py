"""The encode job: images to rows of a table, and nothing twice."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pinembed.encoder.locate import EncoderFiles, encoder_spec, locate_encoder
from pinembed.errors import UsageError
from pinembed.images.loading import WorkerSetup
from pinembed.images.pool import LoadingPool
from pinembed.jobs.cores import usable_cores
from pinembed.jobs.encode.backend import BackendOfRun
from pinembed.jobs.encode.fuse import ItemFuser
from pinembed.jobs.encode.inputs import InputChoice, Inputs, find_inputs
from pinembed.jobs.encode.plan import Plan, make_plan
from pinembed.jobs.encode.run import EncodeRun, Tally
from pinembed.nouns.encode_report import EncodeReport, EncodeStages, FailedImage
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.progress import SILENT, Progress
from pinembed.nouns.stop import Stop
from pinembed.table.address import TableAddress, parse_address
from pinembed.table.columns import fit_columns
from pinembed.table.embedding_table import EmbeddingTable, table_exists
from pinembed.table.failures import Failure, FailureTable
from pinembed.table.lock import run_lock
from pinembed.table.upkeep import index_if_large, tidy
from pinembed.table.writer import TableWriter

COMMIT_ROWS = 4096
COMMIT_S = 20.0
IMAGE_LIMIT_S = 60.0
SHOWN_FAILURES = 20
LOADED_AHEAD = 64  # images; at 224 px they are 10 MB
USUAL_IMAGE_BYTES = 100_000  # where only reading would tell
FAST_JPEG_FROM_BYTES = 64 << 20  # less is decoded by Pillow before a worker has loaded torch


def encode(
    images: Path,
    *,
    table: str,
    encoder: str,
    metadata: Path | None = None,
    files_from: Path | None = None,
    null_separated: bool = False,
    image_column: str | None = None,
    retry_failed: bool = False,
    max_failure_rate: float = 0.5,
    prune: bool = False,
    force: bool = False,
    dry_run: bool = False,
    backend: str = "auto",
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    image_limit_s: float = IMAGE_LIMIT_S,
    reduced_decode: bool = False,
    commit_rows: int = COMMIT_ROWS,
    commit_s: float = COMMIT_S,
    progress: Progress = SILENT,
    stop: Stop | None = None,
) -> EncodeReport:
    """Bring a table up to date with images.

    Args:
        images: folder of images, with or without metadata; a WebDataset tar or a Parquet file with a column of image
            bytes; or a folder of tars or Parquet files.
        table: DATABASE/NAME; made where it is missing.
        encoder: reference of the encoder.
        metadata: metadata file; None takes the folder's own where there is one.
        files_from: list of the files to take, relative to `images`; `-` reads it from standard input.
        null_separated: the list's names end in NUL instead of a line break.
        image_column: column of the images in Parquet; None looks for it.
        retry_failed: read images that failed before again although their file is the same.
        max_failure_rate: share of failed items above which `EncodeReport.exit_code` is 3.
        prune: remove the rows whose files are gone.
        force: allow `prune` to remove more than a fifth of the rows.
        dry_run: report the plan and do nothing.
        backend: `torch`, `openvino`, `onnx`, or `auto` for the fastest that agrees with fp32 torch.
        device: torch device; `auto` takes a GPU where there is one.
        batch_size: images that the encoder takes at once; None chooses by device.
        workers: processes that decode; None takes one for each CPU core.
        image_limit_s: time limit for reading and decoding one image.
        reduced_decode: decode large JPEGs at a part of their size; vectors differ a little, stored ones stay.
        commit_rows: commit after this many rows,
        commit_s: or after this many seconds.
        progress: is told what happens.
        stop: asks the run to end after a whole commit.

    Raises:
        DataError: no images, unreadable metadata, or --prune would remove too much.
        EncoderError: the encoder cannot be loaded.
        EncoderMismatchError: the table holds another encoder's embeddings.
        TableLockedError: another run holds the table.
        TableError: the table cannot be read or written.
        StoppedError: `stop` was asked for; what was committed is whole.
    """
    started_s = time.perf_counter()
    if not 0 <= max_failure_rate <= 1:
        raise UsageError(
            f"--max-failure-rate {max_failure_rate} is no share; wanted a number from 0 to 1.",
            remedy="0.05 ends the run with exit code 3 when more than 5 % of the images failed.",
        )
    address = parse_address(table)
    files = locate_encoder(encoder)
    progress.start("scan")
    inputs = find_inputs(
        InputChoice(
            images=images,
            metadata=metadata,
            files_from=files_from,
            null_separated=null_separated,
            image_column=image_column,
        )
    )
    work = _Work(
        address=address,
        files=files,
        spec=encoder_spec(files),
        inputs=inputs,
        backend=backend,
        device=device,
        batch_size=batch_size,
        workers=workers or usable_cores(),
        image_limit_s=image_limit_s,
        reduced_decode=reduced_decode,
        commit_rows=commit_rows,
        commit_s=commit_s,
        progress=progress,
    )
    with nullcontext() if dry_run else run_lock(address):
        plan = work.plan(retry_failed=retry_failed, prune=prune, force=force)
        scan_s = time.perf_counter() - started_s
        outcome = work.foreseen(plan) if dry_run else work.carry_out(plan, stop or Stop())
    calibrate_s = outcome.backend.calibrate_s if outcome.backend else 0.0
    failures = [*plan.failures, *plan.not_retried, *outcome.tally.failures]
    return EncodeReport(
        table=str(address),
        encoder=work.spec.architecture,
        fingerprint=work.spec.fingerprint,
        added=outcome.tally.added,
        updated=outcome.tally.updated,
        unchanged=plan.unchanged,
        duplicate=outcome.tally.duplicate,
        failed=len(failures),
        removed=len(plan.gone),
        rows=outcome.rows,
        encoded=outcome.tally.encoded,
        seconds=time.perf_counter() - started_s,
        images_per_s=outcome.tally.encoded / outcome.pipeline_s if outcome.pipeline_s else 0.0,
        stages=EncodeStages(
            scan=scan_s,
            decode=outcome.tally.decode_s,
            load=outcome.backend.load_s if outcome.backend else 0.0,
            calibrate=calibrate_s,
            encode=max(0.0, outcome.tally.encode_s - calibrate_s),
            wait=outcome.tally.wait_s,
            write=outcome.write_s,
        ),
        failures=dict(sorted(Counter(failure.reason for failure in failures).items())),
        failed_images=tuple(
            FailedImage(id=failure.id, reason=failure.reason, message=failure.message)
            for failure in failures[:SHOWN_FAILURES]
        ),
        not_retried=len(plan.not_retried),
        backend=outcome.backend.name if outcome.backend else "",
        dry_run=dry_run,
        max_failure_rate=max_failure_rate,
    )


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of a plan: what was counted, and how the table stands."""

    tally: Tally
    rows: int
    backend: BackendOfRun | None = None
    write_s: float = 0.0
    pipeline_s: float = 0.0


@dataclass(kw_only=True)
class _Work:
    """The settings of one run, and the steps that need them."""

    address: TableAddress
    files: EncoderFiles
    spec: EncoderSpec
    inputs: Inputs
    backend: str
    device: str
    batch_size: int | None
    workers: int
    image_limit_s: float
    reduced_decode: bool
    commit_rows: int
    commit_s: float
    progress: Progress

    def plan(self, *, retry_failed: bool, prune: bool, force: bool) -> Plan:
        """Compare the folder with the table, after making sure that the table is this encoder's."""
        for note in self.inputs.notes:
            self.progress.say(note)
        table = self._open()
        if table is not None:
            table.check_encoder(self.spec)
        known = FailureTable(self.address).known()
        return make_plan(self.inputs, table, known, retry_failed=retry_failed, prune=prune, force=force)

    def foreseen(self, plan: Plan) -> _Outcome:
        """The outcome of a dry run: what the plan says, where nothing fails and no contents are equal."""
        new = sum(candidate.id not in plan.stored for candidate in plan.load)
        tally = Tally(added=new, updated=len(plan.load) - new + len(plan.rewrite))
        return _Outcome(tally=tally, rows=len(plan.stored) + new - len(plan.gone))

    def carry_out(self, plan: Plan, stop: Stop) -> _Outcome:
        """Load, encode and write; then remove what is gone.

        Raises:
            StoppedError: after a whole commit, when asked to stop.
        """
        if plan.is_done:
            self._forget_obsolete(plan, [])
            return _Outcome(tally=Tally(), rows=len(plan.stored))
        table = self._open() or EmbeddingTable.create(
            str(self.address), self.spec, self.inputs.schema, reference=self._reference()
        )
        if plan.load or plan.rewrite:
            fit_columns(table, self.inputs.schema)
        fuser = self._fuser()
        writer = TableWriter(
            table, FailureTable(self.address), commit_rows=self.commit_rows, commit_s=self.commit_s, fuse=fuser
        )
        with stop.deferred():
            outcome = self._run(plan, writer, stop)
            if fuser is not None:  # the text tower works while the writer waits
                outcome.tally.encode_s += fuser.seconds
                outcome = dataclasses.replace(outcome, write_s=outcome.write_s - fuser.seconds)
            if not stop.requested:
                self._forget_obsolete(plan, outcome.tally.failures)
                table.remove(plan.gone)
                self._keep_up(table)
        return dataclasses.replace(outcome, rows=table.count_rows())

    def _keep_up(self, table: EmbeddingTable) -> None:
        """Compact, and index what has grown large."""
        tidy(table)
        recall = index_if_large(table)
        if recall is not None:
            self.progress.say(f"built an IVF_RQ index over {table.count_rows()} rows: recall@10 {recall:.3f}")

    def _run(self, plan: Plan, writer: TableWriter, stop: Stop) -> _Outcome:
        """The pipeline, with everything committed at its end, also at an early one."""
        run = EncodeRun(plan, folder=self.inputs.folder, writer=writer, progress=self.progress)
        backend = self._backend(len(plan.load))
        started_s = time.perf_counter()
        try:
            for failure in plan.failures:
                writer.fail(failure)
            run.rewrite(plan.rewrite)
            if plan.load:
                with self._pool(plan) as pool:
                    run.load_and_encode(pool, backend, stop)
        finally:
            writer.flush()
        pipeline_s = time.perf_counter() - started_s - backend.load_s - backend.calibrate_s
        return _Outcome(tally=run.tally, rows=0, backend=backend, write_s=writer.seconds, pipeline_s=pipeline_s)

    def _pool(self, plan: Plan) -> LoadingPool:
        size_bytes = sum(candidate.size_bytes or USUAL_IMAGE_BYTES for candidate in plan.load)
        setup = WorkerSetup(
            preprocessing=self.spec.preprocessing,
            fast_jpeg=size_bytes >= FAST_JPEG_FROM_BYTES,
            reduced=self.reduced_decode,
        )
        return LoadingPool(setup, workers=self.workers, image_limit_s=self.image_limit_s, ahead=LOADED_AHEAD)

    def _backend(self, images: int) -> BackendOfRun:
        return BackendOfRun(
            self.files,
            fingerprint=self.spec.fingerprint,
            name=self.backend,
            device=self.device,
            batch_size=self.batch_size,
            images=images,
            progress=self.progress,
        )

    def _fuser(self) -> ItemFuser | None:
        """What makes item vectors; None where they are the images' own."""
        fusion = self.spec.fusion
        if fusion is None:
            return None
        self.progress.say(f"an item's vector is the mean of {fusion}")
        lacking = [name for name in fusion.names if name not in self.inputs.schema.names]
        if lacking:
            self.progress.say(f"the metadata has no column {', '.join(lacking)}; items are fused without.")
        return ItemFuser(self.files, fusion, device=self.device)

    def _open(self) -> EmbeddingTable | None:
        return EmbeddingTable.open(str(self.address)) if table_exists(self.address) else None

    def _reference(self) -> str:
        """How `search` finds the encoder again, from whatever folder it is started in."""
        return str(self.files.folder.resolve()) if self.files.folder is not None else self.files.reference

    def _forget_obsolete(self, plan: Plan, failures: Sequence[Failure]) -> None:
        """Take failures of this folder out that are none any more: mended, or gone."""
        table = FailureTable(self.address)
        here = {candidate.id for candidate in self.inputs.candidates}
        failing = {failure.id for failure in (*plan.failures, *plan.not_retried, *failures)}
        table.forget(
            failure.id
            for failure in table.known().values()
            if failure.folder == self.inputs.folder
            and failure.id not in failing
            and (failure.id in here or self.inputs.would_have_seen(failure.file_name))
        )
