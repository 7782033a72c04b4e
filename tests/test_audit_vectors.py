"""Checks of stored vectors: captions and categories that fit a picture no better than those of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pinembed.errors import UsageError
from pinembed.flags.learned import choose_cut, find_learned
from pinembed.flags.vectors import VectorChecks, find_mismatches, find_outliers, read_texts, read_vectors
from pinembed.jobs.audit import audit
from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.quality import ALL_CHECKS, AuditSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import FlagTable
from tests.conftest import CliResult, write_catalogue

KINDS, EACH, DIM = 40, 12, 32
NAMES = [f"thing {kind}" for kind in range(KINDS)]
Floats = NDArray[np.float32]


def unit(rows_ND: NDArray[np.float64]) -> Floats:
    made: Floats = (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def drawn() -> tuple[Floats, Floats]:
    """Vectors of pictures in kinds, all of them on one side as encoders give them, and one of each kind's name."""
    rng = np.random.default_rng(0)
    centre_KD = rng.standard_normal((KINDS, DIM))
    picture_ND = centre_KD.repeat(EACH, axis=0) + 0.5 * rng.standard_normal((KINDS * EACH, DIM)) + 4
    return unit(picture_ND), unit(centre_KD + 0.3 * rng.standard_normal((KINDS, DIM)) - 3)


def planted(count: int) -> tuple[list[str], set[str]]:
    """Names of the rows, some of which are those of another kind, and these rows."""
    rng = np.random.default_rng(1)
    names = [name for name in NAMES for _ in range(EACH)]
    wrong = rng.permutation(len(names))[:count].tolist()
    for row in wrong:
        names[row] = NAMES[(NAMES.index(names[row]) + int(rng.integers(1, KINDS))) % KINDS]
    return names, {f"{row}" for row in wrong}


CONTENTS = [f"{row}" for row in range(KINDS * EACH)]


def test_captions_of_other_pictures_are_found_and_right_ones_are_not(drawn: tuple[Floats, Floats]) -> None:
    captions, wrong = planted(40)

    def embed(texts: Sequence[str]) -> Floats:
        return drawn[1][[NAMES.index(text) for text in texts]]

    found = list(find_mismatches(drawn[0], captions, CONTENTS, embed))
    flagged = {one.sha256 for one in found}
    assert flagged <= wrong
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len(flagged) >= 10
    assert found[0].evidence.endswith(f"than its own: {captions[int(found[0].sha256)]}")


def test_items_of_another_category_are_found_and_right_ones_are_not(drawn: tuple[Floats, Floats]) -> None:
    categories, wrong = planted(40)
    flagged = {one.sha256 for one in find_outliers(drawn[0], categories, CONTENTS)}
    assert flagged <= wrong
    assert len(flagged) >= 10


def test_an_encoder_that_does_not_know_the_captions_flags_nothing_and_that_is_told(
    drawn: tuple[Floats, Floats],
) -> None:
    captions, _ = planted(40)
    strangers = unit(np.random.default_rng(3).standard_normal((KINDS, DIM)))
    told: list[str] = []

    def embed(texts: Sequence[str]) -> Floats:
        return strangers[[NAMES.index(text) for text in texts]]

    assert not list(find_mismatches(drawn[0], captions, CONTENTS, embed, tell=told.append))
    assert told[0].startswith("has values that this encoder hardly tells apart: for half of the rows, ")


