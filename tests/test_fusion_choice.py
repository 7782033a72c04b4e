"""Which metadata belongs into an item's vector: queries that are not the answer's own text, and a sure choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pinembed.fusion.choose import choose_fusion, find_loss, item_scores
from pinembed.fusion.eval_set import FusionEvalSet, copied_texts, field_texts, make_eval_set, text_fields
from pinembed.metrics.split_metrics import TextQueries
from pinembed.nouns.encoder_spec import make_fusion
from pinembed.nouns.item import Item

GROUPS, VIEWS, DIM = 20, 3, 24
ITEMS = GROUPS * VIEWS


def items_with(**columns: list[object]) -> list[Item]:
    count = len(next(iter(columns.values())))
    return [
        Item(
            id=str(index),
            file_name=f"{index}.png",
            path=Path(f"{index}.png"),
            fields={name: values[index] for name, values in columns.items()},
        )
        for index in range(count)
    ]


def copied(queries: list[object], fused: list[object], groups: list[int]) -> set[str]:
    items = items_with(query=queries, fused=fused)
    asked = field_texts(items, "query")
    indices = copied_texts(asked, [field_texts(items, "fused")], torch.tensor(groups))
    return {asked.texts[index] for index in indices}


def test_query_in_the_words_of_its_answer_is_a_copy() -> None:
    queries = ["Golden-Delicious", "Ginger", "Red Beet", "Kiwi"]
    fused = ["golden delicious", "Ginger Class 1", "A root, Class 1", "Sweet fruit, Class 1"]
    assert copied(list(queries), list(fused), [0, 1, 2, 3]) == {"Golden-Delicious", "Ginger"}


def test_query_in_the_words_of_another_view_of_its_answer_is_a_copy() -> None:
    assert copied(["teal mug", "grey cup", "red pot"], ["a thing", "teal mug", "a lid"], [7, 7, 8]) == {"teal mug"}


def test_word_that_a_long_title_holds_among_rarer_ones_may_still_ask() -> None:
    queries: list[object] = ["mug", "mug", "bowl", "bowl"]
    fused: list[object] = ["Floral mug, mustard", "Striped mug, teal", "Dotted bowl, grey", "Plain bowl, black"]
    assert copied(queries, fused, [0, 1, 2, 3]) == set()


def test_title_that_a_description_repeats_word_for_word_is_a_copy_and_so_is_the_description() -> None:
    titles: list[object] = ["Floral mug in mustard", "Striped bowl", "A lamp of brass"]
    descriptions: list[object] = [
        "Our finest. Floral mug in mustard, holds a generous coffee and keeps it warm for as long as one may like.",
        "It holds a salad for a family, and a generous one for two, and is at home in the dishwasher.",
        "Made of brass; a lamp that stands on its own, for the corner in which one reads until late.",
    ]
    assert copied(titles, descriptions, [0, 1, 2]) == {"Floral mug in mustard"}
    assert copied(descriptions, titles, [0, 1, 2]) == {descriptions[0]}


def test_missing_values_are_neither_queries_nor_copies() -> None:
    assert copied([None, "mug"], ["", None], [0, 1]) == set()


def test_numbers_constants_and_nearly_empty_columns_are_no_text() -> None:
    items = items_with(
        title=[f"thing {index}" for index in range(20)],
        tags=[["a", f"b{index}"] for index in range(20)],
        price=[float(index) for index in range(20)],
        shop=["the shop"] * 20,
        note=["seldom", *[None] * 19],
    )
    assert text_fields(items, ["title", "tags", "price", "shop", "note", "absent"]) == ("title", "tags")


class World:
    """Products as directions in space; images and texts of an item are its product's direction with noise."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.group_of_N = torch.arange(GROUPS).repeat_interleave(VIEWS)
        self.product_GD = self.directions(GROUPS)

    def directions(self, rows: int) -> Tensor:
        return normalize(torch.randn(rows, DIM, generator=self.rng), dim=1)

    def around_products(self, noise: float, lean_D: Tensor | None = None) -> Tensor:
        noisy_ND = self.product_GD[self.group_of_N] + noise * self.directions(ITEMS)
        return normalize(noisy_ND if lean_D is None else noisy_ND + lean_D, dim=1)

    def eval_set(self, image_ND: Tensor, texts: dict[str, Tensor]) -> FusionEvalSet:
        every_N = torch.arange(ITEMS)
        return FusionEvalSet(
            image_ND=image_ND,
            group_of_N=self.group_of_N,
            caption_of_N=torch.full((ITEMS,), -1),
            parts={name: text_ND.numpy() for name, text_ND in texts.items()},
            queries={name: TextQueries(text_TD=text_ND, text_of_N=every_N) for name, text_ND in texts.items()},
        )


