"""A customer in the prompt: `ask --user`, and what `align --events` learns of customers."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pinembed.errors import DataError
from pinembed.jobs.ask import ask
from pinembed.jobs.export import export
from pinembed.jobs.trim import trim
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT
from pinembed.reports.trimmed import Question
from pinembed.settings.model import AskSettings, TrimSettings
from pinembed.settings.source import ExportSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.address import parse_address
from pinembed.taste.event import KINDS, shown_time
from pinembed.taste.shoppers import Shop, simulate, write_events
from pinembed.taste.user_table import UserTable, find_user
from pinembed.trimmed.align_dataset import AlignDataset, Rows
from pinembed.trimmed.customer_log import CustomerDataset, read_customers
from pinembed.trimmed.customers import KEEP, MOST_INTERESTS
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import new_projector, save_projector
from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl
from tests.conftest import CliResult
from tests.taste_material import DIM, GROUP_OF, GROUPS, SPEC, make_table, update

Run = Callable[..., CliResult]


@dataclass(frozen=True)
class Store:
    """A table, its source, and the simulated shoppers who chose of it."""

    table: str
    users: str
    source: Path
    shop: Shop


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    table, users, shop = make_table(folder), f"{folder}/taste", simulate(GROUPS, shoppers=12)
    update(shop.events, table, users, folder)
    export(ExportSettings(table=table, out=folder / "source"))
    return Store(table=table, users=users, source=folder / "source", shop=shop)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trimmed model with random weights, and a projector of the table's encoder."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "full").mkdir()
    shape = TinyShape(hidden=64, layers=2, heads=2, vision_layers=1, vocabulary=512)
    write_tiny_qwen3vl(folder / "full", texts=[KEEP], shape=shape)
    trim(TrimSettings(model=str(folder / "full"), out=folder / "trimmed"))
    token_embeddings_VH = TrimmedModel.load(folder / "trimmed").token_embeddings_VH
    projector = new_projector(
        dim=DIM, tokens=2, token_embeddings_VH=token_embeddings_VH, encoder_fingerprint=SPEC.fingerprint, seed=5
    )
    save_projector(projector, folder / "trimmed")
    return folder / "trimmed"


def test_ask_puts_the_users_interests_before_the_items(model: Path, store: Store) -> None:
    user = find_user(UserTable(parse_address(store.users)), "shopper-0001")
    medoids = [interest.item for interest in user.interests][:MOST_INTERESTS]
    rows = EmbeddingSource.open(store.source)
    wanted = TrimmedModel.load(model).generate([KEEP], [rows.get([*medoids, "g3-01"])], max_new_tokens=4)

    settings = AskSettings(model=model, source=store.source, user="shopper-0001", users=store.users, max_new_tokens=4)
    report = ask(settings, questions=[Question(id="1", text=KEEP, items=("g3-01",))])

    assert len(medoids) > 1
    assert list(report.interests) == medoids
    assert [answer.answer for answer in report.answers] == wanted
    assert report.answers[0].items == ("g3-01",)


def test_ask_without_a_user_puts_nothing_before_the_items(model: Path, store: Store) -> None:
    rows = EmbeddingSource.open(store.source)
    wanted = TrimmedModel.load(model).generate([KEEP], [rows.get(["g3-01"])], max_new_tokens=4)
    settings = AskSettings(model=model, source=store.source, max_new_tokens=4)
    report = ask(settings, questions=[Question(id="1", text=KEEP, items=("g3-01",))])
    assert report.interests == ()
    assert [answer.answer for answer in report.answers] == wanted


@pytest.mark.parametrize(
    ("options", "told", "code"),
    [
        (["--user", "shopper-0001"], "--user and --users go together", 2),
        (["--user", "nobody", "--users", "STORE"], "names the user 'nobody'", 1),
        (["--user", "ann", "--users", "elsewhere/taste"], "There is no taste store elsewhere/taste", 1),
    ],
)
def test_ask_for_a_user_that_cannot_be_says_so(
    cli: Run, model: Path, store: Store, options: list[str], told: str, code: int
) -> None:
    given = [store.users if option == "STORE" else option for option in options]
    result = cli("ask", KEEP, "--model", model, "--source", store.source, "--item", "g3-01", *given)
    assert result.exit_code == code
    assert told in result.words


def test_ask_for_a_user_none_of_whose_interests_the_source_holds_says_so(
    model: Path, store: Store, tmp_path: Path
) -> None:
    user = find_user(UserTable(parse_address(store.users)), "shopper-0001")
    medoids = {interest.item for interest in user.interests}
    table = make_table(tmp_path, sorted(GROUP_OF.keys() - medoids)[:4])
    export(ExportSettings(table=table, out=tmp_path / "source"))
    settings = AskSettings(model=model, source=tmp_path / "source", user="shopper-0001", users=store.users)
    with pytest.raises(DataError, match="holds none of the"):
        ask(settings, questions=[Question(id="1", text=KEEP, items=("g3-01",))])


def made_from(source: Path, shop: Shop, folder: Path, *, train: Sequence[str]) -> CustomerDataset:
    write_events(shop.events, folder / "log.csv")
    rows = {
        name: Rows(items=tuple(item(each) for each in ids), embeddings_ND=torch.zeros(len(ids), DIM))
        for name, ids in (("train", train), ("held_out", sorted(GROUP_OF.keys() - set(train))))
    }
    dataset = AlignDataset(
        train=rows["train"],
        select=rows["train"],
        held_out=rows["held_out"],
        held_out_split="test",
        missing=0,
        copies=(),
        fingerprint=SPEC.fingerprint,
    )
    source_rows = EmbeddingSource.open(source)
    return read_customers(
        folder / "log.csv", KINDS, source_rows, dataset, ["price", "kind"], at_us=None, progress=SILENT
    )


def item(name: str) -> Item:
    fields = {"kind": GROUP_OF[name], "price": f"price {name[-1]}"}
    return Item(id=name, file_name=f"{name}.png", path=Path(f"{name}.png"), fields=fields)


@pytest.fixture(scope="module")
def customers(store: Store, tmp_path_factory: pytest.TempPathFactory) -> CustomerDataset:
    train = [name for name in GROUP_OF if int(name[-2:]) % 4]
    return made_from(store.source, store.shop, tmp_path_factory.mktemp("log"), train=train)


def test_each_choice_is_asked_about_beside_an_item_that_the_user_never_touched(customers: CustomerDataset) -> None:
    choices = customers.train
    dialogues = choices.dialogues("0")
    assert len(dialogues) > len(choices.made)
    asked = {(choice.interests, choice.item): choices.touched[choice.user] for choice in choices.made}
    for kept, left in zip(dialogues[::2], dialogues[1::2], strict=True):
        assert kept.answer.endswith("; yes")
        assert left.answer.endswith("; no")
        assert kept.rows[:-1] == left.rows[:-1]
        assert left.rows[-1] not in asked[kept.rows[:-1], kept.rows[-1]]


def test_no_item_is_oftener_wanted_than_not(customers: CustomerDataset) -> None:
    """The chosen items are exchanged among users, so that how popular one is says nothing."""
    dialogues = customers.train.dialogues("0")
    kept, left = (Counter(each.rows[-1] for each in part) for part in (dialogues[::2], dialogues[1::2]))
    difference = sum(abs(kept[row] - left[row]) for row in kept | left)
    assert difference <= 0.1 * len(dialogues)


def test_every_epoch_asks_about_other_items_that_were_not_chosen(customers: CustomerDataset) -> None:
    assert customers.train.dialogues("0 1") == customers.train.dialogues("0 1")
    assert customers.train.dialogues("0 1") != customers.train.dialogues("0 2")


def test_interests_are_those_before_the_choice(customers: CustomerDataset, store: Store) -> None:
    """A user's first choice has no interests, and no choice is among its own."""
    for choices in (customers.train, customers.held_out):
        assert all(choice.interests and choice.item not in choice.interests for choice in choices.made)


