"""Questions from metadata: which columns, which answers, and the linear probe that they are compared with."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from pinembed.catalogue.captions import Captioner
from pinembed.metrics.probes import probe_accuracy
from pinembed.nouns.item import Item
from pinembed.trimmed.questions import COMPARE, DESCRIBE, QuestionMaker, choose_fields

COLOURS, SHAPES = ("red", "green", "blue"), ("circle", "square")


def item(number: int = 0, **fields: object) -> Item:
    return Item(id=f"i{number}", file_name=f"{number}.png", path=Path(f"{number}.png"), fields=fields)


SHOP_ITEMS = [
    item(number, color=COLOURS[number % 3], shape=SHAPES[number % 2], title=f"Nr {number}", price=1.5, note=None)
    for number in range(30)
]


def test_questions_choose_columns_of_short_values_that_repeat() -> None:
    assert choose_fields(SHOP_ITEMS, SHOP_ITEMS, wanted=(), origin=Path("data")) == ["color", "shape"]


def test_questions_leave_out_a_column_whose_held_out_values_are_new() -> None:
    held_out = [item(1, color="violet", shape="circle", title="x", price=1.0, note=None)]
    assert choose_fields(SHOP_ITEMS, held_out, wanted=(), origin=Path("data")) == ["shape"]


def test_questions_are_answered_by_the_fields() -> None:
    maker = QuestionMaker(SHOP_ITEMS, ["color", "shape"])
    dialogues = maker.epoch(0)
    assert len(dialogues) == 3 * len(SHOP_ITEMS)
    for dialogue in dialogues:
        colors = [SHOP_ITEMS[row].fields["color"] for row in dialogue.rows]
        shapes = [SHOP_ITEMS[row].fields["shape"] for row in dialogue.rows]
        values = colors if "color" in dialogue.question.lower() else shapes
        if dialogue.question.startswith("What are the "):
            named = dialogue.question.removeprefix("What are the ").removesuffix(" of this item?").split(" and ")
            assert dialogue.answer == "; ".join({"color": colors, "shape": shapes}[name][0] for name in named)
        elif dialogue.question == DESCRIBE:
            assert dialogue.answer == f"color: {colors[0]}; shape: {shapes[0]}"
        elif dialogue.question in {COMPARE.format(field=field) for field in ("color", "shape")}:
            verdict = "yes" if values[0] == values[1] else "no"
            assert dialogue.answer == f"{values[0]} and {values[1]}: {verdict}"
        elif dialogue.question.startswith("Is the "):
            verdict = "yes" if f" {values[0]}?" in dialogue.question else "no"
            assert dialogue.answer == f"{values[0]}: {verdict}"
        else:
            assert dialogue.answer == values[0]


def test_questions_of_an_epoch_depend_on_seed_and_epoch_alone() -> None:
    maker, same = QuestionMaker(SHOP_ITEMS, ["color"], seed=1), QuestionMaker(SHOP_ITEMS, ["color"], seed=1)
    maker.epoch(0)
    assert maker.epoch(5) == same.epoch(5)
    assert maker.epoch(5) != maker.epoch(6)


def test_questions_pass_over_missing_values() -> None:
    items = [item(0, color="red", shape=None), item(1, color=None, shape="circle"), item(2, color="red", shape=None)]
    maker = QuestionMaker(items, ["color", "shape"])
    assert [dialogue.rows for dialogue in maker.plain_questions("shape")] == [(1,)]
    assert all("None" not in dialogue.answer and dialogue.answer for dialogue in maker.epoch(0))


def test_probe_reads_what_is_linear_and_only_that() -> None:
    generator = torch.Generator().manual_seed(0)
    rows_ND = torch.randn(300, 8, generator=generator)
    linear = ["up" if row[0] > 0 else "down" for row in rows_ND.tolist()]
    drawn = random.Random(0)
    chance = [drawn.choice(["up", "down"]) for _ in range(300)]
    parts = (slice(0, 200), slice(200, 240), slice(240, 300))

    def probe(values: list[str]) -> float:
        return probe_accuracy(*(argument for part in parts for argument in (rows_ND[part], values[part])))  # type: ignore[arg-type]

    assert probe(linear) >= 0.9
    assert probe(chance) <= 0.7


def test_questions_say_a_value_as_captions_do_and_pass_over_what_is_not_a_number() -> None:
    items = [
        item(0, price=12.5, tags=["tea", None, " gift\nbox"]),
        item(1, price=float("nan"), tags=[float("nan")]),
        item(2, price=None, tags=None),
    ]
    maker = QuestionMaker(items, ["price", "tags"])
    captioner = Captioner(fields=("price", "tags"))
    assert maker.values_of == {"price": ["12.5", "", ""], "tags": ["tea, gift box", "", ""]}
    assert [captioner.caption(one) for one in items] == ["12.5. tea, gift box", "", ""]