def test_as_long_as_most_captions_are_right_many_wrong_ones_do_not_hide_one_another(
    drawn: tuple[Floats, Floats],
) -> None:
    captions, wrong = planted(len(CONTENTS) * 2 // 5)

    def embed(texts: Sequence[str]) -> Floats:
        return drawn[1][[NAMES.index(text) for text in texts]]

    flagged = {one.sha256 for one in find_mismatches(drawn[0], captions, CONTENTS, embed)}
    assert flagged <= wrong
    assert len(flagged) >= len(wrong) // 4


def test_rows_without_a_value_and_catalogues_with_few_values_say_nothing(drawn: tuple[Floats, Floats]) -> None:
    few = [f"{row % 3}" for row in range(len(CONTENTS))]

    def embed(texts: Sequence[str]) -> Floats:
        return drawn[1][: len(texts)]

    for values in (["" for _ in CONTENTS], few, CONTENTS):  # none, too few, each but once
        assert not list(find_outliers(drawn[0], values, CONTENTS))
    assert not list(find_mismatches(drawn[0], few, CONTENTS, embed))


def test_a_content_of_several_items_is_flagged_once_by_its_worst_one(drawn: tuple[Floats, Floats]) -> None:
    categories, _ = planted(40)
    scores = {one.sha256: one.score for one in find_outliers(drawn[0], categories, CONTENTS)}
    found = list(find_outliers(drawn[0], categories, ["one"] * len(CONTENTS)))
    assert [(one.sha256, one.score) for one in found] == [("one", max(scores.values()))]


ROWS = 900


def labelled(*, known: int, noise: float) -> tuple[Floats, list[str], NDArray[np.bool_]]:
    """Vectors, labels of the first ones, so many of them wrong, and which rows are unwanted."""
    rng = np.random.default_rng(2)
    is_bad = rng.random(ROWS) < 0.4
    drawn_ND = rng.standard_normal((ROWS, DIM))
    drawn_ND[:, 0] += 4 * is_bad
    said = np.where(rng.random(ROWS) < noise, ~is_bad, is_bad)
    labels = [("TRUE" if bad else "no") if row < known else "" for row, bad in enumerate(said.tolist())]
    return unit(drawn_ND), labels, is_bad


ROW_CONTENTS = [f"{row}" for row in range(ROWS)]


def test_labels_of_people_are_learned_and_what_they_left_open_is_flagged() -> None:
    vector_ND, labels, is_bad = labelled(known=600, noise=0)
    found = list(find_learned(vector_ND, labels, ROW_CONTENTS))
    rows = [int(one.sha256) for one in found]
    assert min(rows) >= 600
    assert is_bad[rows].mean() >= 0.9
    assert len(rows) >= 0.5 * is_bad[600:].sum()
    assert "labels that it had not seen" in found[0].evidence


@pytest.mark.parametrize(("known", "noise"), [(600, 0.5), (600, 0.25), (60, 0.0), (0, 0.0)])
def test_labels_that_say_too_little_flag_nothing(known: int, noise: float) -> None:
    vector_ND, labels, _ = labelled(known=known, noise=noise)
    assert list(find_learned(vector_ND, labels, ROW_CONTENTS)) == []


def test_a_cut_is_one_whose_precision_is_certain() -> None:
    rng = np.random.default_rng(0)
    scores = np.linspace(1, 0, 400, dtype=np.float32)
    sure = choose_cut(scores, scores > 0.5)
    assert sure is not None
    assert sure.bound >= 0.9
    assert 60 <= sure.flagged <= 220
    taken = [choose_cut(scores, rng.random(400) < 0.9) is not None for _ in range(400)]
    assert np.mean(taken) <= 0.05  # at a precision that is just not surpassed, whatever having a choice makes of it


@pytest.fixture
def shop(tmp_path: Path, tiny_encoder: Path) -> str:
    table = str(tmp_path / "catalog" / "pins")
    images = write_catalogue(tmp_path / "data")
    lines = (images / "metadata.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    for number, row in enumerate(rows):
        row[3] = f"{row[3]} number {number}"
    (images / "metadata.csv").write_text("\n".join([lines[0], *(",".join(row) for row in rows)]) + "\n")
    encode(EncodeSettings(images=images, table=table, encoder=str(tiny_encoder), workers=1))
    return table


@pytest.fixture
def swapped(shop: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Contents of the two pictures that have each other's caption, by a text tower that knows all captions."""
    table = EmbeddingTable.open(shop)
    vector_ND = read_vectors(table)
    titles, sha256 = read_texts(table, "title"), read_texts(table, "sha256")
    centred_ND = unit((vector_ND - vector_ND.mean(axis=0)).astype(np.float64))
    one, other = np.unravel_index(np.argmin(centred_ND @ centred_ND.T), (len(titles), len(titles)))
    row_of = {title: row for row, title in enumerate(titles)}
    row_of[titles[one]], row_of[titles[other]] = int(other), int(one)
    known = [row_of[title] for title in sorted(titles)]
    monkeypatch.setattr(VectorChecks, "_embed", lambda _, texts: vector_ND[known])
    return {sha256[one], sha256[other]}


def test_the_checks_of_vectors_are_done_where_they_are_asked_for_and_need_no_pictures(
    shop: str, swapped: set[str], tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    (tmp_path / "data" / "images").rename(tmp_path / "elsewhere")
    names = {found.check for found in audit(AuditSettings(table=shop)).checks}
    assert not names & {"caption_mismatch", "outlier"}
    found = cli("audit", "--table", shop, "--check", "caption_mismatch,outlier", "--category", "product", "--json")
    counts = {one["check"]: one["flagged"] for one in found.json["checks"]}
    flags = [flag for flag in FlagTable(parse_address(shop)).known().values() if flag.check == "caption_mismatch"]
    assert {flag.sha256 for flag in flags} == swapped
    assert counts["caption_mismatch"] == len(flags) == 2
    assert {one.check for one in audit(AuditSettings(table=shop, check=("all",))).checks} == set(ALL_CHECKS)
    again = audit(AuditSettings(table=shop, check=("caption_mismatch",)))
    assert [(one.new, one.resolved) for one in again.checks] == [(0, 0)]


def test_a_check_that_can_say_nothing_says_why(shop: str, cli: Callable[..., CliResult]) -> None:
    asked = ("--check", "caption_mismatch,outlier", "--caption", "color", "--category", "title")
    reasons = {
        "caption_mismatch": "column color has 4 different captions; 20 are wanted",
        "outlier": "column title has 0 categories of 5 items and more; 5 are wanted",
    }
    assert cli("audit", "--table", shop, *asked, "--json").json["silent"] == reasons
    told = cli("audit", "--table", shop, *asked)
    assert told.exit_code == 0
    for check, reason in reasons.items():
        assert f"{check} says nothing: {reason}" in told.words


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["true"] * 3 + ["false"] * 2 + ["banana"], "says true of 3 rows and false of 2; 40 of either are wanted"),
        ([""] * 6, "says true of 0 rows and false of 0; 40 of either are wanted"),
        (["1.0", "0.0"] * 60, "cannot be learned: from no score on are 90% of labels that were not seen right"),
    ],
)
def test_labels_that_say_too_little_are_told(values: list[str], reason: str) -> None:
    vector_ND = unit(np.random.default_rng(4).standard_normal((len(values), DIM)))
    told: list[str] = []
    assert not list(find_learned(vector_ND, values, ROW_CONTENTS[: len(values)], tell=told.append))
    assert told[0].startswith(reason)


def test_a_column_of_other_words_is_refused_as_labels(shop: str, cli: Callable[..., CliResult]) -> None:
    found = cli("audit", "--table", shop, "--check", "learned", "--labels", "color")
    said = found.words
    assert found.exit_code == 2
    assert "--labels color: none of its 24 values says true or false; the commonest are '" in said
    assert "Name a column that says true for items that are not wanted, false for others and nothing for most" in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"check": ("outlier",), "category": "none"},
            "--check outlier needs a column none; table .* has product, title",
        ),
        ({"check": ("outlier",)}, "--check outlier needs a column; table"),
        ({"check": ("all",), "category": "none"}, "--check outlier needs a column none"),
    ],
)
def test_a_check_without_its_column_is_refused_before_anything_is_read(
    shop: str, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        audit(AuditSettings(table=shop, **changes))  # type: ignore[arg-type]
    assert "--category" in caught.value.remedy
