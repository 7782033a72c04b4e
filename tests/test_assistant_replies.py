"""Short replies to a list, as people type them: places, too much of something, remarks, and what is welcome or not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.assistant_material import Shop, make_table, outdoor_rows, rows_of_wordings, shop_rows

LIST = ("mug-teal-plain", "mug-plum-striped", "mug-red-dotted", "vase-navy-plain", "lamp-teal-striped")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(make_table(tmp_path_factory.mktemp("shop"), shop_rows()))


@pytest.fixture(scope="module")
def wines(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(make_table(tmp_path_factory.mktemp("wines"), rows_of_wordings("wine")))


@pytest.fixture(scope="module")
def outdoors(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(make_table(tmp_path_factory.mktemp("outdoors"), outdoor_rows()))


def said(act: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """An act without its texts."""
    return act["name"], {name: given for name, given in act["arguments"].items() if name not in {"question", "reason"}}


def is_(column: str, *values: Any) -> dict[str, Any]:
    return {"filters": [{"column": column, "op": "in", "values": list(values)}]}


def not_(column: str, *values: Any) -> dict[str, Any]:
    return {"filters": [{"column": column, "op": "not in", "values": list(values)}]}


def than(column: str, op: str, *items: int) -> dict[str, Any]:
    return {"relative": [{"column": column, "op": op, "items": list(items)}]}


@pytest.mark.parametrize(
    ("say", "name", "arguments"),
    [
        ("2", "about", {"items": [2]}),
        ("no. 3 pls", "about", {"items": [3]}),
        ("tell me about 3", "about", {"items": [3]}),
        ("2 in red", "modify", {**is_("color", "red"), "items": [2]}),
        ("like 2 but red", "modify", {**is_("color", "red"), "items": [2]}),
        ("1 or 3?", "compare", {"items": [1, 3]}),
        ("2 and 3", "compare", {"items": [2, 3]}),
        ("is 1 cheaper than 2?", "compare", {"items": [1, 2]}),
        ("are they striped, the first and the third?", "about", {"items": [1, 3]}),
        ("what goes with 2", "goes-with", {"items": [2]}),
        ("not those", "more", {}),
        ("show me three more of them, then I'll decide", "more", {"count": 3}),
        ("something more cheap than this one", "filter", than("price", "<")),
        ("that's a rip off", "filter", than("price", "<")),
        ("hmm pricey", "filter", than("price", "<")),
        ("max. 25", "filter", {"filters": [{"column": "price", "op": "<=", "values": [25.0]}]}),
        ("similar to 2 but red", "modify", {**is_("color", "red"), "items": [2]}),
        ("the first two are too expensive", "filter", than("price", "<", 1, 2)),
        ("less plain", "filter", not_("pattern", "plain")),
        ("too plain", "filter", not_("pattern", "plain")),
        ("leather free please", "filter", not_("material", "leather")),
        ("I'm a bit sceptical about clay", "filter", not_("material", "clay")),
        ("in a different colour", "filter", {"drop": ["color"]}),
        ("no wait i said plum but what i actually want is navy", "filter", is_("color", "navy")),
        ("just the 3 most expensive of those", "filter", {"sort": {"column": "price", "descending": True}, "count": 3}),
        ("upper price limit 30", "filter", {"filters": [{"column": "price", "op": "<=", "values": [30.0]}]}),
        ("meh", "unclear", {}),
        ("thx for yesterday, you were a great help!", "unclear", {}),
    ],
)
def test_reply_to_a_list_is_the_act_that_it_means(shop: Shop, say: str, name: str, arguments: dict[str, Any]) -> None:
    assert said(shop.act(say, *LIST)) == (name, arguments)


@pytest.mark.parametrize(
    ("say", "name", "arguments"),
    [
        ("maybe Italian? or Spanish", "filter", is_("country", "Italy", "Spain")),
        ("the French ones I don't want to see", "filter", not_("country", "France")),
        ("white or red", "search", is_("kind", "white wine", "red wine")),
        ("remove the ABV condition", "filter", {"drop": ["alcohol_pct"]}),
        ("organic or not, it is the same for me", "filter", {"drop": ["organic"]}),
        ("a bit stronger than the third one, does it exist?", "filter", than("alcohol_pct", ">", 3)),
        (
            "order by alcohol, strongest on top",
            "filter",
            {"sort": {"column": "alcohol_pct", "descending": True}},
        ),
    ],
)
def test_reply_speaks_of_countries_kinds_and_strength(
    wines: Shop, say: str, name: str, arguments: dict[str, Any]
) -> None:
    assert said(wines.act(say, "w001", "w002", "w003", "w004")) == (name, arguments)


@pytest.mark.parametrize(
    ("say", "name", "arguments"),
    [
        ("too heavy", "filter", than("weight_g", "<")),
        ("as light as possible", "filter", {"sort": {"column": "weight_g", "descending": False}}),
        (
            "boots in size forty two",
            "search",
            {"filters": [*is_("department", "boot")["filters"], *is_("size", "42")["filters"]]},
        ),
        ("no need for waterproof", "filter", {"drop": ["waterproof"]}),
        ("something like it but with more litres", "modify", than("capacity_l", ">")),
    ],
)
def test_reply_speaks_of_measures(outdoors: Shop, say: str, name: str, arguments: dict[str, Any]) -> None:
    focus = ["p2"] if " it " in say else []
    assert said(outdoors.act(say, "p0", "p1", "p2", focus=focus)) == (name, arguments)


def test_order_is_turned_round_and_what_was_had_comes_back(shop: Shop) -> None:
    turns = shop.talk("mugs", "cheapest first", "the other way round", "teal lamps", "no, back to the mugs I had")
    assert turns[2].act["arguments"] == {"sort": {"column": "price", "descending": True}}
    assert turns[4].act["name"] == "undo"
    assert {hit.fields["category"] for hit in turns[4].shown} == {"mug"}
