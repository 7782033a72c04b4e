"""An embedding source of drawn rows, written, opened and read by id, with the clock running.

    python -m tests.benchmarks.source_lookup [--items 1000000] [--dim 512] [--gathers 3000] [--folder .] [--seed 0]

The source lies in a temporary folder below --folder, on the disk to measure, and is read in a fresh process. Beside the
time to write it stands that of one plain file of its size, and beside every figure what is aimed at.
"""

from __future__ import annotations

import argparse
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
from pinembed.outfolder import staged_folder
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.source.rows import Rows
from pinembed.source.writer import write_source

IDS_PER_GATHER = 64
OPENS = 21
WARM_UP = 300
BATCH_ROWS = 8192
BLOCK_BYTES = 8 << 20


OPEN_MS, GATHER_P99_MS, GROWTH_MB, WRITE_SHARE = 50.0, 1.0, 100.0, 0.5  # what is aimed at


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookups:
    """What a fresh process measured.

    Attributes:
        open_ms: median of the times to open the source.
        gather_ms: of each `get` of 64 ids, after a warm-up.
        gather_cpu_ms: the same in CPU time, which does not grow when other processes want the same cores.
        resident_growth_bytes: by which the process grew from before it opened the source to after the last gather.
    """

    open_ms: float
    gather_ms: tuple[float, ...]
    gather_cpu_ms: tuple[float, ...]
    resident_growth_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The lookups, and how fast the source was written.

    Attributes:
        size_bytes: of the source.
        write_bytes_per_s: rows handed over until the source is on the disk under its name.
        disk_bytes_per_s: as many bytes written in one file and brought to the disk; the mean of before and after.
    """

    lookups: Lookups
    size_bytes: int
    write_bytes_per_s: float
    disk_bytes_per_s: float


def measure(*, items: int, dim: int, gathers: int, folder: Path, seed: int) -> Measured:
    """Write a source into a temporary folder, read it in a fresh process, and remove it.

    Raises:
        OutputError: too little free disk.
    """
    require_space(folder, 2 * items * (2 * dim + 64))
    with tempfile.TemporaryDirectory(prefix="pinembed-bench-", dir=folder) as temporary:
        source = Path(temporary) / "source"
        before = _disk_rate(Path(temporary), 2 * dim * items)
        size_bytes, seconds = _timed_export(source, items, dim, seed)
        after = _disk_rate(Path(temporary), 2 * dim * items)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            lookups = pool.submit(_look_up, source, gathers, seed).result()
    disk = statistics.mean((before, after))
    return Measured(
        lookups=lookups, size_bytes=size_bytes, write_bytes_per_s=size_bytes / seconds, disk_bytes_per_s=disk
    )


def require_space(folder: Path, wanted: int) -> None:
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


def _timed_export(folder: Path, items: int, dim: int, seed: int) -> tuple[int, float]:
    """Bytes and seconds from the first row to the folder under its name."""
    spec = EncoderSpec(
        architecture="drawn rows",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        dim=dim,
        preprocessing=Preprocessing(image_px=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    )
    rows = _rows(items, dim, seed)
    began = time.perf_counter()
    with staged_folder(folder, kind="embedding source") as staged:
        manifest = write_source(staged, spec, rows, count=items)
    return manifest.size_bytes, time.perf_counter() - began


def _rows(items: int, dim: int, seed: int) -> Iterator[Rows]:
    """One drawn block again and again: what is written does not change the time."""
    block = np.random.default_rng(seed).standard_normal((BATCH_ROWS, dim), np.float32) / dim**0.5
    block_fp16 = block.astype(np.float16)
    ids = [_item_id(number) for number in range(items)]

    def batches() -> Iterator[Rows]:
        for start in range(0, items, BATCH_ROWS):
            batch_ids = ids[start : start + BATCH_ROWS]
            yield batch_ids, block_fp16[: len(batch_ids)]

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


def _look_up(folder: Path, gathers: int, seed: int) -> Lookups:
    draw = np.random.default_rng(seed)
    resident_before = _resident_bytes()
    open_ms = statistics.median(_milliseconds_to_open(folder) for _ in range(OPENS))
    source = EmbeddingSource.open(folder)
    for _ in range(WARM_UP):
        _timed_gather(source, draw)
    wall_ms, cpu_ms = zip(*(_timed_gather(source, draw) for _ in range(gathers)), strict=True)
    growth_bytes = _resident_bytes() - resident_before
    return Lookups(open_ms=open_ms, gather_ms=wall_ms, gather_cpu_ms=cpu_ms, resident_growth_bytes=growth_bytes)


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


def table_of(measured: Measured) -> str:
    """What was measured beside what is aimed at, line by line."""
    found = measured.lookups
    p50_ms, p99_ms = np.percentile(found.gather_ms, (50, 99))
    growth_mb = found.resident_growth_bytes / 1e6
    written, disk = measured.write_bytes_per_s, measured.disk_bytes_per_s
    gather = f"gather {IDS_PER_GATHER} ids"
    rows = [
        ("open", f"{found.open_ms:.2f} ms", f"< {OPEN_MS:g} ms", found.open_ms < OPEN_MS),
        (f"{gather}, median", f"{p50_ms:.3f} ms", "", True),
        (f"{gather}, p99", f"{p99_ms:.3f} ms", f"< {GATHER_P99_MS:g} ms", p99_ms < GATHER_P99_MS),
        (f"{gather}, p99, CPU", f"{np.percentile(found.gather_cpu_ms, 99):.3f} ms", "", True),
        ("resident memory, growth", f"{growth_mb:.1f} MB", f"< {GROWTH_MB:g} MB", growth_mb < GROWTH_MB),
        (
            "export",
            f"{written / 1e6:,.0f} MB/s",
            f">= {WRITE_SHARE:.0%} of the disk",
            written >= WRITE_SHARE * disk,
        ),
        ("the disk's own rate", f"{disk / 1e6:,.0f} MB/s", "", True),
    ]
    return "\n".join(
        f"{what:28}{value:>14}   {aim:22}{('reached' if good else 'missed') if aim else ''}".rstrip()
        for what, value, aim, good in rows
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--gathers", type=int, default=3000)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    measured = measure(**vars(wanted))
    sys.stdout.write(f"{wanted.items:,} x {wanted.dim} float16, {measured.size_bytes / 1e6:,.0f} MB\n")
    sys.stdout.write(table_of(measured) + "\n")


if __name__ == "__main__":
    main()
