"""Peak memory of encode, of all its processes, for few files and for many: it should be the same but for the lists.

    python tests/benchmarks/encode_memory.py --work WORK [--files 1 1000 100000] [--encoder ENCODER]

WORK takes the files, which are made once, each of another content: small JPEGs with zeros behind, as long as a photo of
36 KB. Without --encoder a tiny one with random weights computes, which makes files and not the encoder the load. Each
number of files is encoded into a new table, and then again, which finds nothing to do. What the command itself takes
for one file is the model and the libraries. Memory is the peak of the proportional set size of the process tree: what
several processes share counts once. The table is Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from process_tree import Cost, run_measured

FILE_BYTES = 36_000
FILES_IN_FOLDER = 1000
PICTURES = 20
HEADS = ("files", "run", "peak MB", "of it the command itself", "decoders", "images/s", "seconds, whole command")


def make_files(folder: Path, count: int) -> Path:
    """A folder of them; one that is there is taken as it is."""
    if folder.is_dir():
        return folder
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(PICTURES):
        content = io.BytesIO()
        pixels = np.kron(random.integers(0, 256, (4, 4, 3), np.uint8), np.ones((12, 12, 1), np.uint8))
        Image.fromarray(pixels).save(content, "JPEG", quality=85)
        pictures.append(content.getvalue())
    partial = folder.with_name(f".{folder.name}")
    for number in range(count):
        path = partial / f"{number // FILES_IN_FOLDER:05}" / f"{number:08}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[number % PICTURES] + f"{number:08}".encode())
        os.truncate(path, FILE_BYTES)
    partial.rename(folder)
    return folder


def make_encoder(folder: Path) -> Path:
    """The tiny encoder."""
    if not folder.is_dir():
        from tests.conftest import make_encoder

        make_encoder(folder)
    return folder


def measured(images: Path, table: Path, encoder: Path, work: Path) -> Cost:
    """One run in a process of its own."""
    words = [sys.executable, "-m", "pinembed", "encode", str(images), "--table", str(table), "--encoder", str(encoder)]
    environment = {**os.environ, "PINEMBED_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory(prefix="pinembed-memory-") as made:
        cost = run_measured([*words, "--json", "--quiet"], environment, Path(made))
    if cost.exit_code:
        raise SystemExit(cost.stderr[-2000:])
    return cost


def row(files: int, run: str, cost: Cost) -> str:
    """A line of the table."""
    itself = sum(megabytes for name, megabytes in cost.process_mb if name == "pinembed")
    cells = (
        f"{files:,}",
        run,
        f"{cost.resident_mb:.0f}",
        f"{itself:.0f}",
        f"{cost.resident_mb - itself:.0f}",
        f"{json.loads(cost.stdout)['images_per_s']:.0f}",
        f"{cost.seconds:.1f}",
    )
    return "| " + " | ".join(cells) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--files", type=int, nargs="+", default=[1, 1000, 100_000])
    parser.add_argument("--encoder", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    encoder = arguments.encoder or make_encoder(work / "encoder")
    tables = work / "tables"
    shutil.rmtree(tables, ignore_errors=True)
    folders = {count: make_files(work / f"files-{count}", count) for count in arguments.files}
    calibrating = make_files(work / "files-1000", 1000)
    measured(calibrating, tables / "first", encoder, work)  # so that the other runs find a choice of backend
    sys.stdout.write("| " + " | ".join(HEADS) + " |\n|" + " --- |" * len(HEADS) + "\n")
    for count, folder in folders.items():
        for run in ("first", "nothing new"):
            sys.stdout.write(row(count, run, measured(folder, tables / f"files-{count}", encoder, work)))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
