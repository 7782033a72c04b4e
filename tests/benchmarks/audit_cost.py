"""What audits cost: `encode` with measuring beside without, and an audit of many rows of which a few are new.

    python tests/benchmarks/audit_cost.py encode PHOTOS --encoder ENCODER --work WORK [--rounds N] [--backend NAME]
    python tests/benchmarks/audit_cost.py rows --work WORK [--rows N] [--new N]

`encode` makes a new table each time, in turns, so that both see the same neighbours on the machine. `rows` makes a
table of measured rows without images, of random coarse pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pinembed.jobs.audit import audit
from pinembed.jobs.encode import encode
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.nouns.measures import ImageMeasures
from pinembed.quality.picture import as_pixels, measure_picture, resize_by_pillow
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.quality import AuditSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import MeasureTable

AT_ONCE = 10_000


def compare_encode(wanted: argparse.Namespace) -> None:
    speeds: dict[bool, list[float]] = {True: [], False: []}
    decoding: dict[bool, list[float]] = {True: [], False: []}
    for number in range(wanted.rounds + 1):
        for is_measured in (True, False) if number % 2 else (False, True):
            shutil.rmtree(wanted.work, ignore_errors=True)
            settings = EncodeSettings(
                images=wanted.photos,
                table=str(wanted.work / "pins"),
                encoder=wanted.encoder,
                backend=wanted.backend,
                measure=is_measured,
            )
            report = encode(settings)
            if number:  # the first round warms the cache of files and chooses the backend
                speeds[is_measured].append(report.images_per_s)
                decoding[is_measured].append(1e3 * report.stages.decode / report.counts.encoded)
                name = "with" if is_measured else "without"
                say(f"{number} {name:8} {report.images_per_s:7.1f} img/s, {report.backend}")
    for name, found in (("img/s", speeds), ("ms a worker and image", decoding)):
        with_it, without = statistics.median(found[True]), statistics.median(found[False])
        ranges = [f"{min(found[key]):.2f} to {max(found[key]):.2f}" for key in (True, False)]
        say(f"{name}: with {with_it:.2f} ({ranges[0]}), without {without:.2f} ({ranges[1]}), {with_it / without:.3f}")


def add_rows(table: EmbeddingTable, names: range, rng: np.random.Generator) -> None:
    """Rows with measures: coarse random pictures."""
    measures = MeasureTable(table.address)
    for start in range(names.start, names.stop, AT_ONCE):
        part = range(start, min(start + AT_ONCE, names.stop))
        sha256 = [f"{number:064x}" for number in part]
        found: dict[str, ImageMeasures] = {}
        for one in sha256:
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64))
            picture = measure_picture(as_pixels(coarse), resize_by_pillow)
            found[one] = ImageMeasures(
                picture=dataclasses.replace(picture, sharpness=0.2), jpeg_quality=85, made_by_ai="", has_unread=False
            )
        measures.record(found)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(16 * len(part), np.float16)), 16)
        columns = {
            "id": [f"item-{number}" for number in part],
            "folder": ["/photos"] * len(part),
            "file_name": [f"{number}.jpg" for number in part],
            "sha256": sha256,
            "size_bytes": [40_000] * len(part),
            "mtime_ns": [number * 10**12 for number in part],
            "width_px": [640] * len(part),
            "height_px": [480] * len(part),
        }
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else vectors for field in table.schema
        ]
        table.dataset.insert(pa.Table.from_arrays(arrays, schema=table.schema))


def audit_rows(wanted: argparse.Namespace) -> None:
    shutil.rmtree(wanted.work, ignore_errors=True)
    address = str(wanted.work / "pins")
    spec = spec_of_16()
    table = EmbeddingTable.create(address, spec, pa.schema([]))
    rng = np.random.default_rng(0)
    add_rows(table, range(wanted.rows), rng)
    measures = MeasureTable(parse_address(address))
    measures.mark_compared(measures.current(), 1)  # as after an audit that takes its time
    began_s = time.perf_counter()
    audit(AuditSettings(table=address))
    say(f"{wanted.rows:,} rows, nothing new: {time.perf_counter() - began_s:.1f} s")
    add_rows(table, range(wanted.rows, wanted.rows + wanted.new), rng)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    report = audit(AuditSettings(table=address))
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    say(f"{report.rows:,} rows, {report.compared:,} of them new: {seconds:.1f} s, {cpu_s:.1f} s of CPU")


def spec_of_16() -> EncoderSpec:
    preprocessing = Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    zeros = "0" * 64
    return EncoderSpec(
        architecture="drawn rows", config_sha256=zeros, weights_sha256=zeros, dim=16, preprocessing=preprocessing
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(required=True)
    encoding = subparsers.add_parser("encode")
    encoding.add_argument("photos", type=Path)
    encoding.add_argument("--encoder", required=True)
    encoding.add_argument("--rounds", type=int, default=7)
    encoding.add_argument("--backend", default="auto")
    encoding.set_defaults(run=compare_encode)
    rows = subparsers.add_parser("rows")
    rows.add_argument("--rows", type=int, default=100_000)
    rows.add_argument("--new", type=int, default=1_000)
    rows.set_defaults(run=audit_rows)
    for one in (encoding, rows):
        one.add_argument("--work", type=Path, required=True)
    wanted = parser.parse_args()
    wanted.run(wanted)


if __name__ == "__main__":
    main()
