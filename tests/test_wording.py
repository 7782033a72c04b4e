"""How catalogues write values, and how captions say them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pinembed.catalogue.captions import Captioner, make_captioner
from pinembed.catalogue.wording import path_separator, plain, shortest_names
from pinembed.nouns.item import Catalogue, FieldValue, Item

TREE = ["Men > Tops > Tees", "Men > Tops > Polos", "Men > Shoes > Boots", "Women > Tops > Tees"]


def item(**fields: FieldValue) -> Item:
    return Item(id="a", file_name="a.png", path=Path("a.png"), fields=fields)


def captioner_of(*rows: dict[str, FieldValue], text: tuple[str, ...]) -> Captioner:
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    items = tuple(item(**row) for row in rows)
    return make_captioner(Catalogue(root=Path("s"), items=items, schema=schema, metadata=Path("s/m.csv")), text)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<p>A <b>red</b> mug</p><ul><li>clay</li><li>330&nbsp;ml</li></ul>", "A red mug. clay. 330 ml"),
        ("Black &amp; White", "Black & White"),
        ("&lt;p&gt;Twice escaped&lt;/p&gt;", "Twice escaped"),
        ("<style>p {color: red}</style>Soft wool<br/>Made by hand!<br>", "Soft wool. Made by hand!"),
        ("R&D for size <M>, a < b > c", "R&D for size <M>, a < b > c"),
        ("マグカップ、赤い。陶器", "マグカップ、赤い。陶器"),
        ("  two  spaces ", "  two  spaces "),
    ],
)
def test_markup_is_left_out_and_words_stay(written: str, said: str) -> None:
    assert plain(written) == said


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (TREE, ">"),
        ([path.replace(" > ", "/") for path in TREE], "/"),
        ([path.replace(">", "&gt;") for path in TREE], ">"),
        (["black/white", "black/red", "black/blue", "white/black"], None),
        (["S/M", "M/L", "L/XL"], None),
        (["1/2", "1/4", "3/4"], None),
        (["https://a.org/x", "https://a.org/y", "https://a.org/z"], None),
        (["a red mug", "a blue mug and/or cup", "a green mug"], None),
    ],
)
def test_only_columns_whose_values_make_a_tree_are_paths(values: list[str], separator: str | None) -> None:
    assert path_separator(values) == separator


def test_a_path_is_said_from_its_last_level_up_and_called_by_it() -> None:
    captioner = captioner_of(*({"category": path} for path in TREE), text=("category",))
    rng = np.random.default_rng(0)
    tees = item(category=TREE[0])
    assert captioner.caption(tees) == "Tees, Tops, Men"
    assert captioner.name(tees, rng) == "Tees"
    assert {captioner.sample(tees, rng) for _ in range(200)} >= {"Tees", "Tops", "Men", "Tees, Tops, Men"}


def test_groups_that_are_paths_are_asked_for_by_as_many_levels_as_tell_them_apart() -> None:
    assert shortest_names(TREE, ">") == ["Tees, Tops, Men", "Polos", "Boots", "Tees, Tops, Women"]
    captioner = captioner_of(*({"title": "x", "category": path} for path in TREE), text=("title",))
    assert captioner.group_names("category", TREE[1:3]) == ["Polos", "Boots"]
    assert captioner.group_names("title", ["Men > Tops"]) == ["Men > Tops"]


def test_caption_leaves_out_a_field_whose_words_were_said_before() -> None:
    captioner = Captioner(fields=("title", "brand", "color"))
    assert captioner.caption(item(title="Acme Tall Mug", brand="ACME", color="red")) == "Acme Tall Mug. red"
    assert captioner.caption(item(title="Apple pie", brand="App", color="pie.")) == "Apple pie. App"


def test_fields_that_say_the_same_are_drawn_as_one() -> None:
    captioner = Captioner(fields=("title", "label", "color"))
    rng = np.random.default_rng(0)
    drawn = [captioner.sample(item(title="Mug", label="mug.", color="red"), rng) for _ in range(600)]
    alone = [text for text in drawn if text in {"Mug", "mug.", "red"}]
    assert "mug." not in alone
    assert 0.4 < alone.count("red") / len(alone) < 0.6


def test_sayings_are_all_that_is_true_of_an_item_piece_by_piece() -> None:
    captioner = Captioner(fields=("title", "tags", "price", "new"), levels={"price": (5.0, 10.0)})
    said = captioner.sayings(item(title="A mug", tags=["tea", "gift"], price=3.0, new=True))
    assert said == {"A mug", "tea, gift", "tea", "gift", "low price", "new", "A mug. tea, gift. low price. new"}
