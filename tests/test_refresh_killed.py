"""kill -9 at random moments of a refresh, while readers read: nobody meets a part or a mixture, and nothing is lost.

PINEMBED_KILLS=200 python -m pytest tests/test_refresh_killed.py -s    # for the long version; default 6
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from pinembed.errors import PinembedError
from tests.conftest import COLORS, draw_item, make_encoder, write_catalogue

KILLS = int(os.environ.get("PINEMBED_KILLS", "6"))
READERS = 8 if KILLS > 20 else 3
WIDE_DIM = 256  # of vectors whose file in the table is a file of the source too
SURPRISES = (PinembedError, OSError, RuntimeError, ValueError, LookupError, AssertionError)
NEAR_THE_SWITCH = 4  # one kill in so many comes within 5 ms of it
CONFIG = """home = "home"
images = "data"
encoder = "{encoder}"
[encode]
prune = true
force = true
backend = "torch"
[keep]
generations = 3
"""


def run_refresh(config: Path) -> None:
    """One run in a process of its own, as `pinembed refresh CONFIG` is."""
    from pinembed.jobs.refresh import refresh
    from pinembed.settings.home import RefreshSettings

    os.setpgrp()
    refresh(RefreshSettings(config=config))


def read_once(home: Path, way: str) -> None:
    """Read one generation by one way, and compare all that it says of itself."""
    import lancedb

    from pinembed.generation.reading import hold
    from pinembed.source.embedding_source import EmbeddingSource
    from pinembed.table.embedding_table import EmbeddingTable

    held = hold(home)
    assert held is not None
    record = json.loads((held.folder / "generation.json").read_text())
    if way == "source":
        with EmbeddingSource.open(held.folder) as source:
            assert len(source) == record["rows"], (len(source), record)
            assert source.spec.fingerprint == record["fingerprint"]
            assert len(source.get(source.ids[:8])) == min(8, len(source))
    elif way == "table":
        table = EmbeddingTable.open(str(held.folder))
        assert table.count_rows() == record["rows"]
        item = table.dataset.take([0], columns=["id"])["id"][0].as_py()
        assert table.nearest(table.vector_of(item), 3)["id"][0].as_py() == item
    else:
        found = lancedb.connect(str(held.folder / "table")).open_table("items")
        assert found.count_rows() == record["rows"]
        with EmbeddingSource.open(held.folder) as source:
            assert sorted(found.to_arrow()["id"].to_pylist()) == sorted(source.ids)
    assert not list((held.folder / "table").glob(".*"))


def keep_reading(home: Path, way: str, stop: Event, told: Any) -> None:
    """Read until told to stop; the first surprise is told."""
    reads = 0
    while not stop.is_set():
        try:
            read_once(home, way)
        except SURPRISES as error:
            told.put((way, reads, f"{type(error).__name__}: {error}"))
            return
        reads += 1
        time.sleep(0.05 * READERS)  # so that readers leave the writer some of the machine
    told.put((way, reads, ""))


@contextmanager
def readers(home: Path, context: Any) -> Iterator[list[tuple[str, int, str]]]:
    """READERS processes that read all the while; what they say stands in the list afterwards."""
    stop, told, heard = context.Event(), context.Queue(), []
    ways = ("source", "table", "lancedb")
    started = [
        context.Process(target=keep_reading, args=(home, ways[index % 3], stop, told), daemon=True)
        for index in range(READERS)
    ]
    for process in started:
        process.start()
    try:
        yield heard
    finally:
        stop.set()
        heard += [told.get(timeout=120) for _ in started]
        for process in started:
            process.join()


def kill_at(process: Any, home: Path, moment_s: float, *, near_switch: bool) -> str:
    """Kill a run and its workers at a moment, or within 5 ms of the switch; says when that was."""
    known = {path.name for path in (home / "generations").iterdir()}
    deadline_s = time.monotonic() + (60 if near_switch else moment_s)
    when = "at a random moment"
    while process.is_alive() and time.monotonic() < deadline_s:
        if near_switch and {path.name for path in (home / "generations").iterdir()} - known:
            time.sleep(random.uniform(0, 0.005))
            when = "near the switch"
            break
        time.sleep(0.0005 if near_switch else 0.005)
    if not process.is_alive():
        process.join()
        return "after its end"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return when


def vectors_of(home: Path) -> dict[str, bytes]:
    from pinembed.source.embedding_source import EmbeddingSource

    with EmbeddingSource.open(home) as source:
        ids = sorted(source.ids)
        return {item: row.tobytes() for item, row in zip(ids, source.get(ids), strict=True)}


def add_item(data: Path, name: str, color: str) -> None:
    draw_item(color, "square", 7).save(data / "images" / f"{name}.png")
    metadata = data / "metadata.csv"
    lines = metadata.read_text().splitlines()
    row = lines[1].replace("red-circle-0.png", f"{name}.png").replace("red-circle-0,", f"{name},")
    metadata.write_text("\n".join([*lines, row]) + "\n")


@pytest.mark.timeout(60 + 60 * KILLS)
def test_kills_at_any_moment_show_readers_whole_generations_only(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "open_clip", "pyarrow", "scipy.stats"])  # lance must not be forked
    data, home, rng = write_catalogue(tmp_path / "data"), tmp_path / "home", random.Random(0)
    config = tmp_path / "CONFIG.toml"
    config.write_text(CONFIG.format(encoder=make_encoder(tmp_path / "encoder", dim=WIDE_DIM)))

    def start() -> Any:
        process = context.Process(target=run_refresh, args=(config,))
        process.start()
        return process

    start().join()
    add_item(data, "first", "blue")
    started_s = time.monotonic()
    start().join()
    usual_s = time.monotonic() - started_s
    ends: Counter[str] = Counter()
    with readers(home, context) as heard:
        for count in range(KILLS):
            add_item(data, f"item-{count}", list(COLORS)[count % len(COLORS)])
            near = count % NEAR_THE_SWITCH == 0
            ends[kill_at(start(), home, rng.uniform(0, usual_s), near_switch=near)] += 1
        start().join()
    sys.stderr.write(f"kills {dict(ends)}, reads {[reads for _, reads, _ in heard]}, {usual_s:.1f} s a run\n")
    assert [problem for _, _, problem in heard if problem] == []
    assert sum(reads for _, reads, _ in heard) > READERS
    assert ends["near the switch"] > 0
    found = vectors_of(home)
    assert len(found) == 25 + KILLS
    assert json.loads((home / "current" / "source" / "manifest.json").read_text())["version"] == 2  # links the table's
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / "CONFIG.toml"
    again.write_text(config.read_text().replace('"data"', f'"{data}"'))
    process = context.Process(target=run_refresh, args=(again,))
    process.start()
    process.join()
    assert vectors_of(tmp_path / "again" / "home") == found
