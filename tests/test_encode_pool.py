"""The loading pool: a decoder that crashes or hangs costs one image, and memory stays bounded."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pinembed.errors import InstallationError
from pinembed.images import pool as pool_module
from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup
from pinembed.images.pool import LoadingPool
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.failure import Failure
from tests.conftest import draw_item

PREPROCESSING = Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def pictures(folder: Path, names: list[str]) -> list[LoadRequest]:
    for name in names:
        draw_item("red", "circle", 0).save(folder / f"{name}.png")
    return [LoadRequest(index=index, image=folder / f"{name}.png") for index, name in enumerate(names)]


def pool(*, workers: int = 1, image_limit_s: float = 30, ahead: int = 4, fast_jpeg: bool = False) -> LoadingPool:
    setup = WorkerSetup(preprocessing=PREPROCESSING, fast_jpeg=fast_jpeg)
    return LoadingPool(setup, workers=workers, image_limit_s=image_limit_s, ahead=ahead)


def test_pool_answers_every_request_once(tmp_path: Path) -> None:
    requests = pictures(tmp_path, [f"p{number}" for number in range(20)])

    with pool(workers=2) as loading:
        answers = list(loading.load(requests))

    assert sorted(index for index, _ in answers) == list(range(20))
    _, first = answers[0]
    assert isinstance(first, LoadedImage)
    assert first.pixels_CHW is not None
    assert first.pixels_CHW.shape == (3, 32, 32)


def test_pool_does_not_decode_a_known_content(tmp_path: Path) -> None:
    request = pictures(tmp_path, ["p"])[0]
    with pool() as loading:
        sha256 = next(answer.sha256 for _, answer in loading.load([request]) if isinstance(answer, LoadedImage))
    again = LoadRequest(index=0, image=request.image, known_sha256=("other", sha256))

    with pool() as loading:
        _, answer = next(loading.load([again]))

    assert isinstance(answer, LoadedImage)
    assert (answer.sha256, answer.pixels_CHW) == (sha256, None)


def test_decoder_that_crashes_costs_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORKER", "tests.troubled_worker")
    requests = pictures(tmp_path, ["a", "crash", "b", "c"])

    with pool() as loading:
        answers = dict(loading.load(requests))

    assert sorted(answers) == [0, 1, 2, 3]
    crashed = answers.pop(1)
    assert isinstance(crashed, Failure)
    assert (crashed.reason, crashed.message) == (
        "decoder_crash",
        f"{tmp_path}/crash.png ended the decoder with SIGSEGV.",
    )
    assert all(isinstance(answer, LoadedImage) for answer in answers.values())


def test_every_crash_costs_its_own_image_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORKER", "tests.troubled_worker")
    requests = pictures(tmp_path, ["crash-1", "a", "crash-2", "crash-3", "b", "c", "d", "crash-4"])

    with pool(workers=2) as loading:
        answers = dict(loading.load(requests))

    assert {index for index, answer in answers.items() if isinstance(answer, Failure)} == {0, 2, 3, 7}
    assert len(answers) == 8


def test_images_asked_for_together_are_answered_in_order_around_those_that_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "WORKER", "tests.troubled_worker")
    requests = pictures(tmp_path, ["a", "crash-1", "crash-2", "b", "c", "d", "crash-3"])

    with pool(workers=2) as loading:
        futures = [loading.submit(requests[:5]), loading.submit([]), loading.submit(requests[5:])]
        answers = [answer for future in futures for answer in future.result()]

    assert [index for index, _ in answers] == list(range(7))
    assert {index for index, answer in answers if isinstance(answer, Failure)} == {1, 2, 6}


def test_pool_loads_ahead_before_anyone_asks_for_an_answer(tmp_path: Path) -> None:
    with pool() as loading:
        loading.begin(pictures(tmp_path, ["a", "b"]))
        ahead = loading._answers.get(timeout=30)

    assert ahead is not None
    assert isinstance(ahead[1], LoadedImage)


def test_decoders_go_on_when_the_process_that_forks_them_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "WORKER", "tests.troubled_worker")
    requests = pictures(tmp_path, ["a", "crash-1", "b", "c", "d", "e"])

    with pool(ahead=1) as loading:
        answers = loading.load(requests)
        found = [next(answers)]
        loading._fork_server._process.kill()
        loading._fork_server._process.wait()
        found += answers

    assert [index for index, answer in found if isinstance(answer, Failure)] == [1]
    assert sorted(index for index, _ in found) == list(range(6))


def test_image_that_never_ends_is_given_up_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORKER", "tests.troubled_worker")
    requests = pictures(tmp_path, ["endless", "a"])

    with pool(image_limit_s=2) as loading:
        answers = dict(loading.load(requests))

    given_up = answers[0]
    assert isinstance(given_up, Failure)
    assert given_up.reason == "timeout"
    assert given_up.message == f"{tmp_path}/endless.png was not decoded within 2 s."
    assert isinstance(answers[1], LoadedImage)


def test_pool_whose_workers_do_not_start_says_so_and_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "WORKER", "tests.no_such_module")

    with pool(workers=2) as loading, pytest.raises(InstallationError, match="decodes images does not start"):
        list(loading.load(pictures(tmp_path, ["a", "b"])))


def test_pool_loads_only_so_far_ahead(tmp_path: Path) -> None:
    requests = pictures(tmp_path, [f"p{number}" for number in range(30)])
    asked = threading.Semaphore(0)
    taken: list[int] = []

    def counted() -> Iterator[LoadRequest]:
        for request in requests:
            taken.append(request.index)
            asked.release()
            yield request

    with pool(ahead=2) as loading:
        answers = loading.load(counted())
        next(answers)
        most = 1 + 2 + 1 + pool_module.ASKED_AT_ONCE  # given, waiting, about to wait, in the worker
        for _ in range(most - 1):
            asked.acquire(timeout=10)
        asked.acquire(timeout=0.5)
        assert len(taken) <= most


def test_pool_left_early_ends_its_processes(tmp_path: Path) -> None:
    requests = pictures(tmp_path, [f"p{number}" for number in range(30)])

    with pool(workers=2, ahead=1) as loading:
        next(loading.load(requests))
        workers = list(loading._workers)

    assert not any(worker.is_alive for worker in workers)


def test_remarks_of_libjpeg_about_an_odd_file_stay_with_the_worker(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = io.BytesIO()
    draw_item("red", "circle", 0, side_px=120).save(whole, "JPEG")
    end = whole.getvalue().rindex(b"\xff\xd9")
    (tmp_path / "odd.jpg").write_bytes(whole.getvalue()[:end] + bytes(40) + whole.getvalue()[end:])

    with pool(fast_jpeg=True) as loading:
        _, answer = next(loading.load([LoadRequest(index=0, image=tmp_path / "odd.jpg")]))

    assert isinstance(answer, LoadedImage)
    assert capfd.readouterr().err == ""


def test_pool_with_the_fast_jpeg_path_gives_the_same_pixels(tmp_path: Path) -> None:
    draw_item("red", "circle", 0, side_px=120).save(tmp_path / "a.jpg", quality=90)
    draw_item("blue", "square", 1, side_px=120).save(tmp_path / "b.png")
    requests = [LoadRequest(index=index, image=tmp_path / name) for index, name in enumerate(["a.jpg", "b.png"])]

    with pool() as loading:
        plain = dict(loading.load(requests))
    with pool(fast_jpeg=True) as loading:
        fast = dict(loading.load(requests))

    for index in (0, 1):
        one, other = plain[index], fast[index]
        assert isinstance(one, LoadedImage)
        assert isinstance(other, LoadedImage)
        assert (one.sha256, one.width_px) == (other.sha256, other.width_px)
        assert one.pixels_CHW is not None
        assert other.pixels_CHW is not None
        assert np.abs(one.pixels_CHW.astype(int) - other.pixels_CHW.astype(int)).max() <= 1
