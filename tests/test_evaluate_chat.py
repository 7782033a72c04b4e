"""evaluate-chat: scripts out of a table's metadata, what an assistant makes of them, and the control beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.assistant.composed import average_precision, measure_composed
from pinembed.assistant.phrasings import PHRASINGS
from pinembed.assistant.script_maker import make_scripts
from pinembed.assistant.script_measure import measure_scripts, measure_turns
from pinembed.assistant.scripts import read_scripts, write_scripts
from pinembed.errors import DataError
from pinembed.reports.assistant import ChatFigures
from tests.assistant_material import (
    Shop,
    embed_texts,
    make_table,
    rows_of_wordings,
    shop_rows,
)
from tests.conftest import CliResult, make_encoder

Cli = Callable[..., CliResult]
WORDINGS = Path(__file__).parent / "wordings"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    rows = [
        {**row, "id": f"{row['id']}-{view}", "price": row["price"] + view} for row in shop_rows() for view in (0, 1)
    ]
    return Shop(make_table(tmp_path_factory.mktemp("shop"), rows))


def scripts(shop: Shop, conversations: int = 40, seed: int = 0):
    attributes = shop.vocabulary.attributes
    return make_scripts(shop.table, shop.vocabulary, attributes, conversations=conversations, seed=seed)


def test_scripts_say_what_the_table_holds_and_are_the_same_for_a_seed(shop: Shop) -> None:
    turns = scripts(shop)
    assert turns == scripts(shop)
    assert turns != scripts(shop, seed=1)
    assert shop.vocabulary.attributes == ("color", "pattern", "material")
    assert {turn.expect.name for turn in turns} >= {"search", "filter", "about", "modify", "compare"}
    assert 0.3 < sum(turn.held_out for turn in turns) / len(turns) < 0.7


def test_known_wordings_become_the_acts_that_they_should(shop: Shop) -> None:
    figures, shuffled = measure_scripts(shop.assistant, scripts(shop, 150), name="rules")
    assert figures.acts.value == 1
    assert figures.whole_acts.value >= 0.99
    assert figures.references.value >= 0.99
    assert figures.conditions.value == 1
    assert figures.citations.value == 1
    assert figures.acts_held_out.value >= 0.85
    assert shuffled.references.value <= 0.1


def read_by_rules(folder: Path, wordings: str) -> ChatFigures:
    """What the rules make of a file of wordings over the table that they are about."""
    rows = rows_of_wordings(wordings)
    shop = Shop(make_table(folder, rows), group="product" if "product" in rows[0] else None)
    return measure_turns(shop.assistant, read_scripts(WORDINGS / f"{wordings}.jsonl", shop.vocabulary), name="rules")


@pytest.mark.parametrize("wordings", ["home", "outdoor", "outdoor_2", "bicycles", "wine", "music"])
def test_people_s_own_wordings_become_the_lists_that_they_mean(tmp_path: Path, wordings: str) -> None:
    figures = read_by_rules(tmp_path, wordings)
    assert figures.whole_acts.value == figures.conditions.value == figures.references.value == 1
    assert figures.citations.value == 1
    for share in (figures.acts_held_out, figures.conditions_held_out, figures.references_held_out):
        assert share.right == share.of
    assert figures.whole_acts_held_out.right >= 0.9 * figures.whole_acts_held_out.of


@pytest.mark.parametrize(
    ("wordings", "acts", "whole"),
    [
        *(("home", 0.9, 0.8), ("outdoor", 0.9, 0.8), ("toys", 0.9, 0.8)),
        *(("plants", 0.8, 0.65), ("home_2", 0.8, 0.65), ("watches", 0.7, 0.5)),
    ],
)
def test_wordings_that_no_rule_was_mended_by_are_read_nearly_as_well(
    tmp_path: Path, wordings: str, acts: float, whole: float
) -> None:
    figures = read_by_rules(tmp_path, f"unmended/{wordings}")
    assert figures.acts_held_out.of == 50
    assert figures.acts_held_out.value >= acts
    assert figures.whole_acts_held_out.value >= whole
    assert figures.citations.value == 1


def test_held_out_wordings_are_none_that_the_rules_were_made_by() -> None:
    for phrasings in PHRASINGS.values():
        assert phrasings.known
        assert phrasings.held_out
        assert not set(phrasings.known) & set(phrasings.held_out)


def test_figures_fall_where_the_assistant_misunderstands(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = shop.assistant.turn
    monkeypatch.setattr(shop.assistant, "turn", lambda state, say: turn(state, say.replace("first", "second")))
    figures, _ = measure_scripts(shop.assistant, scripts(shop), name="deaf")
    assert figures.references.value < 0.8
    assert figures.whole_acts.value < figures.acts.value


def test_scripts_are_read_as_they_were_written_and_bad_ones_are_named(shop: Shop, tmp_path: Path) -> None:
    turns = scripts(shop, 5)
    write_scripts(tmp_path / "scripts.jsonl", turns)
    assert read_scripts(tmp_path / "scripts.jsonl", shop.vocabulary) == turns
    (tmp_path / "bad.jsonl").write_text('{"say": "cheaper", "expect": {"name": "haggle"}}\n', encoding="utf-8")
    with pytest.raises(DataError, match="expects no act of this table: there is no act 'haggle'"):
        read_scripts(tmp_path / "bad.jsonl", shop.vocabulary)


def test_this_but_in_another_colour_is_found_by_the_column_and_without_it(shop: Shop) -> None:
    found = measure_composed(
        shop.table,
        shop.vocabulary,
        embed_texts,
        column="color",
        attributes=("color", "pattern"),
        queries=40,
        split=None,
        seed=0,
    )
    assert found.queries == 40
    assert found.map_column == 1
    assert found.map_image < found.map_hidden <= 1
    assert found.map_hidden > 0.7


def test_average_precision_counts_what_was_never_found() -> None:
    assert average_precision([True, False, True], 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([True], 4) == 0.25
    assert average_precision([], 0) == 0


def test_evaluate_chat_prints_figures_and_writes_its_scripts(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    from pinembed.jobs.encode import encode
    from pinembed.settings.encoding import EncodeSettings
    from tests.conftest import write_catalogue

    write_catalogue(tmp_path / "data", views=4)
    make_encoder(tmp_path / "encoder")
    table = str(tmp_path / "db/pins")
    encode(EncodeSettings(images=tmp_path / "data", table=table, encoder=str(tmp_path / "encoder"), workers=1))
    out = tmp_path / "scripts.jsonl"
    result = cli("evaluate-chat", "--table", table, "--conversations", "4", "--queries", "5", "--out", out, "--json")
    assert result.exit_code == 0, result.words
    assert result.json["conversations"] == 4
    assert [figures["planner"] for figures in result.json["figures"]] == ["rules", "rules, states shuffled"]
    again = cli("evaluate-chat", out, "--table", table, "--queries", "0")
    assert "citations of shown items" in again.words
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[0].keys() == {"conversation", "turn", "say", "expect", "held_out"}
    chatted = cli("chat", "--table", table, "--jsonl", out)
    assert len(chatted.stdout.splitlines()) == len(lines)
    wrong = cli("evaluate-chat", "--table", table, "--fields", "brand")
    assert (wrong.exit_code, "--fields names brand" in wrong.words) == (2, True)
