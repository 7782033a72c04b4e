"""A customer in the prompt: `ask --user`, and what `align --events` learns of customers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pinembed.errors import DataError
from pinembed.jobs.ask import ask
from pinembed.jobs.export import export
from pinembed.jobs.trim import trim
from pinembed.reports.trimmed import Question
from pinembed.settings.model import AskSettings, TrimSettings
from pinembed.settings.source import ExportSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.address import parse_address
from pinembed.taste.shoppers import Shop, simulate
from pinembed.taste.user_table import UserTable, find_user
from pinembed.trimmed.customers import MOST_INTERESTS
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import new_projector, save_projector
from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl
from tests.conftest import CliResult
from tests.taste_material import DIM, GROUP_OF, GROUPS, SPEC, make_table, update

KEEP = "Would this customer keep this item?"
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
