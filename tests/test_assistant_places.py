"""Words that take the list to know what they mean: the middle, the latter, both, any but that; and a clean slate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pinembed.assistant.cues import SLIPPED
from pinembed.assistant.words import spelled_alike
from tests.assistant_material import Shop, make_table, outdoor_rows


@pytest.fixture(scope="module")
def outdoor(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(make_table(tmp_path_factory.mktemp("outdoor"), outdoor_rows()))


FIVE = ("p1", "p2", "p3", "p4", "p5")


@pytest.mark.parametrize(
    ("say", "count", "items"),
    [
        ("tell me about the middle one", 5, [3]),
        ("the 1 in the midle, is it light?", 4, [2]),
        ("is the one at the top waterproof", 5, [1]),
        ("the pair right at the bottom, is it waterproof?", 5, [-1]),
        ("tell me about the uppermost one", 5, [1]),
        ("the one before the last", 5, [-2]),
        ("what does the latter weigh", 5, [2]),
        ("the former, is it waterproof", 5, [1]),
        ("please the boot number three", 5, [3]),
        ("third 1, is it light?", 5, [3]),
    ],
)
def test_place_is_found_on_the_list_that_is_shown(outdoor: Shop, say: str, count: int, items: list[int]) -> None:
    act = outdoor.act(say, *FIVE[:count])
    assert (act["name"], act["arguments"]["items"]) == ("about", items)


@pytest.mark.parametrize(
    ("say", "name", "items"),
    [
        ("the latter in black", "modify", [2]),
        ("former's perfect, I just need an M", "modify", [4]),
        ("both, are they waterproof?", "about", [4, 2]),
        ("which of them is lighter?", "compare", [4, 2]),
        ("are both the first and the third waterproof?", "about", [1, 3]),
        ("numbers one, two and five, what sets those apart?", "compare", [1, 2, 5]),
        ("those at 2 and 4, which is lighter?", "compare", [2, 4]),
        ("both 3 and 5 look fine, what are they made of", "about", [3, 5]),
    ],
)
def test_two_that_were_spoken_of_are_the_former_and_the_latter(
    outdoor: Shop, say: str, name: str, items: list[int]
) -> None:
    act = outdoor.act(say, *FIVE, focus=["p4", "p2"])
    assert (act["name"], act["arguments"]["items"]) == (name, items)


def conditions(act: dict[str, Any]) -> list[tuple[str, str, list[Any]]]:
    return [(one["column"], one["op"], one["values"]) for one in act["arguments"].get("filters", [])]


def last_act(shop: Shop, *says: str) -> dict[str, Any]:
    act: dict[str, Any] = shop.talk(*says)[-1].act
    return act


@pytest.mark.parametrize(
    "say",
    [
        "clear all filters",
        "reset",
        "start over with no conditions",
        "forget all of that",
        "let's wipe the slate clean",
        "scrap everything I said",
        "forget all that, just jackets",
    ],
)
def test_conditions_all_go_but_the_kind(outdoor: Shop, say: str) -> None:
    act = last_act(outdoor, "waterproof jackets under 300", say)
    assert act == {"name": "filter", "arguments": {"drop": ["waterproof", "price_usd"]}}


def test_another_kind_and_what_is_like_an_item_begin_a_new_search(outdoor: Shop) -> None:
    assert last_act(outdoor, "jackets under 300", "start over: tents")["name"] == "search"
    act = last_act(outdoor, "jackets under 300", "like the first but in black", "clear all filters")
    assert (act["name"], conditions(act)) == ("search", [("department", "in", ["jacket"])])


@pytest.mark.parametrize("say", ["no restrictions on price", "drop all the tents", "clear the price filter", "reset"])
def test_no_clean_slate_is_made_of_less(outdoor: Shop, say: str) -> None:
    act = last_act(outdoor, "jackets", "in black", say)
    assert ("colour" in act["arguments"].get("drop", [])) is (say == "reset")


@pytest.mark.parametrize(
    ("says", "wanted"),
    [
        (("jackets in black", "any colour but that"), ("colour", "not in", ["black"])),
        (("jackets", "any colour except black"), ("colour", "not in", ["black"])),
        (("leather? no",), ("material", "not in", ["leather"])),
        (("jackets", "not Norrland", "Kestrel out too", "add Kestrel again"), ("brand", "not in", ["Norrland"])),
        (("down? no thanks, feathers make me sneeze",), ("material", "not in", ["down"])),
        (("not Tarn, Alpina neither",), ("brand", "not in", ["Tarn", "Alpina"])),
        (("jackets by Tarn or Alpina, down ones excluded",), ("material", "not in", ["down"])),
    ],
)
def test_what_is_turned_down_is_excluded(outdoor: Shop, says: tuple[str, ...], wanted: tuple[str, str, Any]) -> None:
    assert wanted in conditions(last_act(outdoor, *says))


@pytest.mark.parametrize(
    "say",
    [
        "leather looks cheap, leave it out",
        "leather is far too expensive; leave it out",
        "no leather, too much",
        "no leather, it's way too expensive",
    ],
)
def test_the_reason_for_a_refusal_is_no_wish(outdoor: Shop, say: str) -> None:
    act = last_act(outdoor, "jackets", say)
    assert act == {
        "name": "filter",
        "arguments": {"filters": [{"column": "material", "op": "not in", "values": ["leather"]}]},
    }


def test_extra_ones_are_more_of_them(outdoor: Shop) -> None:
    assert last_act(outdoor, "jackets", "gimme 2 extra") == last_act(outdoor, "jackets", "2 more")


def test_brand_of_the_item_that_was_spoken_of_is_not_wanted_again(outdoor: Shop) -> None:
    turns = outdoor.talk("jackets", "tell me about the second", "not that brand")
    assert conditions(turns[-1].act) == [("brand", "not in", [turns[0].shown[1].fields["brand"]])]


@pytest.mark.parametrize(
    ("say", "limits"),
    [
        ("Max. USD 250/pc", [("price_usd", "<=", [250.0])]),
        ("not exceeding USD 250", [("price_usd", "<=", [250.0])]),
        ("two hundred dollars and upwards", [("price_usd", ">=", [200.0])]),
        ("I only have 50 dollars so not over that", [("price_usd", "<=", [50.0])]),
        (
            "100 to 350 is what I'm paying, not a cent more",
            [("price_usd", ">=", [100.0]), ("price_usd", "<=", [350.0])],
        ),
        ("40 litres or biger", [("capacity_l", ">=", [40.0])]),
        ("don't show me more than three", []),
        ("at least 4", [("rating", ">=", [4.0])]),
        ("exactly 40 litres", [("capacity_l", ">=", [40.0]), ("capacity_l", "<=", [40.0])]),
    ],
)
def test_amount_is_a_limit_however_it_is_put(outdoor: Shop, say: str, limits: list[tuple[str, str, Any]]) -> None:
    act = last_act(outdoor, "backpacks", say)
    assert (act["name"], conditions(act)) == ("filter", limits)
    assert "text" not in act["arguments"]


def test_inches_are_a_column_s_own_where_it_is_in_inches(tmp_path: Path) -> None:
    rows = [{"id": f"w{size}", "kind": "wheel", "rim_in": size, "price_eur": 50.0 + size} for size in (26, 28, 29)]
    shop = Shop(make_table(tmp_path, rows))
    assert conditions(shop.act("28 inch wheels")) == [
        ("kind", "in", ["wheel"]),
        ("rim_in", ">=", [28.0]),
        ("rim_in", "<=", [28.0]),
    ]
    assert conditions(shop.act('a 28" wheel'))[1:] == conditions(shop.act("28 inch wheels"))[1:]


@pytest.mark.parametrize(
    ("word", "meant"), [("beter", "better"), ("wich", "which"), ("middel", "middle"), ("tooo", "too")]
)
def test_slip_of_a_rule_s_word_has_the_word_s_own_letters(word: str, meant: str) -> None:
    assert spelled_alike(word, SLIPPED) == meant
    assert spelled_alike("bitter", SLIPPED) == spelled_alike("letter", SLIPPED) == ""


def test_words_that_rules_look_for_are_no_slips_of_a_catalogue_s(tmp_path: Path) -> None:
    rows = [{"id": f"c{i}", "kind": "chair", "in_stock": bool(i % 2), "price": 9.0 + i} for i in range(4)]
    shop = Shop(make_table(tmp_path, rows))
    assert shop.act("how do the first two stack up?", "c0", "c1", "c2")["name"] == "compare"


@pytest.mark.parametrize("behind", ["as long as it ain't Tarn", "provided it isn't Tarn", "so long as it's not Tarn"])
def test_condition_on_another_column_leaves_the_kind_alone(outdoor: Shop, behind: str) -> None:
    filters = outdoor.act(f"a tent, any brand {behind}")["arguments"]["filters"]
    assert {(one["column"], one["op"], *one["values"]) for one in filters} == {
        ("department", "in", "tent"),
        ("brand", "not in", "Tarn"),
    }
