"""Metadata fields to texts."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pinembed.catalogue.captions import Captioner, make_captioner, parse_template
from pinembed.catalogue.class_labels import are_class_numbers
from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.parquet_shards import scan_parquets
from pinembed.catalogue.shards import Shard
from pinembed.catalogue.shorten import shorten
from pinembed.encoder.context import Context
from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.fusion import write_fusion
from pinembed.errors import DataError, UsageError
from pinembed.nouns.encoder_spec import make_fusion
from pinembed.nouns.item import Catalogue, FieldValue, Item
from tests.conftest import write_catalogue
from tests.families import FAMILIES, VIT, Family, clip, write_bert_tokenizer, write_family


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
    ) as refused:
        make_captioner(catalogue("title"), ["titel"])
    assert refused.value.remedy == "Did you mean title?"
    with pytest.raises(UsageError, match=r"its columns are c0, .*, c29 and 10 more") as refused:
        make_captioner(catalogue(*(f"c{number}" for number in range(40))), ["zzz"])
    assert refused.value.remedy == "Name columns of the metadata, separated by commas."


def test_metadata_without_a_usual_column_asks_for_names() -> None:
    with pytest.raises(DataError, match=r"has no column of a usual name .* its columns are sku, weight"):
        make_captioner(catalogue("sku", "weight"))


def test_numbers_are_said_as_thirds_of_the_catalogue() -> None:
    items = tuple(item(title="mug", price=float(price)) for price in (1, 2, 3, 10, 11, 12, 50, 60, 70))
    schema = pa.schema([("title", pa.string()), ("price", pa.float64())])
    shop = Catalogue(root=Path("shop"), items=items, schema=schema, metadata=Path("shop/metadata.csv"))
    captioner = make_captioner(shop, ["title", "price"])
    assert [captioner.caption(items[index]) for index in (0, 4, 8)] == [
        "mug. low price",
        "mug. medium price",
        "mug. high price",
    ]
    assert captioner.caption(item(title="mug", price=None)) == "mug"


def test_missing_numbers_of_any_kind_are_left_out() -> None:
    captioner = Captioner(fields=("title", "price", "sizes"), levels={"price": (5.0, 10.0)})
    assert captioner.caption(item(title="mug", price=float("nan"), sizes=[None, float("nan"), 3])) == "mug. 3"


def test_what_is_true_is_said_by_the_name_of_its_column() -> None:
    captioner = Captioner(fields=("title", "dishwasher_safe"))
    assert captioner.caption(item(title="mug", dishwasher_safe=True)) == "mug. dishwasher safe"
    assert captioner.caption(item(title="mug", dishwasher_safe=False)) == "mug"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"color": "red", "title": "mug", "category": "kitchen"}, "a red mug in clay, kitchen (new)"),
        ({"title": "mug", "category": "kitchen"}, "a mug, kitchen (new)"),
        ({"color": "red", "title": "mug"}, "a red mug"),
        ({"title": "mug", "material": "clay"}, "a mug in clay"),
        ({"category": "kitchen"}, "kitchen (new)"),
        ({"material": "clay"}, "in clay"),
        ({}, ""),
    ],
)
def test_a_template_drops_what_belongs_to_missing_values(values: dict[str, str], sentence: str) -> None:
    template = parse_template("a {color} {title} in {material}, {category} (new)")
    said = {"material": "clay" if "category" in values and "color" in values else "", **values}
    assert template.filled(said) == sentence


def test_a_template_makes_the_caption_and_training_drops_some_of_its_fields() -> None:
    shop = catalogue("title", "color", "category")
    captioner = make_captioner(shop, template="a {color} {title}, {category}")
    assert captioner.told == ("a {color} {title}, {category}",)
    mug = item(title="mug", color="red", category="kitchen")
    assert captioner.caption(mug) == "a red mug, kitchen"
    rng = np.random.default_rng(0)
    phrasings = {captioner.sample(mug, rng) for _ in range(200)}
    assert phrasings == {"a red mug, kitchen", "a red mug", "a mug, kitchen", "a red, kitchen", "mug", "red", "kitchen"}


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("a {colour} {title}", r"--template names colour, which .*metadata.csv does not have; its columns are title"),
        ("a {title", r"its braces do not fit"),
        ("a mug", r"it names no column"),
        ("{}", r"a gap holds something other than the name of a column"),
        ("{title:>5}", r"a gap holds something other than the name of a column"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(template: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_captioner(catalogue("title"), template=template)


def test_a_template_beside_named_columns_is_refused() -> None:
    with pytest.raises(UsageError, match="--text and --template both say"):
        make_captioner(catalogue("title"), ["title"], template="{title}")


def test_heavier_fields_are_spoken_more_often() -> None:
    captioner = make_captioner(catalogue("title", "label"), ["title=3", "label"])
    assert (captioner.fields, captioner.told) == (("title", "label"), ("title=3", "label=1"))
    rng = np.random.default_rng(0)
    spoken = [captioner.sample(item(title="mug", label="red"), rng) for _ in range(2000)]
    assert spoken.count("mug") / spoken.count("red") == pytest.approx(3, rel=0.2)
    assert make_captioner(catalogue("title", "a=3"), ["a=3"]).fields == ("a=3",)


@pytest.mark.parametrize("weight", ["0", "-1", "many", "", "inf", "nan"])
def test_a_weight_that_is_none_is_refused(weight: str) -> None:
    with pytest.raises(UsageError, match=r"as a weight; wanted a number above 0"):
        make_captioner(catalogue("title"), [f"title={weight}"])


def test_training_speaks_some_of_the_tags_and_evaluation_all() -> None:
    captioner = Captioner(fields=("tags",))
    mug = item(tags=["tea", "gift", "blue"])
    rng = np.random.default_rng(0)
    spoken = {captioner.sample(mug, rng) for _ in range(200)}
    assert captioner.caption(mug) == "tea, gift, blue"
    assert {"tea, gift, blue", "tea", "gift", "blue", "tea, blue"} <= spoken
    assert "blue, tea" not in spoken


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_and_numbers_of_jsonl_and_parquet_become_text(tmp_path: Path, kind: str) -> None:
    rows = [
        {"file_name": f"{index}.png", "title": "mug", "tags": tags, "price": price, "new": index == 0}
        for index, (tags, price) in enumerate([(["tea", "gift"], 1.0), ([], None), (None, 90.0)])
    ]
    for row in rows:
        (tmp_path / row["file_name"]).write_bytes(b"")
    if kind == "jsonl":
        (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    else:
        pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    shop = read_catalogue(tmp_path)
    captioner = make_captioner(shop, ["title", "tags", "price", "new"])
    assert [captioner.caption(found) for found in shop] == ["mug. tea, gift. low price. new", "mug", "mug. high price"]


def numbered(values: list[FieldValue], column: str = "label") -> Catalogue:
    items = tuple(item(**{column: value}) for value in values)
    return Catalogue(root=Path("s"), items=items, schema=pa.schema([(column, pa.int64())]), metadata=Path("s/m.jsonl"))


@pytest.mark.parametrize(
    ("column", "values", "texts"),
    [
        ("label", [k % 7 for k in range(40)], [f"label {k}" for k in range(7)]),
        ("label_id", [10 * (k % 3) for k in range(12)], ["label id 0", "label id 10", "label id 20"]),
        ("label", [0.0, 1.0, None, 1.0, 0.0], ["label 0", "label 1"]),
        ("species", [k % 4 for k in range(16)], [f"species {k}" for k in range(4)]),
        ("price", [k % 4 for k in range(16)], ["high price", "low price", "medium price"]),
        ("net_weight", [k % 5 for k in range(20)], ["high net weight", "low net weight", "medium net weight"]),
        ("euros", [5 + 10 * (k % 6) for k in range(60)], ["high euros", "low euros", "medium euros"]),
        ("label", list(range(9)), ["high label", "low label", "medium label"]),
    ],
)
def test_class_numbers_are_names_and_quantities_are_quantities(column, values, texts) -> None:
    found = numbered(values, column)
    captioner = make_captioner(found, [column])
    assert sorted({captioner.caption(one) for one in found} - {""}) == texts
    assert [note.startswith(f"{column} ") for note in captioner.notes()] == [True]


def test_the_user_decides_what_numbers_are() -> None:
    found = numbered([k % 4 for k in range(16)])
    as_number, as_name = (make_captioner(found, [asked]) for asked in ("label:number=2", "label:name"))
    assert {as_number.caption(one) for one in found} == {"low label", "medium label", "high label"}
    assert as_name.caption(found.items[3]) == "label 3"
    assert (as_number.told, as_name.told) == (("label:number",), ("label:name",))
    assert as_number.notes() == as_name.notes() == []


def test_class_labels_of_hugging_face_are_their_names(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "file_name": {"dtype": "string"}}
    schema = pa.schema(
        [("file_name", pa.string()), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [{"file_name": f"{index}.png", "label": label} for index, label in enumerate((1, 0, -1, None))]
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "metadata.parquet")
    for row in rows:
        (tmp_path / row["file_name"]).write_bytes(b"")
    shop = read_catalogue(tmp_path)
    assert [one.fields["label"] for one in shop] == ["dog", "cat", None, None]
    assert make_captioner(shop).caption(shop.items[0]) == "dog"


def test_class_labels_in_parquet_with_images_are_their_names(tmp_path: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    schema = pa.schema(
        [("image", image), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [{"image": {"bytes": b"x", "path": "a"}, "label": label} for label in (1, 0, -1)]
    path = tmp_path / "train.parquet"
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    scan = scan_parquets([Shard(file_name=path.name, path=path)], None)
    assert [candidate.fields["label"] for candidate in scan.candidates] == ["dog", "cat", None]
    assert scan.schema.field("label").type == pa.string()


def words_fit(most: int) -> Callable[[str], bool]:
    return lambda text: len(text.split()) <= most


LONG = "A mug for tea. It is made of red clay by hand. Wash it with care."


@pytest.mark.parametrize(
    ("most", "caption"),
    [
        (99, f"mug. {LONG[:-1]}. red"),
        (14, "mug. A mug for tea. It is made of red clay by hand. red"),
        (6, "mug. A mug for tea. red"),
        (3, "mug. red"),
    ],
)
def test_short_fields_are_whole_before_the_first_sentences_of_a_long_one(most, caption) -> None:
    captioner = Captioner(fields=("title", "description", "color"), fits=words_fit(most))
    assert captioner.caption(item(title="mug", description=LONG, color="red")) == caption


def test_a_description_that_would_be_cut_speaks_sentence_by_sentence() -> None:
    captioner = Captioner(fields=("title", "description"), fits=words_fit(9))
    rng = np.random.default_rng(0)
    spoken = {captioner.sample(item(title="mug", description=LONG), rng) for _ in range(300)}
    assert {"It is made of red clay by hand.", "Wash it with care.", "A mug for tea."} <= spoken
    assert all(words_fit(9)(text) for text in spoken)


def test_texts_that_are_cut_or_become_equal_are_counted(tiny_encoder) -> None:
    context = Context(load_encoder(str(tiny_encoder)).tokenizer)
    start = "a very long product description that says nothing at all " * 8
    items = [item(text=f"{start}number {k}", title="mug") for k in range(60)] + [item(text="a mug", title="red")]
    captioner, note = shorten(Captioner(fields=("text",)), [context], items)
    assert note == (
        "60 of 61 texts are longer than the 16 tokens that the encoder reads: 0 are shortened to whole fields and "
        "sentences, 60 are cut; 59 become equal to another one. Name short columns first with --text."
    )
    both, note = shorten(Captioner(fields=("text", "title")), [context], items)
    assert both.caption(items[3]) == "mug"
    assert "60 are shortened to whole fields and sentences, 0 are cut" in note
    assert shorten(captioner, [context], items[60:])[1] == ""


def write_tokenizer_with_ends(folder: Path) -> None:
    write_bert_tokenizer(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": "[CLS]", "eos_token": "[SEP]"}))


META_CLIP_2 = Family(
    model_cfg=clip(VIT, {"hf_tokenizer_name": "{folder}", "tokenizer_mode": "clips"}), write=write_tokenizer_with_ends
)
"""open_clip adds the tokens of begin, end and class itself."""


@pytest.mark.parametrize(
    "family", [*(FAMILIES[name] for name in ("ViT", "SigLIP", "text tower of transformers (BERT)")), META_CLIP_2]
)
def test_tokens_are_counted_as_the_encoders_tokenizer_makes_them(tmp_path, family) -> None:
    context = Context(load_encoder(str(write_family(tmp_path / "base", family))).tokenizer)
    assert context.places == 24
    words = ["a", "red", "mug", "circle"] * 10
    edge = next(count for count in range(1, 40) if context.count(" ".join(words[:count])) > 24) - 1
    whole, longer = " ".join(words[:edge]), " ".join(words[: edge + 1])
    assert context.fits(whole)
    assert not context.fits(longer)
    assert context.distinct([whole, longer, f"{longer} red"]) == 1, "what is behind the context is not read"
    assert context.distinct([whole, " ".join(words[: edge - 1])]) == 2


def test_finetune_and_evaluate_tell_of_texts_that_are_cut(cli, tiny_encoder, tmp_path) -> None:
    data = write_catalogue(tmp_path / "data", views=5)
    rows = (data / "metadata.csv").read_text(encoding="utf-8").replace("A red", "A very " + "long " * 20 + "red")
    (data / "metadata.csv").write_text(rows, encoding="utf-8")
    words = r"2 of 8 texts are longer than the 16 tokens that the encoder reads: .* 2 are cut; 1 become equal"
    asked = ("--text", "title", "--group", "color")
    for command in (
        ("finetune", data, "--base", tiny_encoder, "--out", tmp_path / "o", "--epochs", "1"),
        ("evaluate", data, "--encoder", tiny_encoder),
    ):
        assert re.search(words, cli(*command, *asked).words)


def test_evaluate_tells_of_texts_in_items_that_are_cut(cli, tiny_encoder, tmp_path) -> None:
    """Those of a fused encoder stand alone, and no caption is shortened on their behalf."""
    data = write_catalogue(tmp_path / "data")
    rows = (data / "metadata.csv").read_text(encoding="utf-8").replace("A red", "A very " + "long " * 20 + "red")
    (data / "metadata.csv").write_text(rows, encoding="utf-8")
    fused = shutil.copytree(tiny_encoder, tmp_path / "fused")
    write_fusion(fused, make_fusion({"image": 0.9, "title": 0.1}))
    found = cli("evaluate", data, "--encoder", tiny_encoder, "--against", fused, "--text", "color")
    told = r"fused: texts in items' vectors: 2 of 8 texts are longer than the 16 tokens .* 2 are cut; 1 become equal"
    assert re.search(told, found.words)
    assert found.words.count("are cut") == 1


def test_search_tells_of_a_query_that_is_cut(cli, tiny_encoder, tmp_path) -> None:
    data, table = write_catalogue(tmp_path / "data"), tmp_path / "db/t"
    assert cli("encode", data, "--table", table, "--encoder", tiny_encoder, "--quiet").exit_code == 0
    found = cli("search", "--table", table, "a very " + "long " * 20 + "query")
    assert "The query is 25 tokens long; the encoder reads the first 16." in found.words
    assert "tokens" not in cli("search", "--table", table, "a mug").words


def test_a_template_is_shortened_and_counted_as_joined_fields_are(tiny_encoder) -> None:
    captioner = Captioner(
        fields=("color", "title", "description"),
        template=parse_template("a {color} {title}: {description}"),
        fits=words_fit(9),
    )
    mug = item(color="red", title="mug", description=LONG)
    assert captioner.caption(mug) == "a red mug: A mug for tea."
    assert dataclasses.replace(captioner, fits=words_fit(5)).caption(mug) == "a red mug"
    rng = np.random.default_rng(0)
    assert all(words_fit(9)(captioner.sample(mug, rng)) for _ in range(100))
    context = Context(load_encoder(str(tiny_encoder)).tokenizer)
    _, note = shorten(dataclasses.replace(captioner, fits=None), [context], [mug])
    assert note.startswith("1 of 1 texts are longer than the 16 tokens that the encoder reads: 1 are shortened")


def test_cut_texts_are_counted_over_batches(tiny_encoder) -> None:
    from pinembed.encoder.context import CutCount

    count = CutCount(context=Context(load_encoder(str(tiny_encoder)).tokenizer))
    start = "a very long product description that says nothing at all " * 8
    for batch in range(2):
        count.add([*(f"{start}number {k}" for k in range(3 * batch, 3 * batch + 3)), "mug"])
    assert count.told("Do so.") == (
        "6 of 8 texts are longer than the 16 tokens that the encoder reads: 0 are shortened to whole fields and "
        "sentences, 6 are cut; 5 become equal to another one. Do so."
    )


@pytest.mark.parametrize(
    ("column", "values", "is_class"),
    [
        ("zip", [10115, 20095, 80331] * 5, True),
        ("PostCode", [1010, 8001] * 5, True),
        ("n_items", [1, 2, 3] * 5, False),
        *((name, [1, 2, 3, 4, 5] * 5, False) for name in ("bedrooms", "players_max", "gears", "doors")),
    ],
)
def test_postal_codes_are_names_and_counts_are_quantities(column, values, is_class) -> None:
    assert are_class_numbers(column, values) is is_class


def test_a_fraction_among_class_numbers_is_said_whole() -> None:
    found = numbered([38.0, 38.5, 39.0])
    captioner = make_captioner(found, ["label:name"])
    assert [captioner.caption(one) for one in found] == ["label 38", "label 38.5", "label 39"]
