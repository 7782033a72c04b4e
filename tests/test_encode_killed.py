"""A run that is killed, stopped, without room or not alone: nothing lost, nothing twice, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lance import LanceDataset
from PIL import Image

from pinembed.errors import TableError
from pinembed.jobs.encode import encode
from pinembed.jobs.inspect import inspect
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings, InspectSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable, table_exists

# one commit for each image, so that what ends the run falls between commits and into them
RUN = """
import sys
from pathlib import Path
from pinembed.cli.console import stop_on_signals
from pinembed.errors import PinembedError
from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
images, table, encoder = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
try:
    settings = EncodeSettings(
        images=Path(images), table=table, encoder=encoder, workers=1, batch_size=1, commit_rows=1
    )
    encode(settings, stop=stop_on_signals())
except PinembedError as error:
    sys.stderr.write(f"{error.message} {error.remedy}")
    sys.exit(error.exit_code)
"""
KILLS = int(os.environ.get("PINEMBED_KILLS", "2"))
RACES = max(1, KILLS // 2)
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
    """A process that is about to encode; a line on its standard input lets it go."""
    command = [sys.executable, "-c", RUN, str(photos), table, str(encoder)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


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
        go(process)
        before = len(stored(table))
        wanted = before + rng.randrange(1, IMAGES // KILLS)
        while len(stored(table)) < wanted and process.poll() is None:
            pass
        process.kill()
        process.communicate()
        assert len(stored(table)) >= before, f"kill {kill} lost rows"

    report = encode(EncodeSettings(images=photos, table=table, encoder=str(tiny_encoder), workers=1, batch_size=1))

    assert (report.counts.rows, report.counts.failed) == (IMAGES, 1)
    assert report.counts.unchanged > 0
    assert [run.ending for run in inspect(InspectSettings(table=table)).runs][:2] == ["done", "interrupted"]
    undisturbed = str(tmp_path / "db/undisturbed")
    encode(EncodeSettings(images=photos, table=undisturbed, encoder=str(tiny_encoder), workers=1, batch_size=1))
    assert stored(table) == stored(undisturbed)


@pytest.mark.parametrize("race", range(RACES))
def test_two_runs_at_once_store_every_row_once_and_one_of_them_ends_with_5(
    photos: Path, tmp_path: Path, tiny_encoder: Path, race: int
) -> None:
    table = str(tmp_path / f"db/pins{race}")
    runs = [start(photos, table, tiny_encoder) for _ in range(2)]

    for process in runs:
        go(process)
    words = [process.communicate()[1] for process in runs]

    assert sorted(process.returncode for process in runs) == [0, 5]
    assert "Another run holds table" in "".join(words)
    assert len(stored(table)) == IMAGES


def test_interrupt_commits_and_ends_with_130(photos: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    table = str(tmp_path / "db/pins")
    process = start(photos, table, tiny_encoder)
    go(process)
    while not table_exists(parse_address(table)):  # the model loads now: the request comes before the first image
        pass
    process.send_signal(signal.SIGINT)

    words = process.communicate()[1]

    assert process.returncode == 130, words
    assert "What was committed is whole; run the same command again to go on." in words
    assert (
        encode(EncodeSettings(images=photos, table=table, encoder=str(tiny_encoder), workers=1)).counts.rows == IMAGES
    )


@pytest.mark.parametrize("written", ["commit", "merge_insert"])
def test_disk_that_is_full_is_explained_and_the_next_run_goes_on(
    photos: Path, tmp_path: Path, tiny_encoder: Path, written: str
) -> None:
    table = str(tmp_path / "db/pins")

    def run(**changes: Any) -> EncodeReport:
        given = {"images": photos, "table": table, "encoder": str(tiny_encoder), "workers": 1, "batch_size": 1}
        return encode(EncodeSettings(**given, **changes))

    if written == "merge_insert":
        run()
        for path in photos.glob("[0-9]*.png"):
            Image.open(path).rotate(90).save(path)
    honest, calls = getattr(LanceDataset, written), []

    def full(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(Path(self.uri).stem)
        if calls[-1] == "pins" and calls.count("pins") > 3:
            raise RuntimeError("lance error: LanceError(IO): No space left on device (os error 28), /x/io.rs:5:9")
        return honest(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LanceDataset, written, full)
        with pytest.raises(
            TableError, match=r"pins cannot be written: LanceError\(IO\): No space left on device"
        ) as said:
            run(commit_rows=1)

    assert said.value.remedy.startswith("Check free disk space and permissions, then run the same command again")
    assert len(stored(table)) == (IMAGES if written == "merge_insert" else 3)
    assert inspect(InspectSettings(table=table)).runs[0].ending == "failed"
    report = run()
    assert (report.counts.unchanged, report.counts.rows) == (3, IMAGES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_table_that_may_only_be_read_is_explained_and_stays_readable(
    photos: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    table = str(tmp_path / "db/pins")
    encode(EncodeSettings(images=photos, table=table, encoder=str(tiny_encoder), workers=1))
    (photos / "000.png").unlink()
    for folder in [*(tmp_path / "db").rglob("*/"), tmp_path / "db"]:
        folder.chmod(0o555)
    process = start(photos, table, tiny_encoder)
    go(process)

    words = process.communicate()[1]

    assert process.returncode == 1
    assert "cannot be written: Permission denied" in words
    assert len(stored(table)) == IMAGES
