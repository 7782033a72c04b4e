"""Numbers with a catalogue's own nouns become conditions on the columns that count these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.assistant_material import Shop, make_table

TOYS = {
    "kind": ["puzzle", "board game", "card game", "puzzle"],
    "age_from_years": [3, 6, 8, 10],
    "players_max": [1, 4, 6, 2],
    "pieces_count": [100, 500, 1000, 48],
    "price_eur": [12.5, 20.0, 35.0, 8.0],
}
WINES = {
    "kind": ["red wine", "white wine", "whisky", "red wine"],
    "country": ["France", "Italy", "Scotland", "Spain"],
    "organic": [True, False, True, False],
    "alcohol_pct": [12.5, 11.0, 43.0, 14.0],
    "volume_ml": [750, 375, 700, 1500],
    "price_eur": [12.0, 9.5, 48.0, 22.0],
}
LAPTOPS = {
    "brand": ["Acer", "Dell", "Acer", "Dell"],
    "ram_gb": [8, 16, 32, 16],
    "storage_gb": [256, 512, 1024, 512],
    "battery_h": [6, 9, 14, 11],
    "price_usd": [500.0, 900.0, 1500.0, 1200.0],
}
CARS = {
    "kind": ["suv", "sedan", "suv", "sedan"],
    "mileage_km": [20_000, 90_000, 150_000, 60_000],
    "doors": [5, 3, 5, 2],
    "seats": [5, 4, 7, 4],
    "year": [2021, 2015, 2008, 2018],
    "price_eur": [20_000.0, 9000.0, 4000.0, 15_000.0],
}
FLATS = {
    "district": ["Altona", "Mitte", "Altona", "Mitte"],
    "rooms": [1, 2, 3, 4],
    "area_m2": [30, 55, 80, 120],
    "price_eur": [500.0, 800.0, 1100.0, 1900.0],
}
BICYCLES = {
    "kind": ["road bike", "city bike", "road bike", "city bike"],
    "gears": [21, 7, 24, 3],
    "top_speed_kmh": [40, 25, 45, 20],
    "price_gbp": [900.0, 400.0, 1500.0, 300.0],
}
TABLES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "toys": TOYS,
    "wines": WINES,
    "laptops": LAPTOPS,
    "cars": CARS,
    "flats": FLATS,
    "bicycles": BICYCLES,
}


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shop]:
    return {name: Shop(make_table(tmp_path_factory.mktemp(name), rows_of(table))) for name, table in TABLES.items()}


def rows_of(table: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every row three times, so that values repeat."""
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)] * 3
    return [{"id": f"item{number}", "title": f"Item {number}", **row} for number, row in enumerate(rows)]


def limits(act: Mapping[str, Any]) -> set[tuple[str, str, float]]:
    filters = act["arguments"].get("filters", [])
    return {(one["column"], one["op"], one["values"][0]) for one in filters if one["op"] not in {"in", "not in"}}


def exactly(column: str, number: float) -> set[tuple[str, str, float]]:
    return {(column, ">=", number), (column, "<=", number)}


