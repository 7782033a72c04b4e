"""bench encode: what limits the machine, measured on the user's own folder."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pinembed.encoder.backends import choose
from pinembed.encoder.backends import probe as probe_process
from pinembed.encoder.backends.probe import Probe, ProbeAnswer, run_probe
from pinembed.errors import StoppedError
from pinembed.jobs.bench_encode import bench_encode
from pinembed.machine import recall
from pinembed.nouns.progress import Stop
from pinembed.settings.measuring import BenchEncodeSettings
from tests.conftest import CliResult

Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(choose, "MEASURE_S", 0.02)
    monkeypatch.setattr(probe_process, "candidates_for", lambda *args: ["torch fp32", "openvino fp32"])
    monkeypatch.setattr(probe_process, "answers_of", lambda probe, stop=None: run_probe(probe))
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path / "cache"))


def test_bench_encode_measures_decoding_backends_and_the_whole(
    cli: Cli, catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))

    result = cli("bench", "encode", catalogue_folder, "--encoder", tiny_encoder, "--images", "20", "--json", "--quiet")

    found = result.json
    assert (found["images"], found["stored_images"]) == (20, 20)
    speeds = {speed["backend"]: speed for speed in found["backends"]}
    assert speeds["torch fp32"]["min_cosine"] == pytest.approx(1, abs=1e-5)
    best = speeds[found["backend"]]["images_per_s"]
    assert found["limit_images_per_s"] == pytest.approx(1 / (1 / best + 1 / found["decode_images_per_s"]))
    assert found["images_per_s"] > 0
    assert [path for path in sorted(tmp_path.rglob("*")) if "cache" not in path.parts] == before


def test_bench_encode_tells_each_measurement_as_it_comes_and_leaves_the_choice_to_encode(
    cli: Cli, catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    asked = ("--encoder", tiny_encoder)

    measured = cli("bench", "encode", catalogue_folder, *asked, "--images", "20")
    chosen = list(recall("backends").values())
    encoded = cli("encode", catalogue_folder, "--table", tmp_path / "db/t", *asked, "--json")

    lines = measured.stderr.splitlines()
    told = [next(index for index, line in enumerate(lines) if words in line) for words in ("decode: ", "torch fp32: ")]
    assert told == sorted(told)
    assert "of the limit is reached" in measured.words
    assert chosen == [encoded.json["backend"].removesuffix(" cpu")]


def test_bench_encode_tells_what_a_catalogue_costs_at_the_measured_rate(
    cli: Cli, catalogue_folder: Path, tiny_encoder: Path
) -> None:
    asked = ("--encoder", tiny_encoder, "--images", "20", "--price-per-hour", "3.6", "--json")

    result = cli("bench", "encode", catalogue_folder, *asked)

    million, *_, billion = result.json["costs"]
    assert (million["images"], billion["images"]) == (10**6, 10**9)
    assert million["usd"] == pytest.approx(1000 / result.json["images_per_s"])
    assert billion["machine_hours"] == pytest.approx(1e9 / result.json["images_per_s"] / 3600)
    assert million["table_bytes"] == pytest.approx(1e6 * result.json["row_bytes"], rel=1e-3)
    assert "1,000,000,000" in result.stderr


def test_bench_encode_asked_to_stop_while_it_measures_ends_with_130(
    catalogue_folder: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()

    def interrupted(probe: Probe, asked: Stop | None = None) -> Iterator[ProbeAnswer]:
        yield from itertools.islice(run_probe(probe), 2)
        stop.signum = signal.SIGINT  # as a handler does whose exception an exporter swallowed

    monkeypatch.setattr(probe_process, "answers_of", interrupted)

    with pytest.raises(StoppedError) as caught:
        bench_encode(BenchEncodeSettings(images=catalogue_folder, encoder=str(tiny_encoder), count=20), stop=stop)

    assert caught.value.exit_code == 130


def test_bench_encode_of_an_empty_folder_is_explained(cli: Cli, tiny_encoder: Path, tmp_path: Path) -> None:
    result = cli("bench", "encode", tmp_path, "--encoder", tiny_encoder)

    assert result.exit_code == 1
    assert "holds no image file" in result.words


def test_bench_encode_of_broken_files_is_explained(cli: Cli, tiny_encoder: Path, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(b"broken")

    result = cli("bench", "encode", tmp_path, "--encoder", tiny_encoder)

    assert result.exit_code == 1
    assert "Of 20 files, 0 can be read as images; that is too few to measure." in result.words
