"""Inputs that come in parts give the table, the failures and the counts that they give in one."""

from __future__ import annotations

import errno
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.catalogue import parts as parts_module
from pinembed.catalogue.inputs import find_inputs
from pinembed.errors import DataError, StoppedError
from pinembed.nouns.progress import Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import StopAfter
from tests.encoding import counts, failures_of, rows_of
from tests.test_encode_inputs import COLORS, picture, write_tar

pytest_plugins = ("tests.encoding_fixtures",)
Run = Callable[..., EncodeReport]
SHAPES = ("circle", "square", "triangle")
HISTORIES = int(os.environ.get("PINEMBED_PARTS", "6"))


class Heard(StopAfter):
    """Asks for a stop at the first image, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Stop(), 1)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Shop:
    """Tars, or Parquet files, of items that a night adds, takes away, changes, moves to another file or gives twice."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.is_tar = seed % 2 == 0
        self.files: dict[str, dict[str, tuple[bytes, int]]] = {f"{number:02}": {} for number in range(4)}
        for number in range(9):
            self.add(f"item{number}")

    def add(self, item: str) -> None:
        content = picture(self.random.choice(COLORS), self.random.choice(SHAPES), self.random.randrange(4))
        content = self.random.choice([content, content, b"broken"])
        self.files[self.random.choice(list(self.files))][item] = content, self.random.randrange(9)

    def night(self) -> None:
        for _ in range(self.random.randrange(4)):
            name = self.random.choice(list(self.files))
            items = self.files[name]
            if not items:
                continue
            item = self.random.choice(list(items))
            what = self.random.choice(["add", "away", "price", "picture", "move", "twice", "rename"])
            if what == "add":
                self.add(f"item{self.random.randrange(100)}")
            elif what == "away":
                del items[item]
            elif what == "price":
                items[item] = items[item][0], self.random.randrange(9)
            elif what == "picture":
                self.add(item)
            elif what == "rename":
                self.files[f"{name}x"] = self.files.pop(name)
            else:
                self.files[self.random.choice(list(self.files))][item] = items[item]
                if what == "move" and sum(item in found for found in self.files.values()) > 1:
                    del items[item]

    def write(self) -> None:
        self.root.mkdir(exist_ok=True)
        for old in self.root.iterdir():
            old.unlink()
        for name, items in self.files.items():
            if self.is_tar:
                members: dict[str, bytes | dict[str, Any]] = {}
                for item, (content, price) in items.items():
                    members |= {f"{item}.png": content, f"{item}.json": {"price": price}}
                written = write_tar(self.root / f"{name}.tar", members)
            else:
                rows = pa.table(
                    {
                        "id": pa.array(list(items), pa.string()),
                        "image": pa.array([content for content, _ in items.values()], pa.binary()),
                        "price": pa.array([price for _, price in items.values()], pa.int64()),
                    }
                )
                pq.write_table(rows, written := self.root / f"{name}.parquet")
            os.utime(written, ns=(1, hash(tuple(items.items()))))


def told(report: EncodeReport) -> dict[str, int]:
    """Counts, but for what was encoded and what copied: pictures that two items exchange are copied between parts."""
    found = counts(report)
    written = sum(found.pop(name, 0) for name in ("added", "updated", "duplicate"))
    return {**found, "written": written, "rows": report.counts.rows}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_history_in_parts_is_the_history_in_one(run: Run, tmp_path: Path, seed: int) -> None:
    shop = Shop(tmp_path / "shop", seed)
    whole, parted = (str(tmp_path / name / "pins") for name in ("whole", "parted"))
    for night in range(4):
        shop.write()
        options = {"prune": night % 2 == 1, "force": True, "retry_failed": night == 3, "max_failure_rate": 1.0}
        for dry_run in (True, False):
            wanted = run(shop.root, table=whole, dry_run=dry_run, **options)
            size = shop.random.randrange(1, 5)
            found = run(shop.root, table=parted, dry_run=dry_run, plan_images=size, **options)
            assert told(found) == told(wanted), (night, dry_run)
            assert sorted(map(str, found.failures.items())) == sorted(map(str, wanted.failures.items()))
        assert rows_of(parted) == rows_of(whole)
        assert failures_of(parted) == failures_of(whole)
        shop.night()


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of three items; the last has an id of the first."""
    root = tmp_path / "tars"
    for number, shape in enumerate(("circle", "square", "triangle")):
        write_tar(root / f"{number}.tar", {f"{color}-{shape}.png": picture(color, shape) for color in COLORS})
    write_tar(root / "2.tar", {"red-circle.png": picture("blue"), "last.png": picture("green")})
    return root


def test_id_of_an_earlier_part_stays_with_it_and_the_failure_names_its_file(run: Run, tars: Path, table: str) -> None:
    report = run(tars, plan_images=3)
    assert (counts(report), report.counts.encoded) == ({"added": 6, "duplicate": 1, "failed": 1}, 6)
    [failure] = report.failed_images
    assert failure.reason == "id_taken"
    assert failure.message == "2.tar/red-circle.png has the id red-circle, which 0.tar/red-circle.png has."
    assert rows_of(table)["red-circle"]["file_name"] == "0.tar/red-circle.png"
    assert counts(run(tars, plan_images=3)) == {"unchanged": 7, "failed": 1}


def test_prune_that_would_take_too_much_is_refused_before_any_part_is_encoded(run: Run, tars: Path, table: str) -> None:
    run(tars)
    write_tar(tars / "0.tar", {"new.png": picture("red", "triangle")})
    before = EmbeddingTable.open(table).dataset.version
    with pytest.raises(DataError, match="--prune would remove 2 of 7 rows"):
        run(tars, plan_images=1, prune=True)
    assert EmbeddingTable.open(table).dataset.version == before
    report = run(tars, plan_images=1, prune=True, force=True)
    assert (report.counts.removed, report.counts.rows, sorted(rows_of(table))[0]) == (2, 6, "blue-square")


def test_stop_in_the_first_part_plans_no_other(run: Run, tars: Path, table: str) -> None:
    progress = Heard()
    with pytest.raises(StoppedError):
        run(tars, plan_images=3, stop=progress.stop, progress=progress)
    assert [said for said in progress.said if said.startswith("part ")] == ["part 1 of 3: 3 image(s) to encode"]
    assert counts(run(tars, plan_images=3)).keys() == {"unchanged", "added", "duplicate", "failed"}
    assert len(rows_of(table)) == 7


def test_parts_are_in_shards_too(run: Run, tars: Path, table: str, tmp_path: Path) -> None:
    run(tars, plan_images=3, shard_images=2)
    other = str(tmp_path / "other" / "pins")
    run(tars, table=other)
    assert rows_of(table) == rows_of(other)
    assert run(tars, plan_images=3, shard_images=2).counts.unchanged == 7


def test_no_room_for_the_list_of_parts_is_told(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parts_module.pickle, "dump", full)
    settings = EncodeSettings(images=tars, table="db/pins", encoder="none", plan_images=1)
    with pytest.raises(DataError, match="cannot take the list of 3 images: No space left on device") as refused:
        find_inputs(settings)
    assert tempfile.gettempdir() in refused.value.message
    assert "TMPDIR" in refused.value.remedy


def test_parts_of_a_list_leave_no_file_behind(tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    parts = find_inputs(EncodeSettings(images=tars, table="db/pins", encoder="none", plan_images=1))
    assert [len(part.candidates) for part in parts] == [3, 3, 1]
    assert list(scratch.iterdir()) == []
    held = parts.hold(pa.array(["last", "gone", "red-circle"]))
    assert held.tolist() == [True, False, True]
