"""The encode job: images to rows of a table, and nothing twice."""

from __future__ import annotations

import time
from pathlib import Path

from pinembed.catalogue.inputs import InputChoice, find_inputs
from pinembed.encoder.backends.choose import quantisation_of
from pinembed.encoder.locate import locate_encoder
from pinembed.encoding.run import EncodeRun
from pinembed.encoding.run_log import RunHistory, make_report
from pinembed.encoding.settings import COMMIT_ROWS, COMMIT_S, IMAGE_LIMIT_S, EncodeSettings, choose_storage
from pinembed.machine import usable_cores
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.reports.encode import EncodeReport
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import table_exists
from pinembed.table.lock import run_lock


def encode(
    images: Path,
    *,
    table: str,
    encoder: str,
    dims: int | None = None,
    dtype: str | None = None,
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
        dims: floats to keep of an embedding, the first ones, brought to norm 1 again; None keeps as many as the table
            has, and in a new one all.
        dtype: of a stored float, `fp16` or `fp32`; None takes the table's, and in a new one fp16.
        metadata: metadata file; None takes the folder's own where there is one.
        files_from: list of the files to take, relative to `images`; `-` reads it from standard input.
        null_separated: the list's names end in NUL instead of a line break.
        image_column: column of the images in Parquet; None looks for it.
        retry_failed: read images that failed before again although their file is the same.
        max_failure_rate: share of failed items above which `EncodeReport.exit_code` is 3.
        prune: remove the rows whose files are gone.
        force: allow `prune` to remove more than a fifth of the rows.
        dry_run: report the plan and do nothing.
        backend: `torch`, `openvino`, `onnx`, or `auto` for the fastest that agrees with fp32 torch; `onnx-int8`
            makes other vectors, which need a table of their own.
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
        UsageError: a value that cannot be meant, or another dtype than the table's.
        DataError: no images, unreadable metadata, or --prune would remove too much.
        EncoderError: the encoder cannot be loaded.
        EncoderMismatchError: the table holds another encoder's embeddings.
        TableLockedError: another run holds the table.
        TableError: the table cannot be read or written.
        StoppedError: `stop` was asked for; what was committed is whole.
    """
    started_s = time.perf_counter()
    address = parse_address(table)
    storage = choose_storage(
        address, locate_encoder(encoder), quantisation=quantisation_of(backend), dims=dims, dtype=dtype
    )
    settings = EncodeSettings(
        address=address,
        files=storage.files,
        spec=storage.spec,
        dtype=storage.dtype,
        choice=InputChoice(
            images=images,
            metadata=metadata,
            files_from=files_from,
            null_separated=null_separated,
            image_column=image_column,
        ),
        retry_failed=retry_failed,
        max_failure_rate=max_failure_rate,
        prune=prune,
        force=force,
        backend=backend,
        device=device,
        batch_size=batch_size,
        workers=workers or usable_cores(),
        image_limit_s=image_limit_s,
        reduced_decode=reduced_decode,
        commit_rows=commit_rows,
        commit_s=commit_s,
    )
    progress.start("scan")
    if dry_run:
        run = EncodeRun(settings, find_inputs(settings.choice), progress)
        plan = run.plan()
        scan_s = time.perf_counter() - started_s
        return make_report(settings, plan, run.foreseen(plan), scan_s=scan_s, seconds=scan_s, dry_run=True)
    # a first run that finds nothing to encode leaves nothing behind, not even a lock
    inputs = None if table_exists(settings.address) else find_inputs(settings.choice)
    history = RunHistory(settings)
    with run_lock(settings.address), history.kept():
        run = EncodeRun(settings, inputs or find_inputs(settings.choice), progress)
        history.counters = run.counters
        plan = run.plan()
        scan_s = time.perf_counter() - started_s
        outcome = run.carry_out(plan, history, stop or Stop())
        seconds = time.perf_counter() - started_s
        report = make_report(settings, plan, outcome, scan_s=scan_s, seconds=seconds, dry_run=False)
        history.finish(report)
    return report