@pytest.mark.parametrize(
    ("table", "say", "wanted"),
    [
        ("toys", "a game for at least 4 players", {("players_max", ">=", 4)}),
        ("toys", "a board game for 4 players", {("players_max", ">=", 4)}),
        ("toys", "games for 6 people", {("players_max", ">=", 6)}),
        ("toys", "board games for 4", {("players_max", ">=", 4)}),
        ("toys", "up to 4 players", {("players_max", "<=", 4)}),
        ("toys", "puzzles with 1000 pieces or more", {("pieces_count", ">=", 1000)}),
        ("toys", "a puzzle with more than 400 bits", {("pieces_count", ">", 400)}),
        ("toys", "a 500 piece puzzle", exactly("pieces_count", 500)),
        ("toys", "max 50 pieces", {("pieces_count", "<=", 50)}),
        ("toys", "for ages 6 and up", {("age_from_years", ">=", 6)}),
        ("toys", "from age 3", {("age_from_years", ">=", 3)}),
        ("toys", "a puzzle for my 5-year-old", {("age_from_years", "<=", 5)}),
        ("toys", "for 3 year olds under 20 euros", {("age_from_years", "<=", 3), ("price_eur", "<", 20)}),
        ("toys", "my son is 4", {("age_from_years", "<=", 4)}),
        ("toys", "my twins are 3", {("age_from_years", "<=", 3)}),
        ("toys", "for a 6yo girl", {("age_from_years", "<=", 6)}),
        ("toys", "10 years and older", {("age_from_years", ">=", 10)}),
        ("toys", "for kids aged 5 to 8", {("age_from_years", ">=", 5), ("age_from_years", "<=", 8)}),
        ("toys", "8+", {("age_from_years", ">=", 8)}),
        ("toys", "not for under 3s", {("age_from_years", ">=", 3)}),
        ("toys", "there are six of us", {("players_max", ">=", 6)}),
        ("toys", "min players 4", {("players_max", ">=", 4)}),
        ("toys", "more than 100 then", {("pieces_count", ">", 100)}),
        ("toys", "something for an 18 month old", {("age_from_years", "<=", 1.5)}),
        ("toys", "a puzzle under 20", {("price_eur", "<", 20)}),
        ("toys", "something with at least 4 wheels", set()),
        ("wines", "over 40 % abv", {("alcohol_pct", ">", 40)}),
        ("wines", "at least 12% alcohol", {("alcohol_pct", ">=", 12)}),
        ("wines", "stronger than 14 %", {("alcohol_pct", ">", 14)}),
        ("wines", "a 750ml bottle", exactly("volume_ml", 750)),
        ("wines", "a litre and a half or more", {("volume_ml", ">=", 1500)}),
        ("laptops", "at least 16 gb ram", {("ram_gb", ">=", 16)}),
        ("laptops", "at least 512 gb", {("storage_gb", ">=", 512)}),
        ("laptops", "1 tb storage", exactly("storage_gb", 1024)),
        ("laptops", "more than 10 hours battery", {("battery_h", ">", 10)}),
        ("cars", "5 door suv under 20000", {*exactly("doors", 5), ("price_eur", "<", 20_000)}),
        ("cars", "a 7 seater", exactly("seats", 7)),
        ("cars", "less than 80000 km", {("mileage_km", "<", 80_000)}),
        ("cars", "built after 2015", {("year", ">", 2015)}),
        ("cars", "2018 or newer", {("year", ">=", 2018)}),
        ("cars", "no older than 2015", {("year", ">=", 2015)}),
        ("cars", "between 2010 and 2019", {("year", ">=", 2010), ("year", "<=", 2019)}),
        ("flats", "at least 2 rooms", {("rooms", ">=", 2)}),
        ("flats", "3-room flat under 1200", {*exactly("rooms", 3), ("price_eur", "<", 1200)}),
        ("flats", "over 60 m²", {("area_m2", ">", 60)}),
        ("flats", "at least 80 square metres", {("area_m2", ">=", 80)}),
        ("bicycles", "21 gears", exactly("gears", 21)),
        ("bicycles", "a 7 speed bike", exactly("gears", 7)),
        ("bicycles", "faster than 30 km/h", {("top_speed_kmh", ">", 30)}),
    ],
)
def test_number_before_a_column_s_own_noun_is_that_column_s(
    shops: Mapping[str, Shop], table: str, say: str, wanted: set[tuple[str, str, float]]
) -> None:
    assert limits(shops[table].act(say)) == wanted


@pytest.mark.parametrize(
    ("table", "say", "column", "op"),
    [
        ("toys", "more pieces", "pieces_count", ">"),
        ("toys", "bit too many pieces", "pieces_count", "<"),
        ("toys", "not enough pieces", "pieces_count", ">"),
        ("toys", "too old for him", "age_from_years", "<"),
        ("toys", "she's too old for that", "age_from_years", ">"),
        ("wines", "stronger", "alcohol_pct", ">"),
        ("wines", "less alcohol", "alcohol_pct", "<"),
        ("wines", "got any bigger bottles than these?", "volume_ml", ">"),
        ("laptops", "more ram", "ram_gb", ">"),
        ("cars", "lower mileage", "mileage_km", "<"),
        ("flats", "more rooms", "rooms", ">"),
        ("bicycles", "faster", "top_speed_kmh", ">"),
    ],
)
def test_comparative_finds_the_column_that_it_is_said_of(
    shops: Mapping[str, Shop], table: str, say: str, column: str, op: str
) -> None:
    found = shops[table].act(say, "item0", "item1", "item2")
    assert found["arguments"].get("relative") == [{"column": column, "op": op, "items": []}]


def test_bare_number_with_its_unit_moves_the_limit_that_there_is(shops: Mapping[str, Shop]) -> None:
    turns = shops["wines"].talk("at least 750 ml", "what about 700 ml then?")
    assert limits(turns[1].act) == {("volume_ml", ">=", 700)}


def test_classes_by_name_are_no_quantities_and_few_whole_numbers_are(shops: Mapping[str, Shop], tmp_path: Path) -> None:
    assert {"players_max", "age_from_years"} <= set(shops["toys"].vocabulary.quantities)
    rows = [{**row, "label_id": number % 3} for number, row in enumerate(rows_of(TOYS))]
    assert "label_id" not in Shop(make_table(tmp_path, rows)).vocabulary.quantities
