"""Metadata fields to texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pinembed.catalogue.captions import Captioner, make_captioner
from pinembed.errors import DataError, UsageError
from pinembed.nouns.item import Catalogue, FieldValue, Item


def item(**fields: FieldValue) -> Item:
    return Item(id="a", file_name="a.png", path=Path("a.png"), fields=fields)


def catalogue(*columns: str) -> Catalogue:
    schema = pa.schema([(name, pa.string()) for name in columns])
    return Catalogue(root=Path("shop"), items=(), schema=schema, metadata=Path("shop/metadata.csv"))


def test_caption_joins_the_fields_in_order_and_leaves_missing_values_out() -> None:
    captioner = Captioner(fields=("title", "color", "tags", "price"))
    assert captioner.caption(item(title="A mug.", color=None, tags=["tea", "gift"], price=12.5)) == (
        "A mug. tea, gift. 12.5"
    )


def test_caption_says_a_repeated_value_once() -> None:
    captioner = Captioner(fields=("label", "coarse_label"))
    assert captioner.caption(item(label="Garlic", coarse_label="Garlic")) == "Garlic"


def test_caption_of_an_item_without_values_is_empty() -> None:
    captioner = Captioner(fields=("title",))
    assert captioner.caption(item(title=None)) == ""
    assert captioner.sample(item(title=None), np.random.default_rng(0)) == ""


def test_sampled_phrasings_differ_and_hold_only_the_items_words() -> None:
    captioner = Captioner(fields=("title", "color", "material"))
    mug = item(title="Tall mug", color="red", material="clay")
    rng = np.random.default_rng(0)
    phrasings = {captioner.sample(mug, rng) for _ in range(200)}
    assert {"Tall mug", "red", "clay", captioner.caption(mug)} < phrasings
    assert len(phrasings) > 10
    spoken = {word.strip(".,") for phrasing in phrasings for word in phrasing.split()}
    assert spoken == {"Tall", "mug", "red", "clay"}


def test_a_long_text_is_sometimes_shown_by_the_sentence() -> None:
    captioner = Captioner(fields=("description",))
    text = "A mug for tea and coffee. It is made of red clay by hand. Wash it with care and warm water only."
    rng = np.random.default_rng(0)
    shown = {captioner.sample(item(description=text), rng) for _ in range(100)}
    assert "It is made of red clay by hand." in shown
    assert text in shown or text.rstrip(".") in shown


def test_the_usual_columns_are_chosen_where_none_is_named() -> None:
    assert make_captioner(catalogue("price", "description", "title")).fields == ("title", "description")


def test_an_unknown_text_column_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"--text names titel, which .*metadata.csv does not have; its columns are title"
    ):
        make_captioner(catalogue("title"), ["titel"])


def test_metadata_without_a_usual_column_asks_for_names() -> None:
    with pytest.raises(DataError, match=r"has no column of a usual name .* its columns are sku, weight"):
        make_captioner(catalogue("sku", "weight"))


def test_numbers_are_said_as_thirds_of_the_catalogue() -> None:
    items = tuple(item(title="mug", price=float(price)) for price in (1, 2, 3, 10, 11, 12, 50, 60, 70))
    schema = pa.schema([("title", pa.string()), ("price", pa.float64())])
    shop = Catalogue(root=Path("shop"), items=items, schema=schema, metadata=Path("shop/metadata.csv"))
    captioner = make_captioner(shop, ["title", "price"])
    assert [captioner.caption(items[place]) for place in (0, 4, 8)] == [
        "mug. low price",
        "mug. medium price",
        "mug. high price",
    ]
    assert captioner.caption(item(title="mug", price=None)) == "mug"
