"""Bench lookup: an embedding source of drawn rows, written, opened and read by id, with the clock running."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pinembed.errors import OutputError
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import staged_folder
from pinembed.reports.bench import LookupReport
from pinembed.settings.measuring import BenchLookupSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.source.rows import Rows
from pinembed.source.writer import write_source

IDS_PER_GATHER = 64
OPENS = 21
WARM_UP = 300
BATCH_ROWS = 8192
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lookups:
    """What a fresh process measured."""

    open_ms: float
    gather_ms: tuple[float, ...]
    gather_cpu_ms: tuple[float, ...]
    resident_growth_bytes: int


def bench_lookup(settings: BenchLookupSettings, *, progress: Progress = SILENT) -> LookupReport:
    """Write a source into a temporary folder, read it in a fresh process, and remove it.

    Raises:
        OutputError: too little free disk.
    """
    _require_space(settings.folder, 2 * settings.items * (2 * settings.dim + 64))
    with tempfile.TemporaryDirectory(prefix="pinembed-bench-", dir=settings.folder) as temporary:
        folder = Path(temporary) / "source"
        progress.start("writing the disk's own way")
        before = _disk_rate(Path(temporary), 2 * settings.dim * settings.items)
        progress.start("exporting", settings.items, "items")
        size_bytes, seconds = _timed_export(folder, settings.items, settings.dim, settings.seed, progress)
        progress.start("writing the disk's own way")
        after = _disk_rate(Path(temporary), 2 * settings.dim * settings.items)
        progress.start("looking up")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(_look_up, folder, settings.gathers, settings.seed).result()
        progress.finish()
    return LookupReport(
        items=settings.items,
        dim=settings.dim,
        size_bytes=size_bytes,
        ids_per_gather=IDS_PER_GATHER,
        gathers=settings.gathers,
        open_ms=found.open_ms,
        gather_p50_ms=float(np.percentile(found.gather_ms, 50)),
        gather_p99_ms=float(np.percentile(found.gather_ms, 99)),
        gather_cpu_p99_ms=float(np.percentile(found.gather_cpu_ms, 99)),
        resident_growth_bytes=found.resident_growth_bytes,
        write_bytes_per_s=size_bytes / seconds,
        disk_bytes_per_s=statistics.mean((before, after)),
    )


def _require_space(folder: Path, wanted: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be used: {error.strerror}; wanted a folder on the disk to measure.",
            remedy="Give an existing folder.",
        ) from error
    if free < wanted:
        raise OutputError(
            f"{folder} has {free >> 20} MiB free; the measurement needs {wanted >> 20} MiB.",
            remedy="Give fewer --items or a folder on another disk.",
        )


def _timed_export(folder: Path, items: int, dim: int, seed: int, progress: Progress) -> tuple[int, float]:
    """Bytes and seconds from the first row to the folder under its name."""
    spec = EncoderSpec(
        architecture="drawn rows",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        dim=dim,
        preprocessing=Preprocessing(image_px=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    )
    rows = _rows(items, dim, seed, progress)
    began = time.perf_counter()
    with staged_folder(folder, kind="embedding source") as staged:
        manifest = write_source(staged, spec, rows, count=items)
    return manifest.size_bytes, time.perf_counter() - began


def _rows(items: int, dim: int, seed: int, progress: Progress) -> Iterator[Rows]:
    """One drawn block again and again: what is written does not change the time."""
    block = np.random.default_rng(seed).standard_normal((BATCH_ROWS, dim), np.float32) / dim**0.5
    block_fp16 = block.astype(np.float16)
    ids = [_item_id(number) for number in range(items)]

    def batches() -> Iterator[Rows]:
        for start in range(0, items, BATCH_ROWS):
            batch_ids = ids[start : start + BATCH_ROWS]
            yield batch_ids, block_fp16[: len(batch_ids)]
            progress.advance(len(batch_ids))

    return batches()


def _item_id(number: int) -> str:
    return f"item-{number:09d}"


def _disk_rate(folder: Path, size_bytes: int) -> float:
    """Bytes a second of one plain file, until it is on the disk."""
    block = np.random.default_rng(0).bytes(BLOCK_BYTES)
    path = folder / "plain.bin"
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(max(1, size_bytes // BLOCK_BYTES)):
            file.write(block)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    written = path.stat().st_size
    path.unlink()
    return written / seconds


def _look_up(folder: Path, gathers: int, seed: int) -> _Lookups:
    draw = np.random.default_rng(seed)
    resident_before = _resident_bytes()
    open_ms = statistics.median(_milliseconds_to_open(folder) for _ in range(OPENS))
    source = EmbeddingSource.open(folder)
    for _ in range(WARM_UP):
        _timed_gather(source, draw)
    wall_ms, cpu_ms = zip(*(_timed_gather(source, draw) for _ in range(gathers)), strict=True)
    growth_bytes = _resident_bytes() - resident_before
    return _Lookups(open_ms=open_ms, gather_ms=wall_ms, gather_cpu_ms=cpu_ms, resident_growth_bytes=growth_bytes)


def _milliseconds_to_open(folder: Path) -> float:
    began = time.perf_counter()
    with EmbeddingSource.open(folder):
        return 1000 * (time.perf_counter() - began)


def _timed_gather(source: EmbeddingSource, draw: np.random.Generator) -> tuple[float, float]:
    """Milliseconds of one gather: wall, CPU."""
    ids = [_item_id(row) for row in draw.integers(0, len(source), IDS_PER_GATHER).tolist()]
    began, cpu_began = time.perf_counter(), time.thread_time()
    source.get(ids)
    return 1000 * (time.perf_counter() - began), 1000 * (time.thread_time() - cpu_began)


def _resident_bytes() -> int:
    """Memory of this process that lies in RAM; where the system has no /proc, the most there ever was."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