def test_held_out_items_take_no_part_before_the_cut(customers: CustomerDataset, store: Store) -> None:
    ids = sorted({event.item for event in store.shop.events})
    for choices in (customers.train, customers.select):
        rows = {row for choice in choices.made for row in (choice.item, *choice.interests)}
        assert all(int(ids[row][-2:]) % 4 for row in rows)
    assert any(int(ids[choice.item][-2:]) % 4 == 0 for choice in customers.held_out.made)


def test_answers_name_the_field_by_which_customers_choose(customers: CustomerDataset) -> None:
    """Shoppers have groups, which are the kinds; the price says nothing of them."""
    assert {word for choice in customers.train.made for word in [customers.train.words_C[choice.item]]} <= set(GROUPS)


def test_exchanged_users_have_the_interests_of_somebody_else(customers: CustomerDataset) -> None:
    before, after = customers.held_out.made, customers.held_out.with_users_exchanged("0").made
    assert [choice.item for choice in after] == [choice.item for choice in before]
    owners = {}
    for choice in before:
        owners.setdefault(choice.interests, set()).add(choice.user)
    assert all(owners[new.interests] != {old.user} for old, new in zip(before, after, strict=True))


def test_align_refuses_a_log_without_choices_on_both_sides(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 events of .* give 0 choices to learn from"):
        made_from(store.source, Shop(events=(), shoppers=(), adjacent={}), tmp_path, train=["g0-01"])


def test_align_learns_from_events_and_judges_what_was_chosen_after_the_cut(
    model: Path, store: Store, tmp_path: Path, cli: Run
) -> None:
    """Few steps: what is learned is measured in docs/experiments/taste.md, here is that it is asked and told."""
    write_events(store.shop.events, tmp_path / "log.csv")
    data = write_catalogue(tmp_path / "data")
    given = ["--model", model, "--source", store.source, "--events", tmp_path / "log.csv", "--fields", "kind"]
    result = cli("align", data, *given, "--out", tmp_path / "out", "--epochs", "2", "--batch-size", "64", "--json")
    assert result.exit_code == 0, result.stderr
    told = result.json["customers"]
    times = sorted(event.time_us for event in store.shop.events)
    assert told["at"] == shown_time(times[int(0.8 * len(times))])
    assert told["customers"] <= 12
    assert told["learned"] > told["choices"] > 0
    assert 0.5 < told["probe"] <= 1
    assert 0 <= told["accuracy"] <= 1
    assert 0 <= told["exchanged"] <= 1
    assert "Would this customer keep this item?" in result.words


def write_catalogue(folder: Path) -> Path:
    """The groups' items with a split; nobody opens their images."""
    (folder / "images").mkdir(parents=True)
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "id", "kind", "split"])
        for name in GROUP_OF:
            (folder / "images" / f"{name}.png").touch()
            split = "test" if int(name[-2:]) % 4 == 0 else "train"
            writer.writerow([f"images/{name}.png", name, GROUP_OF[name], split])
    return folder


@pytest.mark.parametrize(
    ("options", "told", "code"),
    [
        (["--at", "2024-01-01"], "--at and --kinds belong to --events", 2),
        (["--events", "LOG", "--at", "soon"], "--at soon is no time", 2),
        (["--events", "LOG", "--at", "2001-01-01"], "give 0 choices to learn from", 1),
    ],
)
def test_align_with_events_that_cannot_be_split_says_so(
    cli: Run, model: Path, store: Store, tmp_path: Path, options: list[str], told: str, code: int
) -> None:
    write_events(store.shop.events, tmp_path / "log.csv")
    data = write_catalogue(tmp_path / "data")
    given = [str(tmp_path / "log.csv") if option == "LOG" else option for option in options]
    result = cli("align", data, "--model", model, "--source", store.source, "--out", tmp_path / "out", *given)
    assert result.exit_code == code
    assert told in result.words
