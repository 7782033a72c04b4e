"""chat --user: lists in the order of a user's taste, and what users chose together."""

from __future__ import annotations

import numpy as np
import pytest

from pinembed.assistant.conversation import Assistant
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.state import State
from pinembed.assistant.taste_order import TasteOrder
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.reports.assistant import Turn
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.event import Event
from tests.taste_material import DIM, GROUPS, make_table, update

DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    """Sixty users who each save six things of a group and one of a group of its own; ann likes group 3."""
    folder = tmp_path_factory.mktemp("taste")
    table, users = make_table(folder), f"{folder}/users"
    events = [
        Event(user=f"u{number}", item=item, kind="save", time_us=START_US + place * DAY_US)
        for number in range(60)
        for place, item in enumerate([*GROUPS[f"group-{number % 4}"][:6], GROUPS[f"group-{number % 4 + 4}"][0]])
    ]
    events += [Event(user="ann", item=item, kind="save", time_us=START_US) for item in GROUPS["group-3"][:2]]
    update(events, table, users, folder)
    opened = EmbeddingTable.open(table)
    vocabulary = Vocabulary.read(opened)
    vector_D = np.full(DIM, 1 / np.sqrt(DIM), np.float32)
    taste = TasteOrder(opened, users)
    retriever = Retriever(opened, vocabulary, lambda texts: np.tile(vector_D, (len(texts), 1)), taste=taste)
    return Assistant(retriever, Lexicon(vocabulary), k=5)


def first_turn(assistant: Assistant, user: str, say: str) -> Turn:
    return assistant.turn(State(conversation="a", user=user), say)[1]


def test_list_begins_with_what_the_user_would_like(assistant: Assistant) -> None:
    liked = first_turn(assistant, "ann", "something under 35")
    stranger = first_turn(assistant, "zoe", "something under 35")
    own, others = ([hit.fields["kind"] for hit in turn.shown].count("group-3") for turn in (liked, stranger))
    assert liked.shown[0].fields["kind"] == "group-3"
    assert own > others
    assert all(hit.fields["price"] < 35 for hit in liked.shown)


def test_list_of_a_stranger_is_as_it_is_without_taste(assistant: Assistant) -> None:
    stranger, nobody = (first_turn(assistant, user, "something under 35") for user in ("zoe", ""))
    assert stranger.cites == nobody.cites
    assert stranger.cites != first_turn(assistant, "ann", "something under 35").cites


def test_goes_with_begins_with_what_users_chose_together(assistant: Assistant) -> None:
    chosen = GROUPS["group-3"][0]
    ids = [GROUPS["group-9"][0], GROUPS["group-8"][0], GROUPS["group-7"][0]]
    taste = assistant._retriever.taste
    assert taste is not None
    assert taste.ordered_beside(chosen, ids)[0] == GROUPS["group-7"][0]
