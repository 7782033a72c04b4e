"""A run that is killed at any moment: nothing lost, nothing twice, and the next run goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinembed.jobs.encode import encode
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable, table_exists

# one commit for each image, so that a kill falls between commits and into them
RUN = """
import sys
from pathlib import Path
from pinembed.jobs.encode import encode
print("begun", flush=True)
encode(Path(sys.argv[1]), table=sys.argv[2], encoder=sys.argv[3], workers=1, batch_size=1, commit_rows=1)
print("done", flush=True)
"""
KILLS = int(os.environ.get("PINEMBED_KILLS", "2"))
IMAGES = 20 * KILLS


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    (folder / "bad.png").write_bytes(b"bad")
    return folder


def start(photos: Path, table: str, encoder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(photos), table, str(encoder)], stdout=subprocess.PIPE, text=True
    )


def stored(table: str) -> dict[str, list[float]]:
    if not table_exists(parse_address(table)):
        return {}
    rows = [row for batch in EmbeddingTable.open(table).batches(["id", "vector"]) for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["vector"] for row in rows}


def test_killed_runs_lose_nothing_repeat_little_and_equal_an_undisturbed_run(
    photos: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    table, rng = str(tmp_path / "db/killed"), random.Random(1)
    for kill in range(KILLS):
        process = start(photos, table, tiny_encoder)
        assert process.stdout is not None
        process.stdout.readline()
        before = len(stored(table))
        wanted = before + rng.randrange(1, IMAGES // KILLS)
        while len(stored(table)) < wanted and process.poll() is None:
            pass
        process.kill()
        process.wait()
        assert len(stored(table)) >= before, f"kill {kill} lost rows"

    report = encode(photos, table=table, encoder=str(tiny_encoder), workers=1, batch_size=1)

    assert (report.rows, report.failed) == (IMAGES, 1)
    assert report.unchanged > 0
    undisturbed = str(tmp_path / "db/undisturbed")
    encode(photos, table=undisturbed, encoder=str(tiny_encoder), workers=1, batch_size=1)
    assert stored(table) == stored(undisturbed)


def test_two_runs_at_once_store_every_row_once_and_one_of_them_ends_with_5(
    photos: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    table = str(tmp_path / "db/pins")
    command = [
        sys.executable,
        "-m",
        "pinembed",
        "encode",
        str(photos),
        "--table",
        table,
        "--encoder",
        str(tiny_encoder),
    ]

    runs = [subprocess.Popen([*command, "--quiet"], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    words = [run.communicate()[1] for run in runs]

    assert sorted(run.returncode for run in runs) == [0, 5]
    assert "Another run holds table" in "".join(words)
    assert len(stored(table)) == IMAGES


def test_interrupt_commits_and_ends_with_130(photos: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    table = str(tmp_path / "db/pins")
    command = [
        sys.executable,
        "-m",
        "pinembed",
        "encode",
        str(photos),
        "--table",
        table,
        "--encoder",
        str(tiny_encoder),
    ]
    process = subprocess.Popen([*command, "--batch-size", "1"], stderr=subprocess.PIPE, text=True)
    while not table_exists(parse_address(table)):  # the model loads now: the request comes before the first image
        pass
    process.send_signal(signal.SIGINT)

    words = process.communicate()[1]

    assert process.returncode == 130, words
    assert "What was committed is whole; run the same command again to go on." in " ".join(words.split())
    assert encode(photos, table=table, encoder=str(tiny_encoder), workers=1).rows == IMAGES
