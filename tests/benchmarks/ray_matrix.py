"""Runs of encode on Ray that are killed: worker, driver, head, and the driver between its last commit and its clean-up.

    python tests/benchmarks/ray_matrix.py --work WORK [--seeds 20] [--images 200] [--kinds worker driver head clean-up]

For each kind and seed a run starts on a cluster of this machine and is killed at a random moment; the driver without
Ray's own processes, which then end by themselves, the head as gcs_server and raylet together. Runs follow until one
ends well. Then the table must have every image once, with the vectors of a run without shards, bit for bit; a run that
ends otherwise has to say why. The last line is JSON: for each kind how many runs were killed, rows lost, rows doubled,
vectors that differ, and how many images the runs after a kill encoded again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable, table_exists
from pinembed.table.notes import notes_of

KINDS = ("worker", "driver", "head", "clean-up")
RUN_S = 300.0
PX = 3000  # so that a shard takes its second, and a kill falls into it
MOST_RUNS = 6
CLEAN_UP = """
import os, signal, sys
from pinembed.encoding.shards.epoch import Epochs
Epochs.close = lambda epochs: os.kill(os.getpid(), signal.SIGKILL) if epochs._members else None
from pinembed.__main__ import run
sys.argv = ["pinembed", *sys.argv[1:]]
run()
"""


def make_photos(folder: Path, count: int) -> Path:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(count):
            pixels = np.kron(rng.integers(0, 256, (20, 20, 3), np.uint8), np.ones((PX // 20, PX // 20, 1), np.uint8))
            Image.fromarray(pixels).save(folder / f"{number:05}.jpg", quality=80)
    return folder


def make_encoder(folder: Path) -> Path:
    if not folder.is_dir():
        from tests.conftest import make_encoder as make

        make(folder)
    return folder


def start(photos: Path, table: str, encoder: Path, shard_images: int, *, clean_up: bool) -> subprocess.Popen[str]:
    program = ["-c", CLEAN_UP] if clean_up else ["-m", "pinembed"]
    words = [
        "encode",
        str(photos),
        "--table",
        table,
        "--encoder",
        str(encoder),
        "--backend",
        "torch",
        "--engine",
        "ray",
    ]
    words += ["--engine", "ray", "--workers", "2", "--shard-images", str(shard_images), "--json", "--quiet"]
    return subprocess.Popen(
        [sys.executable, *program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def receipts(table: str) -> int:
    return sum(name.endswith(".json") for name in notes_of(parse_address(table)).names())


def children(process: subprocess.Popen[str], *words: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            told = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if any(word in told for word in words):
            found.append(child)
    return found


def kill(kind: str, process: subprocess.Popen[str], rng: random.Random) -> bool:
    """Whether there was somebody to kill."""
    if kind == "driver":
        process.kill()
        return True
    words = ("ray::RayWorker",) if kind == "worker" else ("gcs_server", "raylet/raylet")
    victims = children(process, *words)
    for victim in [rng.choice(victims)] if kind == "worker" and victims else victims:
        victim.kill()
    return bool(victims)


def run_once(kind: str, process: subprocess.Popen[str], table: str, rng: random.Random, wanted: int) -> bool:
    """Kill the run after so many receipts and a moment; whether it was killed in time."""
    until_s = time.monotonic() + RUN_S
    while process.poll() is None and receipts(table) < wanted and time.monotonic() < until_s:
        time.sleep(0.01)
    time.sleep(rng.random() / 2)
    if process.poll() is not None:
        return False
    return kill(kind, process, rng)


def trial(kind: str, seed: int, given: argparse.Namespace, encoder: Path, whole: dict[str, Any]) -> Counter[str]:
    rng, told = random.Random(f"{kind} {seed}"), Counter[str]()
    folder = given.work / f"{kind}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    table, photos = str(folder / "db/pins"), given.work / "photos"
    shard_images = max(1, given.images // 20)
    for number in range(MOST_RUNS):
        before = len(rows(table))
        process = start(photos, table, encoder, shard_images, clean_up=kind == "clean-up" and not number)
        if kind != "clean-up" and number < 2:
            told["killed"] += run_once(kind, process, table, rng, rng.randrange(1, 18))
        words, errors = process.communicate(timeout=RUN_S)
        if process.returncode == 0:
            told["encoded_again"] += json.loads(words)["added"] + before - len(whole) if number else 0
            break
        told["killed"] += kind == "clean-up" and process.returncode == -signal.SIGKILL
        told["without a sentence"] += process.returncode > 0 and "remedy:" not in errors
        told[f"exit {process.returncode}"] += 1
    stored = rows(table)
    told["lost"] += len(whole.keys() - stored.keys())
    told["differ"] += sum(stored[item] != vectors[:1] for item, vectors in whole.items() if item in stored)
    told["doubled"] += sum(len(vectors) - 1 for vectors in stored.values())
    shutil.rmtree(folder)
    return told


def rows(table: str) -> dict[str, list[Any]]:
    """Vectors of each id, of which there should be one."""
    found: dict[str, list[Any]] = {}
    if table_exists(parse_address(table)):
        for batch in EmbeddingTable.open(table).batches(["id", "vector"]):
            for row in batch.to_pylist():
                found.setdefault(row["id"], []).append(row["vector"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    given.work = given.work.absolute()
    photos, encoder = make_photos(given.work / "photos", given.images), make_encoder(given.work / "encoder")
    os.environ["PINEMBED_CACHE"] = str(given.work / "cache")
    whole_table = str(given.work / "whole/pins")
    encode(EncodeSettings(images=photos, table=whole_table, encoder=str(encoder), backend="torch"))
    whole, told = rows(whole_table), {}
    for kind in given.kinds:
        told[kind] = Counter[str]()
        for seed in range(given.seeds):
            found = trial(kind, seed, given, encoder, whole)
            told[kind].update(found)
            sys.stderr.write(f"{kind} {seed}: {dict(found)}\n")
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