def test_text_that_asks_does_not_meet_itself() -> None:
    world = World()
    eval_set = world.eval_set(world.directions(ITEMS), {"title": world.directions(ITEMS)})
    fused, alone = eval_set.search(make_fusion({"image": 0.5, "title": 0.5})), eval_set.search(None)
    assert torch.equal(fused.text.values_QM, alone.text.values_QM)
    itself = eval_set.items(make_fusion({"image": 0.5, "title": 0.5})) @ eval_set.queries["title"].text_TD.T
    assert itself.argmax(0).eq(torch.arange(ITEMS)).float().mean() > 0.9  # a dishonest figure would be near 1


def test_image_asks_bare_and_does_not_find_itself() -> None:
    world = World()
    eval_set = world.eval_set(world.around_products(0.5), {"title": world.around_products(0.1)})
    found = eval_set.search(make_fusion({"image": 0.5, "title": 0.5})).image
    assert (found.queries, found.gallery) == (ITEMS, ITEMS - 1)


def test_texts_that_tell_products_apart_are_fused() -> None:
    world = World()
    texts = {"title": world.around_products(1.0), "description": world.around_products(1.0)}
    eval_set = world.eval_set(world.around_products(1.6), texts)
    choice = choose_fusion(eval_set)
    assert choice.fusion is not None
    assert set(choice.fusion.names) == {"title", "description"}
    assert "find fused items better" in choice.reason
    assert find_loss(eval_set.search(choice.fusion), eval_set.search(None), seed=0, must_gain=True) is None


def test_texts_that_say_nothing_leave_items_their_images() -> None:
    world = World()
    eval_set = world.eval_set(
        world.around_products(0.8), {"title": world.directions(ITEMS), "note": world.directions(ITEMS)}
    )
    choice = choose_fusion(eval_set)
    assert choice.fusion is None
    assert choice.reason.startswith("Items are their images alone:")


def test_text_that_helps_texts_and_misleads_images_is_not_fused_at_their_cost() -> None:
    world = World()
    other_D = world.directions(ITEMS)  # both texts know the item, neither the product
    texts = {name: normalize(other_D + 0.1 * world.directions(ITEMS), dim=1) for name in ("title", "note")}
    eval_set = world.eval_set(world.around_products(0.3), texts)
    choice = choose_fusion(eval_set)
    if choice.fusion is not None:
        assert eval_set.search(choice.fusion).is_nowhere_below(eval_set.search(None))


def test_fusion_that_would_bury_items_without_texts_is_refused() -> None:
    world = World()
    lean_D = 8.0 * world.directions(1)[0]  # all texts lie on one side of the space, as they do in a trained one
    texts = {name: world.around_products(0.6, lean_D) for name in ("title", "note")}
    eval_set = world.eval_set(world.around_products(0.9), texts)
    choice = choose_fusion(eval_set)
    assert choice.fusion is None
    assert "where half of the items lack their texts, images find items worse" in choice.reason
    assert choice.best is not None
    assert find_loss(eval_set.search(choice.best), eval_set.search(None), seed=0, must_gain=True) is None


