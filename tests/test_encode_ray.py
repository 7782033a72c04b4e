"""encode on a Ray cluster of this machine; one start in the suite, and more with `pytest -m ray`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pinembed.errors import EncoderError, EngineError, PinembedError, StoppedError
from pinembed.jobs.encode import encode
from pinembed.nouns.progress import Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.address import parse_address
from pinembed.table.notes import notes_of
from tests.conftest import Said
from tests.encoding import failures_of, rows_of, write_noise

pytest.importorskip("ray", reason="the extra ray is not installed")
IMAGES = 48
WAIT_S = 60.0


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("photos"), IMAGES)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "db/pins")


def on_ray(photos: Path, table: str, encoder: Path, *, stop: Stop | None = None, **changes: Any) -> EncodeReport:
    given = {"engine": "ray", "shard_images": 6, "batch_size": 2, "commit_s": 0.5, "workers": 1, **changes}
    return encode(EncodeSettings(images=photos, table=table, encoder=str(encoder), **given), stop=stop, progress=Said())


def ordinary_rows(photos: Path, tmp_path: Path, encoder: Path) -> dict[str, Any]:
    encode(EncodeSettings(images=photos, table=str(tmp_path / "db/whole"), encoder=str(encoder), workers=1))
    return rows_of(str(tmp_path / "db/whole"))


def receipts(table: str) -> list[str]:
    return [name for name in notes_of(parse_address(table)).names() if name.endswith(".json")]


def ray_processes(word: str) -> list[psutil.Process]:
    """Of the cluster that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if word in " ".join(process.cmdline()):
                found.append(process)
    return found


class Watcher(threading.Thread):
    """Does something once the table has its first receipt."""

    def __init__(self, table: str, act: Any) -> None:
        super().__init__(daemon=True)
        self._table, self._act = table, act
        self.acted = False

    def run(self) -> None:
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s and not receipts(self._table):
            time.sleep(0.02)
        self.acted = bool(self._act())


@pytest.fixture(autouse=True)
def gone_afterwards() -> Iterator[None]:
    yield
    assert not ray_processes("raylet"), "a run left its cluster behind"


def kill_a_worker() -> bool:
    workers = ray_processes("ray::RayWorker")
    if workers:
        os.kill(workers[0].pid, signal.SIGKILL)
    return bool(workers)


def test_run_on_ray_whose_worker_is_killed_makes_the_rows_of_an_ordinary_run(
    photos: Path, table: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    watcher = Watcher(table, kill_a_worker)
    watcher.start()

    report = on_ray(photos, table, tiny_encoder)

    watcher.join(WAIT_S)
    assert watcher.acted
    assert (report.counts.added, report.counts.failed, report.counts.rows) == (IMAGES, 1, IMAGES)
    assert rows_of(table) == ordinary_rows(photos, tmp_path, tiny_encoder)
    assert failures_of(table) == {"bad.png": "not_an_image"}
    assert report.backend == "torch fp32 cpu"


@pytest.mark.ray
def test_run_on_ray_that_is_stopped_commits_what_its_workers_have_done(
    photos: Path, table: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    stop = Stop()
    watcher = Watcher(table, lambda: setattr(stop, "signum", signal.SIGTERM) or True)
    watcher.start()

    with pytest.raises(StoppedError):
        on_ray(photos, table, tiny_encoder, stop=stop, engine_workers=1)

    assert 0 < len(rows_of(table)) < IMAGES
    on_ray(photos, table, tiny_encoder)
    assert rows_of(table) == ordinary_rows(photos, tmp_path, tiny_encoder)


@pytest.mark.ray
def test_encoder_that_no_worker_can_open_ends_the_run_with_its_sentence(
    photos: Path, table: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    broken = tmp_path / "encoder"
    broken.mkdir()
    for file in tiny_encoder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = next(broken.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-9])

    with pytest.raises(EncoderError):
        on_ray(photos, table, broken)


def test_cluster_that_is_not_there_is_told_at_once(photos: Path, table: str, tiny_encoder: Path) -> None:
    begun_s = time.monotonic()

    with pytest.raises(EngineError, match=r"There is no Ray cluster at 127\.0\.0\.1:1: .*Connection refused"):
        on_ray(photos, table, tiny_encoder, address="127.0.0.1:1")

    assert time.monotonic() - begun_s < WAIT_S


@pytest.mark.ray
def test_cluster_without_room_for_a_worker_is_told(photos: Path, table: str, tiny_encoder: Path) -> None:
    with pytest.raises(EngineError, match=r"a worker wants 10000\."):
        on_ray(photos, table, tiny_encoder, threads_per_worker=10_000)


@pytest.mark.ray
def test_cluster_that_dies_ends_the_run_and_the_next_one_goes_on(
    photos: Path, table: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    workers: list[psutil.Process] = []

    def kill_the_head() -> bool:
        workers.extend(ray_processes("ray::RayWorker"))
        for worker in workers:  # whom the driver reaches without the head, so that they may end the run all the same
            worker.suspend()
        heads = ray_processes("gcs_server") + ray_processes("raylet/raylet")
        for process in heads:
            process.kill()
        return bool(heads and workers)

    watcher = Watcher(table, kill_the_head)
    watcher.start()
    try:
        with pytest.raises(PinembedError):
            on_ray(photos, table, tiny_encoder)
    finally:
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
    assert watcher.acted

    on_ray(photos, table, tiny_encoder)
    assert rows_of(table) == ordinary_rows(photos, tmp_path, tiny_encoder)
