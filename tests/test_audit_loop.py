"""What flags do elsewhere: `export --hide` leaves rows out and tells it, `finetune --flags-from` training images."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pinembed.catalogue.folder import read_catalogue
from pinembed.errors import TableError, UsageError
from pinembed.flags.hidden import leave_out
from pinembed.jobs.audit import audit
from pinembed.jobs.encode import encode
from pinembed.jobs.export import export
from pinembed.jobs.finetune import finetune
from pinembed.jobs.verify import verify
from pinembed.nouns.flag import CLEARED, CONFIRMED
from pinembed.nouns.manifest import Manifest
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.quality import AuditSettings
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.settings.training import FinetuneSettings
from pinembed.table.address import parse_address
from pinembed.table.quality_tables import FlagTable
from tests.conftest import CliResult, write_catalogue
from tests.test_audit import bordered, photo, placeholder


@pytest.fixture
def table(tmp_path: Path, tiny_encoder: Path) -> str:
    """Four photos, a copy of one with a border, one file twice more, and a placeholder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(4):
        photo(seed).save(folder / f"p{seed}.jpg", quality=90)
    bordered(photo(1).resize((180, 135))).save(folder / "copy.jpg", quality=90)
    for name in ("q.jpg", "r.jpg"):
        shutil.copyfile(folder / "p0.jpg", folder / name)
    placeholder().save(folder / "none.png")
    table = str(tmp_path / "catalog" / "pins")
    encode(EncodeSettings(images=folder, table=table, encoder=str(tiny_encoder), workers=1))
    audit(AuditSettings(table=table))
    return table


def set_state(table: str, check: str, state: str) -> None:
    flags = FlagTable(parse_address(table))
    flags.record(dataclasses.replace(flag, state=state) for flag in flags.known().values() if flag.check == check)


@pytest.mark.parametrize("format", ["source", "npy", "parquet"])
def test_export_hides_flagged_rows_but_keeps_one_of_each_picture(table: str, tmp_path: Path, format: str) -> None:
    hide = ("placeholder", "duplicate", "near_duplicate")
    report = export(ExportSettings(table=table, out=tmp_path / "out", format=format, hide=hide))
    assert (report.items, report.hidden) == (4, 4)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["count"] == 4
    assert manifest["hidden"] == {
        "rows": 4,
        "states": ["flagged", "confirmed"],
        "checks": {
            "placeholder": {"version": 1, "rows": 1},
            "duplicate": {"version": 1, "rows": 2},
            "near_duplicate": {"version": 1, "rows": 1},
        },
    }
    assert verify(VerifySettings(folder=tmp_path / "out")).exit_code == 0
    hidden = Manifest.from_json(manifest).hidden
    assert hidden is not None
    assert hidden.checks["duplicate"]["rows"] == 2


def test_cleared_rows_are_exported(table: str, tmp_path: Path) -> None:
    set_state(table, "placeholder", CLEARED)
    report = export(ExportSettings(table=table, out=tmp_path / "out", hide=("placeholder",)))
    assert (report.items, report.hidden) == (8, 0)


def test_an_export_that_hides_nothing_is_byte_for_byte_what_it_was(table: str, tmp_path: Path) -> None:
    export(ExportSettings(table=table, out=tmp_path / "out"))
    assert "hidden" not in json.loads((tmp_path / "out" / "manifest.json").read_text())