def test_less_of_the_texts_is_taken_where_the_best_weights_would_bury_items(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    lean_D = 6.0 * world.directions(1)[0]
    texts = {name: world.around_products(0.6, lean_D) for name in ("title", "note")}
    eval_set = world.eval_set(world.around_products(0.9), texts)
    lighter = choose_fusion(eval_set).fusion
    monkeypatch.setattr("pinembed.fusion.choose.LIGHTER", ())
    heaviest = choose_fusion(eval_set)
    assert heaviest.fusion is None
    assert heaviest.best is not None
    assert lighter is not None
    assert lighter.image > heaviest.best.image
    assert lighter.names == heaviest.best.names


def test_single_text_column_cannot_be_judged_and_is_not_fused() -> None:
    world = World()
    choice = choose_fusion(world.eval_set(world.around_products(1.0), {"title": world.around_products(0.1)}))
    assert choice.fusion is None
    assert "with title as the only text, every query would be the item's own text" in choice.reason
    assert "--text" in choice.reason


def test_items_without_any_text_stay_images() -> None:
    world = World()
    choice = choose_fusion(world.eval_set(world.around_products(1.0), {}))
    assert (choice.fusion, choice.best) == (None, None)
    assert "there is no text field beside the group's own" in choice.reason


def test_choice_is_the_same_on_every_run() -> None:
    world = World(3)
    texts = {"title": world.around_products(1.0), "description": world.around_products(0.7)}
    eval_set = world.eval_set(world.around_products(1.6), texts)
    assert choose_fusion(eval_set) == choose_fusion(eval_set)


def test_figures_name_who_asked_and_leave_out_what_judges_nothing() -> None:
    world = World()
    texts = {"title": world.around_products(0.5), "note": world.around_products(0.5)}
    scores = item_scores(
        world.eval_set(world.around_products(1.0), texts), make_fusion({"image": 0.9, "title": 0.1}), seed=0
    )
    assert scores.query_fields == ("note",)
    assert scores.fused.text_to_item is not None
    assert scores.fused.text_to_item.queries == ITEMS
    only = item_scores(
        world.eval_set(world.around_products(1.0), {"title": texts["title"]}),
        make_fusion({"image": 0.9, "title": 0.1}),
        seed=0,
    )
    assert only.fused.text_to_item is None


def test_material_embeds_texts_and_leaves_zeros_where_they_lack() -> None:
    items = items_with(title=["a mug", None, "a bowl"], note=["first", "second", ""])

    def embed_texts(texts: list[str]) -> Tensor:
        return normalize(torch.tensor([[float(len(text)), 1.0] for text in texts]).reshape(-1, 2), dim=1)

    eval_set = make_eval_set(
        items,
        normalize(torch.ones(3, 2), dim=1),
        torch.arange(3),
        torch.full((3,), -1),
        phrases={"title": "photo of {}".format},
        query_fields=["title", "note"],
        embed_texts=embed_texts,  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(eval_set.parts["title"][0], embed_texts(["photo of a mug"])[0].numpy())
    assert not eval_set.parts["title"][1].any()
    assert eval_set.queries["note"].text_of_N.tolist() == [0, 1, -1]
    assert eval_set.query_fields == ("title", "note")


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_is_not_taken_for_a_gain(seed: int) -> None:
    world = World(seed)
    texts = {name: world.directions(ITEMS) for name in ("title", "description", "note")}
    assert choose_fusion(world.eval_set(world.around_products(0.5), texts), seed=seed).fusion is None


def test_fewer_queries_give_figures_of_the_same_queries() -> None:
    world = World()
    eval_set = world.eval_set(world.around_products(0.8), {"title": world.around_products(0.8)})
    fewer = eval_set.subsampled(texts=5, images=7, seed=0)
    whole, some = eval_set.search(None), fewer.search(None)
    assert torch.equal(some.image.values_QM, whole.image.values_QM[:7])
    asked = [int(code) for code in fewer.queries["title"].text_of_N if code >= 0]
    assert sorted(asked) == [0, 1, 2, 3, 4]
    indices = (fewer.queries["title"].text_of_N >= 0).nonzero().squeeze(1)
    assert torch.equal(some.text.values_QM, whole.text.values_QM[indices])
