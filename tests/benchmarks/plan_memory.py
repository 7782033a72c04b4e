"""Time and peak memory of the plan of a large catalogue, listed synthetically: the driver's part of a run in shards.

    python tests/benchmarks/plan_memory.py [--items 10000000] [--per-tar 10000] [--rows 0] [--plan-images N]
        [--stored 0] [--work WORK]

The names go through the scan, the sort, the comparison with the table and the cutting of shards as those of a real
folder do; only the listing is made up, and no image exists. They come in parts of --plan-images. With --per-tar they
are images of tars, whose headers are made up; with --rows a metadata.csv names as many of the files. With --stored as
many rows of a table of 16 floats are there already, so that the comparison has them all to read. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pinembed.catalogue import tar_shards
from pinembed.catalogue.beside import Beside
from pinembed.catalogue.files import ScannedFile
from pinembed.catalogue.inputs import find_inputs
from pinembed.catalogue.listing import FolderListing
from pinembed.encoding.folders import Folders
from pinembed.encoding.plan import make_plan
from pinembed.encoding.shards.shard import ShardQueue
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.embedding_table import EmbeddingTable

DIM = 16
ROWS_AT_ONCE = 1 << 17
MTIME_NS = 1_700_000_000 * 10**9


PER_FOLDER = 1000


def name_of(number: int, per_tar: int = 0) -> str:
    return f"{number // (per_tar or PER_FOLDER):06}{'.tar' if per_tar else ''}/{number:012}.jpg"


def id_of(number: int, per_tar: int) -> str:
    return f"{number:012}" if per_tar else name_of(number)


def size_of(number: int) -> int:
    return 30_000 + number * 7919 % 100_003


def listing(root: str, items: int) -> Iterator[ScannedFile]:
    for number in range(items):
        yield ScannedFile(root=root, file_name=name_of(number), size_bytes=size_of(number), mtime_ns=MTIME_NS)


def make_tars(images: Path, items: int, per_tar: int) -> None:
    """Empty tars, whose headers are made up when they are read."""

    def headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        first = int(Path(str(tar.name)).stem) * per_tar
        for number in range(first, min(items, first + per_tar)):
            made = tarfile.TarInfo(f"{number:012}.jpg")
            made.size, made.offset_data = size_of(number), (number - first) * 200_000
            yield made

    tar_shards._headers = headers
    for number in range(-(-items // per_tar)):
        path = images / f"{number:06}.tar"
        tarfile.open(path, "w").close()
        os.utime(path, ns=(MTIME_NS, MTIME_NS))


def make_rows(images: Path, rows: int) -> None:
    """A metadata.csv that names the first files, whose listing is made up."""
    with (images / "metadata.csv").open("w") as file:
        file.write("file_name,price\n")
        file.writelines(f"{name_of(number)},{number % 1000}\n" for number in range(rows))


def stored_table(work: Path, images: Path, rows: int, per_tar: int) -> EmbeddingTable | None:
    """A table that has the first `rows` items as they are."""
    if not rows:
        return None
    spec = EncoderSpec(
        architecture="made-up",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        dim=DIM,
        preprocessing=Preprocessing(image_px=32, mean=(0.5,) * 3, std=(0.5,) * 3),
    )
    table = EmbeddingTable.create(str(work / "db/made_up"), spec, pa.schema([]))
    for start in range(0, rows, ROWS_AT_ONCE):
        numbers = range(start, min(rows, start + ROWS_AT_ONCE))
        values: dict[str, Any] = {
            "id": [id_of(number, per_tar) for number in numbers],
            "folder": [str(images)] * len(numbers),
            "file_name": [name_of(number, per_tar) for number in numbers],
            "sha256": [f"{number:064x}" for number in numbers],
            "size_bytes": [size_of(number) for number in numbers],
            "mtime_ns": [MTIME_NS] * len(numbers),
            "width_px": [640] * len(numbers),
            "height_px": [480] * len(numbers),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(len(numbers) * DIM, np.float16)), DIM),
        }
        columns = [pa.array(values[field.name], field.type) for field in table.schema]
        table.dataset.insert(pa.Table.from_arrays(columns, schema=table.schema))
    return table


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--per-tar", type=int, default=0, help="images; 0 for files in folders")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--plan-images", type=int, default=EncodeSettings.plan_images)
    parser.add_argument("--stored", type=int, default=0)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pinembed-plan-", dir=given.work) as made:
        work = Path(made)
        images = work / "images"
        images.mkdir()
        table = stored_table(work, images, given.stored, given.per_tar)
        if given.per_tar:
            make_tars(images, given.items, given.per_tar)
        if given.rows:
            make_rows(images, given.rows)
        before_mb = peak_mb()

        def files(found: FolderListing, beside: Beside) -> Iterator[ScannedFile]:
            yield from listing(str(found.root), given.items)
            beside.take("", ["metadata.csv"] if given.rows else [], list)

        FolderListing.files = files  # type: ignore[method-assign]
        started_s = time.perf_counter()
        wanted = EncodeSettings(
            images=images, table=str(work / "db/made_up"), encoder="none", plan_images=given.plan_images
        )
        parts = find_inputs(wanted)
        listed_s, listed_mb = time.perf_counter() - started_s, peak_mb()
        folders, to_load, shards = Folders(table, {}), 0, 0
        for inputs in parts:
            plan = make_plan(inputs, table, {}, folders, retry_failed=False, prune=None, force=False)
            queue = ShardQueue(plan, workers=100, fixed=None)
            while queue.next(100.0) is not None:
                shards += 1
            to_load += len(plan.load)
            del inputs, plan, queue
        planned_s = time.perf_counter() - started_s
        report = {
            "items": given.items,
            "per_tar": given.per_tar,
            "rows": given.rows,
            "stored": given.stored,
            "parts": len(parts),
            "to_load": to_load,
            "shards": shards,
            "seconds": {"listed": listed_s, "planned": planned_s},
            "peak_mb": {"before": before_mb, "listed": listed_mb, "planned": peak_mb()},
        }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