def test_export_refuses_a_check_that_is_not_there(table: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--hide ugly: there is no such check"):
        ExportSettings(table=table, out=tmp_path / "out", hide=("ugly",))


def test_export_says_how_many_rows_it_hid(table: str, tmp_path: Path, cli: Callable[..., CliResult]) -> None:
    found = cli("export", "--table", table, "--out", tmp_path / "out", "--hide", "placeholder,duplicate")
    assert "3 flagged row(s) were left out (placeholder, duplicate)" in found.words


@pytest.fixture
def flagged_catalogue(tmp_path: Path, tiny_encoder: Path) -> tuple[Path, str]:
    """A DATA folder two of whose training images are one file, and another a placeholder; all of it confirmed."""
    data = write_catalogue(tmp_path / "data", views=4)
    images = data / "images"
    shutil.copyfile(images / "red-circle-0.png", images / "blue-circle-0.png")
    Image.new("RGB", (48, 48), (210, 210, 210)).save(images / "green-square-0.png")
    table = str(tmp_path / "catalog" / "pins")
    encode(EncodeSettings(images=data, table=table, encoder=str(tiny_encoder), workers=1))
    checks = ("duplicate", "placeholder")
    audit(AuditSettings(table=table, check=checks, confirm=checks))
    return data, table


def test_training_leaves_out_what_is_confirmed_and_says_so(
    flagged_catalogue: tuple[Path, str], tiny_encoder: Path, tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    data, table = flagged_catalogue
    found = cli(
        *("finetune", data, "--base", tiny_encoder, "--out", tmp_path / "run", "--epochs", "1"),
        *("--text", "title", "--group", "product", "--flags-from", table),
    )
    assert f"left out of training, by confirmed flags of {table}: 1 duplicate, 1 placeholder" in found.words
    report = finetune(
        FinetuneSettings(
            data=data, base=str(tiny_encoder), out=tmp_path / "again", epochs=1, group="product", flags_from=table
        )
    )
    assert report.left_out == {"duplicate": 1, "placeholder": 1}
    assert report.train_images == 14


def test_finetune_tells_what_leaving_out_changed_at_the_gate(
    flagged_catalogue: tuple[Path, str], tiny_encoder: Path, tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    data, table = flagged_catalogue
    out = tmp_path / "run"
    found = cli(
        *("finetune", data, "--base", tiny_encoder, "--out", out, "--epochs", "2", "--lr", "0.003", "--fusion", "off"),
        *("--group", "product", "--flags-from", table, "--compare-flags", "--json"),
    )
    gate = found.json["gate"]
    assert gate is not None, found.words
    beside = gate["unflagged"]
    low, value, high = (beside["verdict"]["mean_map"][name] for name in ("low", "value", "high"))
    assert low <= value <= high
    written = json.loads((out / "run.json").read_text())
    assert written["gate"]["unflagged"]["against"]["fingerprint"] == beside["against"]["fingerprint"]
    assert written["left_out"] == {"duplicate": 1, "placeholder": 1}
    assert "on all images, those with confirmed flags too" in (out / "README.md").read_text()
    assert "training on all images, to compare with" in found.words
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_flags_are_compared_only_where_some_are_named_and_by_one_process(
    flagged_catalogue: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, table = flagged_catalogue
    with pytest.raises(UsageError, match="--compare-flags compares a training with flags and one without"):
        FinetuneSettings(data=data, base="b", out=tmp_path / "run", compare_flags=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="trains twice, which several processes cannot do together"):
        finetune(FinetuneSettings(data=data, base="b", out=tmp_path / "run", flags_from=table, compare_flags=True))


def test_flags_without_an_answer_leave_training_as_it_is(flagged_catalogue: tuple[Path, str]) -> None:
    data, table = flagged_catalogue
    items = read_catalogue(data).items
    for state in (CLEARED, "flagged", "appealed"):
        for check in ("duplicate", "placeholder"):
            set_state(table, check, state)
        assert leave_out(items, data, table) == (items, {})


def test_a_copy_stays_in_training_where_the_picture_that_it_repeats_is_not(table: str, tmp_path: Path) -> None:
    set_state(table, "near_duplicate", CONFIRMED)
    folder = tmp_path / "photos"
    names = sorted(path.name for path in folder.iterdir())
    (folder / "metadata.csv").write_text("file_name,title\n" + "".join(f"{name},a {name}\n" for name in names))
    items = read_catalogue(folder).items
    without = tuple(item for item in items if item.id not in {"p1.jpg"})
    assert leave_out(items, folder, table)[1] == {"near_duplicate": 1}
    assert leave_out(without, folder, table) == (without, {})


def test_training_by_flags_of_a_table_that_is_not_there_is_refused(flagged_catalogue: tuple[Path, str]) -> None:
    data, table = flagged_catalogue
    with pytest.raises(TableError, match="There is no table"):
        leave_out(read_catalogue(data).items, data, table + "2")


def test_a_copy_is_exported_where_the_picture_that_it_repeats_is_gone(
    table: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    (tmp_path / "photos" / "p1.jpg").unlink()
    encode(EncodeSettings(images=tmp_path / "photos", table=table, encoder=str(tiny_encoder), workers=1, prune=True))
    report = export(ExportSettings(table=table, out=tmp_path / "out", hide=("near_duplicate",)))
    assert (report.items, report.hidden) == (7, 0)
