"""bench encode: what limits the machine, measured on the user's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.encoder.backends import choose, trial_process, trial_worker
from tests.conftest import CliResult

Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(choose, "MEASURE_S", 0.02)
    monkeypatch.setattr(trial_worker, "every", lambda *args: ["torch fp32", "openvino fp32"])
    monkeypatch.setattr(trial_process, "answers_of", lambda trial, stop=None: trial_worker.run_trial(trial))
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
