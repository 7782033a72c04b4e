"""encode and bad images: each is named, and the run goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from pinembed.encoder.backends.with_torch import ImageTower
from pinembed.errors import DataError
from pinembed.nouns.progress import Silent
from pinembed.reports.encode import EncodeReport
from pinembed.table.address import parse_address
from pinembed.table.side_tables import FailureTable
from tests.conftest import CliResult, draw_item
from tests.encoding import counts, failures_of, rows_of, version_of

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]


def test_bad_images_are_named_and_the_run_goes_on(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    (folder / "empty.jpg").touch()
    (folder / "notes.png").write_text("no picture")
    whole = (folder / "sub/red.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "two\nlines.png").write_bytes((folder / "red.png").read_bytes())
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(whole)

    report = run()

    assert counts(report) == {"added": 6, "duplicate": 1, "failed": 7}
    assert failures_of(table) == {
        "empty.jpg": "empty",
        "notes.png": "not_an_image",
        "half.jpg": "truncated",
        "nowhere.jpg": "missing_file",
        "circle.jpg": "unreadable",
        "pipe.jpg": "not_a_file",
        "caf\\xe9.png": "name_not_utf8",
    }
    assert "two\nlines.png" in rows_of(table)


def test_failed_image_is_not_retried_until_it_changes(
    run: Callable[..., EncodeReport], folder: Path, table: str
) -> None:
    (folder / "bad.png").write_bytes(b"not yet")
    run()
    before = version_of(table)

    again = run()

    assert (counts(again), again.not_retried) == ({"unchanged": 6, "failed": 1}, 1)
    assert version_of(table) == before
    draw_item("yellow", "circle", 0).save(folder / "bad.png")
    assert counts(run()) == {"added": 1, "unchanged": 6}
    assert failures_of(table) == {}


def test_file_that_could_not_be_read_for_the_moment_is_read_by_the_next_run(
    run: Callable[..., EncodeReport], folder: Path, tmp_path: Path, table: str
) -> None:
    disk = (tmp_path / "disk.png").resolve()
    (folder / "on-disk.png").symlink_to(disk)
    run()
    assert failures_of(table) == {"on-disk.png": "missing_file"}
    before = version_of(table), FailureTable(parse_address(table)).dataset.version

    again = run()
    after = version_of(table), FailureTable(parse_address(table)).dataset.version
    draw_item("yellow", "circle", 2).save(disk)

    assert (counts(again), again.not_retried) == ({"unchanged": 6, "failed": 1}, 0)
    assert after == before
    assert counts(run()) == {"added": 1, "unchanged": 6}
    assert failures_of(table) == {}


def test_retry_failed_reads_a_failed_image_again(
    run: Callable[..., EncodeReport], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.png").write_bytes(b"not an image")
    run()

    report = run(retry_failed=True)

    assert (report.counts.failed, report.not_retried) == (1, 0)


def test_changed_image_that_is_broken_now_keeps_its_row(
    run: Callable[..., EncodeReport], folder: Path, table: str
) -> None:
    run()
    before = rows_of(table)["red.png"]
    (folder / "red.png").write_bytes(b"broken by a copy")

    report = run()

    assert counts(report) == {"unchanged": 5, "failed": 1}
    assert rows_of(table)["red.png"] == before


def test_too_many_failures_end_with_exit_code_3_and_what_was_good_is_stored(
    cli: Cli, folder: Path, table: str, tiny_encoder: Path
) -> None:
    for number in range(7):
        (folder / f"bad-{number}.png").write_bytes(b"bad")

    result = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--json")

    assert result.exit_code == 3
    assert result.json["failures"] == {"not_an_image": 7}
    assert "7 items failed, 54% of all; --max-failure-rate allows 50%. What was good is stored." in result.words
    assert len(rows_of(table)) == 6


def test_nothing_but_bad_images_does_not_end_with_0(cli: Cli, tmp_path: Path, table: str, tiny_encoder: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/bad.png").write_bytes(b"bad")

    assert cli("encode", tmp_path / "photos", "--table", table, "--encoder", tiny_encoder).exit_code == 3


def test_image_that_makes_the_encoder_give_nan_fails_alone(
    run: Callable[..., EncodeReport], folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / "cursed.png")
    honest = ImageTower.forward

    def forward(self: ImageTower, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        cursed_B = (pixels_BCHW.float().mean(dim=(2, 3)) == torch.tensor([1.0, 2.0, 3.0])).all(dim=1)
        return torch.where(cursed_B[:, None], torch.nan, honest(self, pixels_BCHW))

    monkeypatch.setattr(ImageTower, "forward", forward)

    report = run()

    assert (counts(report), failures_of(table)) == ({"added": 6, "failed": 1}, {"cursed.png": "non_finite"})


def test_folder_that_goes_away_during_the_run_ends_it_and_the_next_run_goes_on(
    run: Callable[..., EncodeReport], folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinembed.encoding.plan_run.LOADED_AHEAD", 1)
    for grey in range(14):
        Image.new("RGB", (32, 32), (grey, grey, grey)).save(folder / f"{grey}.png")
    away = folder.with_name("unmounted")

    class Unmount(Silent):
        advanced = 0

        def advance(self, n: int = 1, note: str = "") -> None:
            self.advanced += n
            if self.advanced == 4:
                folder.rename(away)

    with pytest.raises(DataError, match=r"photos is not there any more; it went away during the run"):
        run(progress=Unmount(), batch_size=1)

    stored = len(rows_of(table))
    assert 0 < stored < 20
    assert failures_of(table) == {}
    away.rename(folder)
    assert counts(run()) == {"added": 20 - stored, "unchanged": stored}
