# ruff: noqa: F401, F811  (fixtures of another module)
"""What the driver does when workers die, hand in errors or are stopped; actors are made up, shards are real."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinembed.encoding.shards import ray_engine, ray_head
from pinembed.encoding.shards.worker import ShardWorker
from pinembed.errors import DataError, EngineError, StoppedError
from pinembed.jobs.encode import encode
from pinembed.nouns.progress import Silent, Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from tests.encoding import rows_of
from tests.made_up_ray import MadeUpRay
from tests.test_encode_shards import IMAGES, ordinary, photos, quick, receipts_left, table

Run = Callable[..., EncodeReport]


class ImageCount(Silent):
    """A Progress that counts."""

    images = 0

    def advance(self, n: int = 1, note: str = "") -> None:
        self.images += n


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpRay]:
    ray = MadeUpRay(cpus=2)
    monkeypatch.setattr(ray_engine, "import_ray", lambda: ray)
    monkeypatch.setattr(ray_engine, "POLL_S", 0.02)
    yield ray
    assert not ray.is_up


@pytest.fixture
def on_ray(made_up: MadeUpRay, photos: Path, table: str, tiny_encoder: Path) -> Run:
    def run(*, stop: Stop | None = None, progress: Silent | None = None, **changes: Any) -> EncodeReport:
        given = {"engine": "ray", "shard_images": 4, "batch_size": 2, "commit_s": 0.0, "workers": 1, **changes}
        settings = EncodeSettings(images=photos, table=table, encoder=str(tiny_encoder), **given)
        return encode(settings, stop=stop, progress=progress or Silent())

    return run


def let_workers(monkeypatch: pytest.MonkeyPatch, act: Callable[[ShardWorker, Any, Callable[[], None]], None]) -> None:
    """Put something in the place of encoding a shard; it is handed the worker, the shard, and the honest way."""
    honest = ShardWorker.encode
    monkeypatch.setattr(
        ShardWorker, "encode", lambda worker, shard, *args: act(worker, shard, lambda: honest(worker, shard, *args))
    )


def test_shards_of_dead_workers_go_to_others_and_one_that_has_its_receipt_to_nobody(
    on_ray: Run,
    made_up: MadeUpRay,
    table: str,
    ordinary: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries, progress = Counter[int](), ImageCount()

    def act(worker: ShardWorker, shard: Any, honest: Callable[[], None]) -> None:
        tries[shard.number] += 1
        if shard.number == 2:
            honest()
        if (shard.number, tries[shard.number]) in {(1, 1), (1, 2), (2, 1), (3, 1)}:
            made_up.kill(worker)
        else:
            honest()

    let_workers(monkeypatch, act)

    report = on_ray(progress=progress)

    assert tries == {0: 1, 1: 3, 2: 1, 3: 2, 4: 1}
    assert rows_of(table) == ordinary
    assert (report.counts.rows, progress.images) == (IMAGES, IMAGES + 1)
    assert len(made_up.actors) == 2 + 4


def test_shard_that_ends_every_worker_ends_the_run_and_keeps_what_others_made(
    on_ray: Run,
    made_up: MadeUpRay,
    table: str,
    ordinary: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_first_done = threading.Event()

    def act(worker: ShardWorker, shard: Any, honest: Callable[[], None]) -> None:
        if shard.number == 1:
            is_first_done.wait(10)
            made_up.kill(worker)
        else:
            honest()
            is_first_done.set()

    with monkeypatch.context() as patch:
        let_workers(patch, act)
        with pytest.raises(EngineError, match="5 workers died over shard 1: The actor died"):
            on_ray()

    report = on_ray()

    assert report.counts.unchanged is not None
    assert report.counts.unchanged >= 4
    assert rows_of(table) == ordinary


def test_error_of_a_worker_ends_the_run_with_its_own_sentence(
    on_ray: Run,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
) -> None:
    def act(worker: ShardWorker, shard: Any, honest: Callable[[], None]) -> None:
        raise DataError("process 7 on there does not see /photos.", remedy="Mount it there.")

    let_workers(monkeypatch, act)

    with pytest.raises(DataError, match="does not see /photos"):
        on_ray()


def test_stopped_run_commits_what_its_workers_have_and_the_next_one_goes_on(
    on_ray: Run,
    table: str,
    ordinary: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = Stop()

    def act(worker: ShardWorker, shard: Any, honest: Callable[[], None]) -> None:
        honest()
        if shard.number == 1:
            stop.signum = 15

    with monkeypatch.context() as patch:
        let_workers(patch, act)
        with pytest.raises(StoppedError):
            on_ray(stop=stop, engine_workers=1)
    assert len(rows_of(table)) == 8

    on_ray()

    assert rows_of(table) == ordinary
    assert receipts_left(table) == []


def test_head_that_is_gone_ends_a_run_that_would_wait_for_ever(
    on_ray: Run, made_up: MadeUpRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_head, "ASK_HEAD_S", 0.01)
    made_up.head = "127.0.0.1:1"
    is_over = threading.Event()
    let_workers(monkeypatch, lambda worker, shard, honest: bool(is_over.wait(10)) and None)

    with pytest.raises(EngineError, match=r"The head of the Ray cluster at 127\.0\.0\.1:1 is gone"):
        on_ray()
    is_over.set()
