"""A home of many items: a night without anything new, and one with 1 % new.

    python tests/benchmarks/refresh_large.py WORK [ITEMS] [described]

The old items are files of one byte and drawn vectors, for a night opens only what is new; the new ones are pictures.
With `described` each has a title, a category, a brand and a price. Writes seconds and bytes of both nights, and those
of encoding the new pictures alone.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
from lance import write_dataset
from PIL import Image

from pinembed.encoder.encoder import build_encoder
from pinembed.encoder.locate import EncoderFiles, encoder_spec, locate_encoder
from pinembed.encoder.save import save_encoder
from pinembed.generation.build import clone_folder, own_bytes, seal
from pinembed.generation.home import Home
from pinembed.generation.record import ENCODER, RECORD, SOURCE, TABLE, TABLE_NAME, Generation
from pinembed.jobs.encode import encode
from pinembed.jobs.export import export
from pinembed.jobs.refresh import refresh
from pinembed.nightly.config import read_config
from pinembed.nightly.plan import option_digests
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.home import RefreshSettings
from pinembed.settings.source import ExportSettings
from pinembed.table.embedding_table import EmbeddingTable

DIM, SIDE_PX = 512, 224
ARCHITECTURE = {
    "model_cfg": {
        "embed_dim": DIM,
        "vision_cfg": {"image_size": SIDE_PX, "layers": 4, "width": 256, "head_width": 64, "patch_size": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


def write_old_items(images: Path, count: int) -> None:
    """Files of one byte in folders of a thousand."""
    for number in range(count):
        folder = images / f"{number // 1000:04}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:07}.jpg").write_bytes(b"x")


METADATA = pa.schema([(name, pa.string()) for name in ("title", "category", "brand")] + [("price", pa.float64())])


def described(number: int) -> tuple[str, str, str, float]:
    """A title, a category, a brand and a price, as a catalogue has them."""
    drawn = hashlib.sha256(str(number).encode()).hexdigest()
    title = f"{drawn[:6]} {drawn[6:14]} with {drawn[14:19]} and {drawn[19:26]}, {drawn[26:32]}"
    return title, f"category {number % 40}", f"brand {number % 300}", number % 9973 / 100


def add_metadata(images: Path, names: list[str]) -> None:
    """A row of metadata.csv for each of these files."""
    path = images / "metadata.csv"
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        rows = csv.writer(file)
        if is_new:
            rows.writerow(["file_name", *METADATA.names])
        rows.writerows([name, *described(number)] for number, name in enumerate(names))


def write_table(table: str, encoder: Path, images: Path, *, is_described: bool) -> None:
    """A row with a drawn vector for each of the files."""
    metadata = METADATA if is_described else pa.schema([])
    made = EmbeddingTable.create(table, encoder_spec(locate_encoder(str(encoder))), metadata, reference="")
    paths = sorted(images.rglob("*.jpg"))
    names = [path.relative_to(images).as_posix() for path in paths]
    vector_ND = np.random.default_rng(0).standard_normal((len(names), DIM), dtype=np.float32)
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    flat = pa.array(vector_ND.astype(np.float16).reshape(-1))
    columns = {
        "id": names,
        "folder": [str(images)] * len(names),
        "file_name": names,
        "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
        "size_bytes": [1] * len(names),
        "mtime_ns": [path.stat().st_mtime_ns for path in paths],
        "width_px": [SIDE_PX] * len(names),
        "height_px": [SIDE_PX] * len(names),
        **dict(zip(metadata.names, zip(*map(described, range(len(names))), strict=True), strict=False)),
        "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
    }
    write_dataset(pa.table(columns).cast(made.schema), made.dataset.uri, mode="append")


def write_pictures(folder: Path, count: int) -> None:
    """Pictures of 640 x 480, smooth as photos are."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"new-{number:05}.jpg")


def begin_home(work: Path, count: int, *, is_described: bool = False) -> Path:
    """CONFIG and the first generation."""
    config, images, encoder = work / "CONFIG.toml", work / "images", work / "encoder"
    encoder.mkdir(parents=True)
    files = EncoderFiles(reference="bench", architecture="bench", weights=None, folder=None, **ARCHITECTURE)
    save_encoder(build_encoder(files, seed=0), encoder)
    config.write_text('home = "home"\nimages = "images"\nencoder = "encoder"\n[encode]\nbackend = "torch"\n')
    write_old_items(images, count)
    if is_described:
        add_metadata(images, sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg")))
    home = Home.begin(work / "home")
    home.next_folder.mkdir()
    clone_folder(encoder, home.next_folder / ENCODER, link=False)
    table = str(home.next_folder / TABLE / TABLE_NAME)
    write_table(table, encoder, images, is_described=is_described)
    export(ExportSettings(table=table, out=home.next_folder / SOURCE, shard_mib=1))
    record = Generation(
        number=1,
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version="bench",
        parent=None,
        fingerprint=encoder_spec(locate_encoder(str(encoder))).fingerprint,
        rows=count,
        why="drawn",
        options=option_digests(read_config(config)),
    )
    seal(home, record)
    home.switch(1)
    return config


def main(work: Path, count: int, *, is_described: bool) -> None:
    """Write a line for each night."""
    config = begin_home(work, count, is_described=is_described)
    for _ in range(3):
        started_s = time.perf_counter()
        report = refresh(RefreshSettings(config=config))
        assert report.nothing_to_do
        sys.stdout.write(f"nothing new of {count:,}: {time.perf_counter() - started_s:.2f} s\n")
    new = count // 100
    write_pictures(work / "images" / "new", new)
    if is_described:
        add_metadata(work / "images", [f"new/{path.name}" for path in sorted((work / "images" / "new").iterdir())])
    os.sync()  # what the benchmark wrote itself is not the night's
    started_s = time.perf_counter()
    pictures, table, encoder = work / "images" / "new", str(work / "alone" / "t"), str(work / "encoder")
    encode(EncodeSettings(images=pictures, table=table, encoder=encoder, backend="torch"))
    alone_s = time.perf_counter() - started_s
    home = Home.open(work / "home")
    table_bytes = sum(path.stat().st_size for path in (home.folder_of(1) / TABLE).rglob("*") if path.is_file())
    started_s = time.perf_counter()
    report = refresh(RefreshSettings(config=config))
    seconds = time.perf_counter() - started_s
    folder = home.folder_of(2)
    grown = own_bytes(folder)
    sizes = {part.name: own_bytes(part) for part in sorted(folder.iterdir()) if part.is_dir()}
    sizes["table and source together"] = grown - sum(sizes.values()) - (folder / RECORD).stat().st_size
    parts = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in sizes.items())
    sys.stdout.write(
        f"{new:,} new of {count:,}: {seconds:.1f} s, encoding them alone {alone_s:.1f} s; disk + {grown / 1e6:.2f} MB "
        f"({parts}), {grown / table_bytes:.2%} of the table's {table_bytes / 1e6:.1f} MB\n"
    )
    for step in report.steps:
        sys.stdout.write(f"  {step.name}: {step.seconds:.2f} s\n")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]).absolute(),
        int(sys.argv[2]) if len(sys.argv) > 2 else 100_000,
        is_described="described" in sys.argv[3:],
    )
