"""`audit` and `appeal`: what is flagged, what is done only once, and what people's answers change."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from pinembed.errors import DataError, OutputExistsError, StoppedError, TableError, TableLockedError, UsageError
from pinembed.flags import audit as audit_part
from pinembed.flags import checks
from pinembed.jobs.appeal import appeal
from pinembed.jobs.audit import audit
from pinembed.jobs.encode import encode
from pinembed.nouns.progress import Stop
from pinembed.reports.quality import AuditReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.quality import ALL_CHECKS, BY_VECTORS, USUAL_CHECKS, AppealSettings, AuditSettings
from pinembed.table.address import parse_address
from pinembed.table.lock import run_lock
from pinembed.table.quality_tables import FlagTable
from tests.conftest import CliResult

Photo = Callable[[int], Image.Image]


def photo(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """A scene of its own for each seed: coarse colours that differ all over, and detail on top."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 236, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(coarse)
    for _ in range(120):
        x, y, side = rng.integers(0, size[0]), rng.integers(0, size[1]), rng.integers(2, 14)
        draw.rectangle((x, y, x + side, y + side), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return coarse


def placeholder() -> Image.Image:
    image = Image.new("RGB", (240, 180), (220, 220, 220))
    ImageDraw.Draw(image).text((80, 80), "No image", fill=(120, 120, 120))
    return image


def bordered(image: Image.Image) -> Image.Image:
    return ImageOps.expand(image, 10, (255, 255, 255))


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((12, 0, image.width, image.height - 9))


DAMAGE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurry": lambda image: image.filter(ImageFilter.GaussianBlur(5)),
    "dark": lambda image: image.point(lambda value: value * 0.15),
    "light": lambda image: image.point(lambda value: min(255, value * 0.3 + 190)),
    "low_information": lambda image: image.point(lambda value: 128 + (value - 128) // 60),
    "tiny": lambda image: image.resize((32, 24)),
    "odd_shape": lambda image: image.resize((400, 80)),
    "placeholder": lambda _: placeholder(),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos that have nothing to do with each other."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(6):
        photo(seed).save(folder / f"p{seed}.jpg", quality=90)
    return folder


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "catalog" / "pins")


@pytest.fixture
def encoded(photos: Path, table: str, tiny_encoder: Path) -> Callable[..., None]:
    """Bring the table up to date with the photos."""

    def run(**changes: Any) -> None:
        encode(EncodeSettings(images=photos, table=table, encoder=str(tiny_encoder), workers=1, **changes))

    return run


@pytest.fixture
def audited(encoded: Callable[..., None], table: str) -> Callable[..., AuditReport]:
    """Encode and audit."""

    def run(**changes: Any) -> AuditReport:
        encoded()
        return audit(AuditSettings(table=table, **changes))

    return run


def flags_of(table: str) -> dict[tuple[str, str], str]:
    """State by name of the file's stem and check."""
    from tests.encoding import rows_of

    names = {row["sha256"]: Path(row["file_name"]).stem for row in rows_of(table).values()}
    known = FlagTable(parse_address(table)).known().values()
    return {(names.get(flag.sha256, "gone"), flag.check): flag.state for flag in known}


def evidence_of(table: str, check: str) -> list[str]:
    known = FlagTable(parse_address(table)).known().values()
    return [flag.evidence for flag in known if flag.check == check]


def answer(path: Path, **answers: str) -> None:
    """Fill in the file: an answer by check."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["answer"] = answers.get(row["check"], "")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_whole_photos_get_no_flag(audited: Callable[..., AuditReport], table: str) -> None:
    report = audited()
    assert (report.rows, report.contents, report.measured, report.flagged_rows) == (6, 6, 6, 0)
    assert flags_of(table) == {}


@pytest.mark.parametrize("check", DAMAGE)
def test_damage_is_flagged_by_its_check(
    audited: Callable[..., AuditReport], photos: Path, table: str, check: str
) -> None:
    DAMAGE[check](photo(90)).save(photos / "bad.png")
    audited(check=(check,))
    assert flags_of(table) == {("bad", check): "flagged"}
    (evidence,) = evidence_of(table, check)
    assert evidence.endswith(".")


def test_hard_compression_and_a_grey_bottom_are_flagged(
    audited: Callable[..., AuditReport], photos: Path, table: str
) -> None:
    photo(90).save(photos / "hard.jpg", quality=10)
    cut = photo(91)
    cut.paste((128, 128, 128), (0, 128, 240, 180))
    cut.save(photos / "cut.jpg", quality=90)
    audited()
    assert flags_of(table) == {("hard", "compressed"): "flagged", ("cut", "cut"): "flagged"}
    assert evidence_of(table, "compressed") == ["A JPEG of quality 10."]


def test_a_bomb_of_metadata_is_flagged_with_a_sentence(
    audited: Callable[..., AuditReport], photos: Path, table: str
) -> None:
    whole = (photos / "p0.jpg").read_bytes()
    (photos / "bomb.jpg").write_bytes(whole[:2] + b"\xff\xe1\0\2" * 70_000 + whole[2:])
    audited(check=("made_by_ai", "unread_metadata"))
    assert flags_of(table) == {("bomb", "unread_metadata"): "flagged"}
    assert "more metadata than is looked at (16 MiB" in evidence_of(table, "unread_metadata")[0]


@pytest.mark.parametrize("change", [bordered, cropped, ImageOps.mirror, lambda image: image.resize((120, 90))])
def test_a_changed_copy_is_a_near_duplicate_of_the_one_that_was_there(
    audited: Callable[..., AuditReport], photos: Path, table: str, change: Photo
) -> None:
    audited()
    change(photo(3)).save(photos / "copy.jpg", quality=80)  # type: ignore[arg-type]
    report = audited()
    assert (report.measured, report.compared) == (1, 1)
    assert flags_of(table) == {("copy", "near_duplicate"): "flagged"}
    assert evidence_of(table, "near_duplicate")[0].startswith("The picture of p3.jpg, ")


def test_equal_files_are_duplicates_and_name_their_items(
    audited: Callable[..., AuditReport], photos: Path, table: str
) -> None:
    for name in ("a", "b", "c", "d"):
        shutil.copyfile(photos / "p0.jpg", photos / f"{name}.jpg")
    report = audited()
    assert (report.rows, report.contents, report.flagged_rows) == (10, 6, 5)
    assert evidence_of(table, "duplicate") == ["5 items have this very file: a.jpg, b.jpg, c.jpg, …."] or (
        "5 items have this very file" in evidence_of(table, "duplicate")[0]
    )


def test_one_picture_of_many_items_of_a_seller_is_a_flood(
    audited: Callable[..., AuditReport], photos: Path, table: str
) -> None:
    rows = [("file_name", "shop"), *((f"p{seed}.jpg", "honest") for seed in range(6))]
    for number in range(12):
        photo(0).save(photos / f"f{number}.jpg", quality=50 + number)
        os.utime(photos / f"f{number}.jpg", (86_400 * 30 * number, 86_400 * 30 * number))
        rows.append((f"f{number}.jpg", "loud"))
    with (photos / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    audited()
    assert set(evidence_of(table, "flood")) == {"12 items of shop loud show this picture."}
    assert len(evidence_of(table, "flood")) == 13  # the one that they repeat, too


def test_a_second_audit_reads_compares_and_writes_nothing(
    audited: Callable[..., AuditReport], photos: Path, table: str
) -> None:
    placeholder().save(photos / "none.png")
    audited()
    before = {path: path.stat().st_mtime_ns for path in Path(table).parent.rglob("*.manifest")}
    for path in photos.iterdir():
        os.utime(path)
    report = audit(AuditSettings(table=table))
    assert (report.measured, report.compared) == (0, 0)
    assert all(found.new == found.resolved == 0 for found in report.checks)
    assert {path: path.stat().st_mtime_ns for path in Path(table).parent.rglob("*.manifest")} == before


def test_what_encode_measured_needs_no_pictures(encoded: Callable[..., None], photos: Path, table: str) -> None:
    placeholder().save(photos / "none.png")
    encoded(measure=True)
    shutil.rmtree(photos)
    report = audit(AuditSettings(table=table))
    assert (report.measured, report.unmeasured) == (0, 0)
    assert ("none", "placeholder") in flags_of(table)


def test_pictures_that_are_gone_are_counted_as_unmeasured(
    encoded: Callable[..., None], photos: Path, table: str
) -> None:
    encoded()
    (photos / "p0.jpg").unlink()
    photo(77).save(photos / "p1.jpg")
    report = audit(AuditSettings(table=table))
    assert (report.measured, report.unmeasured) == (4, 2)


def test_flags_and_answers_survive_another_name_and_another_table(
    audited: Callable[..., AuditReport], photos: Path, table: str, other_encoder: Path, tmp_path: Path
) -> None:
    placeholder().save(photos / "none.png")
    audited(appeals=tmp_path / "answers.csv")
    answer(tmp_path / "answers.csv", placeholder="confirm")
    appeal(AppealSettings(file=tmp_path / "answers.csv", table=table))
    (photos / "none.png").rename(photos / "renamed.png")
    audited()
    assert flags_of(table)["renamed", "placeholder"] == "confirmed"

    other = str(tmp_path / "catalog" / "other")
    encode(EncodeSettings(images=photos, table=other, encoder=str(other_encoder), workers=1))
    report = audit(AuditSettings(table=other, flags_from=table))
    assert report.measured == 0
    assert flags_of(other)["renamed", "placeholder"] == "confirmed"

    answer(tmp_path / "answers.csv", placeholder="clear")
    third = str(tmp_path / "catalog" / "third")
    encode(EncodeSettings(images=photos, table=third, encoder=str(other_encoder), workers=1))
    report = audit(AuditSettings(table=third, flags_from=table, answers=tmp_path / "answers.csv"))
    assert report.answered == 1
    assert flags_of(third)["renamed", "placeholder"] == "cleared"


def test_cleared_stays_cleared_until_the_check_has_another_version_and_then_it_is_told(
    audited: Callable[..., AuditReport], photos: Path, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placeholder().save(photos / "none.png")
    audited(check=("placeholder",), appeals=tmp_path / "answers.csv")
    answer(tmp_path / "answers.csv", placeholder="clear")
    report = appeal(AppealSettings(file=tmp_path / "answers.csv", table=table, by="Ada"))
    assert (report.cleared, report.confirmed, report.unknown) == (1, 0, 0)
    assert audited(check=("placeholder",)).flagged_rows == 0
    assert flags_of(table) == {("none", "placeholder"): "cleared"}

    monkeypatch.setitem(checks.VERSIONS, "placeholder", 2)
    (found,) = audited(check=("placeholder",)).checks
    assert (found.version, found.reopened, found.flagged) == (2, 1, 1)
    assert "Ada cleared it on " in evidence_of(table, "placeholder")[0]
    (again,) = audited(check=("placeholder",)).checks
    assert again.reopened == 0


def test_a_flag_that_is_found_no_more_goes_and_a_confirmed_one_stays(
    audited: Callable[..., AuditReport], photos: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    DAMAGE["dark"](photo(90)).save(photos / "dark.png")
    placeholder().save(photos / "none.png")
    audited(check=("dark", "placeholder"), confirm=("placeholder",))
    lenient = tuple(dataclasses.replace(check, threshold=99.0) for check in checks.CHECKS)
    monkeypatch.setattr("pinembed.flags.findings.CHECKS", lenient)
    report = audited(check=("dark", "placeholder"))
    assert {found.check: found.resolved for found in report.checks} == {"placeholder": 0, "dark": 1}
    assert flags_of(table) == {("none", "placeholder"): "confirmed"}


def test_a_copy_whose_original_is_removed_is_compared_again(
    audited: Callable[..., AuditReport], encoded: Callable[..., None], photos: Path, table: str
) -> None:
    audited()
    bordered(photo(3)).save(photos / "copy.jpg", quality=80)
    audited()
    (photos / "p3.jpg").unlink()
    encoded(prune=True)
    report = audit(AuditSettings(table=table))
    assert report.compared == 1
    assert flags_of(table) == {}


def test_appealed_flags_are_open_no_more_and_not_decided(
    audited: Callable[..., AuditReport], photos: Path, table: str, tmp_path: Path
) -> None:
    placeholder().save(photos / "none.png")
    audited(check=("placeholder",), appeals=tmp_path / "answers.csv")
    answer(tmp_path / "answers.csv", placeholder="appeal")
    appeal(AppealSettings(file=tmp_path / "answers.csv", table=table))
    report = audited(check=("placeholder",), confirm=("placeholder",))
    assert (report.flagged_rows, report.checks[0].appealed) == (0, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda lines: [*lines, lines[1].replace("confirm", "clear")],
            "rows 2 and .* answer one flag with",
        ),
        (lambda lines: [lines[0].replace(",by,", ",answer,"), *lines[1:]], "has several columns answer"),
    ],
)
def test_answers_that_contradict_each_other_change_nothing(
    change: Callable[[list[str]], list[str]],
    words: str,
    audited: Callable[..., AuditReport],
    photos: Path,
    table: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "answers.csv"
    placeholder().save(photos / "none.png")
    audited(check=("placeholder",), appeals=path)
    answer(path, placeholder="confirm")
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=words):
        appeal(AppealSettings(file=path, table=table))


def test_a_file_with_answers_is_never_replaced(
    audited: Callable[..., AuditReport], photos: Path, tmp_path: Path
) -> None:
    answers = tmp_path / "answers.csv"
    placeholder().save(photos / "none.png")
    audited(appeals=answers)
    audited(appeals=answers)  # nothing was answered
    answer(answers, placeholder="clear")
    with pytest.raises(OutputExistsError, match=r"answers\.csv exists and holds answers"):
        audited(appeals=answers)
    (tmp_path / "letter.csv").write_text("dear reader\n")
    with pytest.raises(OutputExistsError, match="or is no file of answers"):
        audited(appeals=tmp_path / "letter.csv")


def test_an_answer_that_cannot_be_understood_changes_nothing(
    audited: Callable[..., AuditReport], photos: Path, table: str, tmp_path: Path
) -> None:
    answers = tmp_path / "answers.csv"
    placeholder().save(photos / "none.png")
    audited(appeals=answers)
    answer(answers, placeholder="clear", low_information="maybe")
    with pytest.raises(DataError, match=r"answers\.csv, row \d: the answer is 'maybe'; wanted confirm, appeal, clear"):
        appeal(AppealSettings(file=answers, table=table))
    assert set(flags_of(table).values()) == {"flagged"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no column answer, check, sha256"),
        (b"id,answer\n1,clear\n", "has no column check, sha256"),
        (b"answer,check,sha256\n\xff\xfe,a,b\n", "cannot be read"),
        (b"answer,check,sha256\nclear," + b"x" * (2 << 20) + b",b\n", "cannot be read: field larger than"),
    ],
)
def test_a_file_that_is_no_file_of_answers_is_refused_with_a_sentence(
    audited: Callable[..., AuditReport], table: str, tmp_path: Path, content: bytes, words: str
) -> None:
    audited()
    (tmp_path / "answers.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        appeal(AppealSettings(file=tmp_path / "answers.csv", table=table))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_answers_are_read_as_spreadsheets_of_other_countries_save_them(
    audited: Callable[..., AuditReport], photos: Path, table: str, tmp_path: Path, separator: str
) -> None:
    answers = tmp_path / "answers.csv"
    placeholder().save(photos / "none.png")
    audited(check=("placeholder",), appeals=answers)
    with answers.open(newline="", encoding="utf-8") as file:
        header, row = list(csv.reader(file))
    with answers.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=separator).writerows([header, ["Clear ", "Ada, of the night shift", *row[2:]]])
    assert appeal(AppealSettings(file=answers, table=table)).cleared == 1
    assert audited(check=("placeholder",), answers=answers).answered == 0  # it was so already
    answers.write_text(answers.read_text(encoding="utf-8-sig").replace("Clear ", "confirm"))
    report = audited(check=("placeholder",), answers=answers)
    assert (report.answered, report.flagged_rows) == (1, 1)


def test_the_page_shows_evidence_and_escapes_whatever_names_say(
    audited: Callable[..., AuditReport], photos: Path, table: str, tmp_path: Path
) -> None:
    bordered(photo(1)).save(photos / "copy.jpg", quality=90)
    placeholder().save(photos / "<script>alert('x')<&script>.png")
    (photos / "p5.jpg").write_bytes((photos / "p0.jpg").read_bytes())
    page = tmp_path / "pages" / "flags.html"
    audited(html=page)
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert "http" not in text
    assert text.count("data:image/webp;base64,") == text.count("<img") >= 4
    assert "2 items have this very file" in text
    assert "The picture of copy.jpg, " in text  # the larger of the two came first
    (photos / "copy.jpg").unlink()
    audit(AuditSettings(table=table, html=page))
    assert 'class="gone"' in page.read_text()


def test_a_page_that_cannot_be_written_is_told_before_the_work(table: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--html .* is a folder; wanted a file"):
        audit(AuditSettings(table=table, html=tmp_path))


def test_answers_to_unknown_flags_are_counted(audited: Callable[..., AuditReport], table: str, tmp_path: Path) -> None:
    audited()
    (tmp_path / "answers.csv").write_text("answer,check,sha256\nclear,dark,abc\n")
    report = appeal(AppealSettings(file=tmp_path / "answers.csv", table=table))
    assert (report.unknown, report.cleared) == (1, 0)


def test_ids_that_look_like_formulas_are_written_as_text(
    audited: Callable[..., AuditReport], photos: Path, tmp_path: Path
) -> None:
    placeholder().save(photos / "=cmd.png")
    audited(check=("placeholder",), appeals=tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["id"] == "'=cmd.png"


def test_audit_on_the_command_line_prints_one_object_and_ends_with_3_above_the_share(
    encoded: Callable[..., None], photos: Path, table: str, tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    placeholder().save(photos / "none.png")
    encoded()
    found = cli("audit", "--table", table, "--json", "--max-share", "0.1", "--sheet", tmp_path / "sheet.png")
    assert found.exit_code == 3
    assert found.json["flagged_rows"] == 1
    assert {check["check"] for check in found.json["checks"]} == set(USUAL_CHECKS)
    assert Image.open(tmp_path / "sheet.png").width > 200
    assert "--max-share allows 10.0%" in found.words
    assert cli("audit", "--table", table, "--max-share", "0.2").exit_code == 0


def test_appeal_on_the_command_line(
    audited: Callable[..., AuditReport], photos: Path, table: str, tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    placeholder().save(photos / "none.png")
    audited(check=("placeholder",), appeals=tmp_path / "answers.csv")
    answer(tmp_path / "answers.csv", placeholder="confirm")
    found = cli("appeal", tmp_path / "answers.csv", "--table", table, "--json")
    assert (found.exit_code, found.json["confirmed"]) == (0, 1)


def test_a_table_that_another_run_holds_is_left_alone(encoded: Callable[..., None], table: str) -> None:
    encoded()
    with run_lock(parse_address(table)), pytest.raises(TableLockedError):
        audit(AuditSettings(table=table))


def test_a_stopped_audit_keeps_what_it_measured(encoded: Callable[..., None], table: str) -> None:
    encoded()
    stop = Stop()
    stop.signum = 15
    with pytest.raises(StoppedError):
        audit(AuditSettings(table=table), stop=stop)
    assert audit(AuditSettings(table=table)).rows == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"check": ("blury",)}, "--check blury: there is no such check; wanted made_by_ai"),
        ({"confirm": ("all",)}, "--confirm all"),
        ({"max_share": 5}, "--max-share is 5; wanted at most 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        AuditSettings(table="t/p", **changes)


def test_a_seller_column_that_is_not_there_is_refused(encoded: Callable[..., None], table: str) -> None:
    encoded()
    with pytest.raises(TableError, match="has no column shop"):
        audit(AuditSettings(table=table, seller="shop"))


def test_settings_name_every_check_of_the_flags_part() -> None:
    assert set(ALL_CHECKS) == checks.VERSIONS.keys()
    assert audit_part.COPY_VERSIONS.keys() < checks.VERSIONS.keys()
    assert checks.VECTOR_VERSIONS.keys() == set(BY_VECTORS)
