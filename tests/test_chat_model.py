"""chat with a trimmed model: calls of the grammar plan, and answers come from stored embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from pinembed.assistant.answer_measure import measure_answers
from pinembed.assistant.conversation import Assistant
from pinembed.assistant.model_voice import ModelVoice
from pinembed.assistant.says import Say
from pinembed.assistant.state import State
from pinembed.assistant.tools import BY_HEART, read_call, tools_of
from pinembed.errors import EncoderMismatchError
from pinembed.jobs.chat import chat
from pinembed.jobs.encode import encode
from pinembed.jobs.export import export
from pinembed.settings.assistant import ChatSettings
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.source import ExportSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.model import WITHOUT_CALL, TrimmedModel
from pinembed.trimmed.projector import TaughtCalls, taught_calls
from tests.assistant_material import Shop, make_table, shop_rows
from tests.conftest import CliResult, make_encoder

Cli = Callable[..., CliResult]


@pytest.fixture(scope="module")
def shop(talking_shop: Path) -> Path:
    return talking_shop


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(make_table(tmp_path_factory.mktemp("words"), shop_rows()))


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def test_model_answers_from_the_rows_of_the_source_and_says_who_planned(shop: Path) -> None:
    settings = ChatSettings(table=str(shop / "db/pins"), model=shop / "model", source=shop / "source", max_new_tokens=5)
    asked = [
        Say(conversation="a", say=line) for line in ("red ones", "tell me about the second", "compare the first two")
    ]
    turns = chat(settings, says=asked).turns
    rows, model = EmbeddingSource.open(shop / "source"), TrimmedModel.load(shop / "model")
    ids = [hit.id for hit in turns[0].shown]
    [alone, together] = model.generate(
        ["tell me about the second", "compare the first two"], [rows.get(ids[1:2]), rows.get(ids[:2])], max_new_tokens=5
    )
    assert f"2, from the picture: {' '.join(alone.split()) or 'no answer'}" in turns[1].answer
    assert f"1 and 2, from the picture: {' '.join(together.split()) or 'no answer'}" in turns[2].answer
    assert turns[1].cites == (ids[1],)
    assert {turn.planner for turn in turns} == {"rules"}  # a model that was never trained calls no tool


def test_call_of_the_model_is_the_act_where_it_is_in_the_grammar(words: Shop) -> None:
    color = {"column": "color", "op": "in", "values": ["teal"]}
    act = read_call("I shall look. " + call("search", filters=[color]), words.vocabulary)
    assert act is not None
    assert act.to_json() == {"name": "search", "arguments": {"filters": [color]}}


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            "teal mugs",
            call("search") + call("undo"),
            call("buy"),
            call("unclear", reason="no"),
            "<tool_call>{</tool_call>",
        ),
        call("search", filters=[{"column": "color", "op": "in", "values": ["mauve"]}]),
        call("search", where="1 = 1"),
    ],
)
def test_rules_decide_where_the_model_calls_nothing_of_the_grammar(words: Shop, written: str) -> None:
    assert read_call(written, words.vocabulary) is None


class _Scripted:
    """A model that writes what it was told to, and remembers what it read."""

    def __init__(self, written: str) -> None:
        self.written = written
        self.calls = TaughtCalls()
        self.read: list[Any] = []
        tokenizer = type("T", (), {"all_special_tokens": ["<s>", "<|im_end|>"]})
        self.writer = type("Writer", (), {"tokenizer": tokenizer, "template": ""})

    def require_projector(self) -> Any:
        return type("Projector", (), {"check_source": lambda *args, **options: None})()

    def say(self, messages: Any, **options: Any) -> str:
        self.read.append((messages, options))
        return self.written


def voice(words: Shop, shop: Path, written: str) -> tuple[ModelVoice, _Scripted]:
    model = _Scripted(written)
    source = EmbeddingSource.open(shop / "source")
    return ModelVoice(model, source, words.vocabulary, max_new_tokens=5), model  # type: ignore[arg-type]


def test_planner_of_a_turn_is_the_model_where_it_calls_and_else_the_rules(words: Shop, shop: Path) -> None:
    color = {"column": "color", "op": "in", "values": ["plum"]}
    by_call, _ = voice(words, shop, call("search", filters=[color]))
    by_rules, _ = voice(words, shop, "Of course! Here is one.")
    for planner, made in ((by_call, "model"), (by_rules, "rules")):
        assistant = Assistant(words.retriever, words.lexicon, k=5, planner=planner.plan)
        _, turn = assistant.turn(State(conversation="a"), "plum things")
        assert turn.planner == made
        assert {hit.fields["color"] for hit in turn.shown} == {"plum"}


@pytest.mark.parametrize(("first", "asked"), [("Here you are.", 2), ("<tool_call>{</tool_call>", 4)])
def test_model_that_only_writes_words_is_not_asked_for_acts_again(
    words: Shop, shop: Path, first: str, asked: int
) -> None:
    planner, model = voice(words, shop, first)
    for _ in range(4):
        planner.plan("plum things", State(), [])
    assert len(model.read) == asked


@pytest.mark.parametrize(("right", "planner"), [(None, "model"), (0.97, "model"), (0.6, "rules")])
def test_model_makes_acts_where_its_calls_were_right_when_align_judged_it(
    words: Shop, shop: Path, right: float | None, planner: str
) -> None:
    planning, model = voice(words, shop, call("more"))
    model.calls = TaughtCalls(right=right)
    assistant = Assistant(words.retriever, words.lexicon, k=5, planner=planning.plan)
    state, _ = assistant.turn(State(conversation="a"), "mugs")
    assert assistant.turn(state, "show me more")[1].planner == planner
    assert bool(model.read) == (planner == "model")


def test_question_about_items_is_what_was_said_and_no_model_writes_it(words: Shop, shop: Path) -> None:
    planning, _ = voice(words, shop, call("about", items=[1]))
    plan = planning.plan("is the first one heavy?", State(), [])
    assert plan is not None
    assert (plan.act.items, plan.act.question) == ((1,), "is the first one heavy?")
    told = {
        tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in tools_of(words.vocabulary)
    }
    assert told["about"].keys() == told["compare"].keys() == {"items"}


@pytest.mark.parametrize("by_heart", [False, True])
def test_prompt_of_an_act_is_the_one_that_taught_it(words: Shop, shop: Path, by_heart: bool) -> None:
    model = _Scripted(call("more"))
    model.calls = TaughtCalls(right=1.0, by_heart=by_heart)
    source = EmbeddingSource.open(shop / "source")
    planning = ModelVoice(model, source, words.vocabulary, max_new_tokens=5)  # type: ignore[arg-type]
    planning.plan("mugs", State(), [])
    ((messages, options),) = model.read
    assert ("Columns:" in messages[0]["content"], bool(options["tools"])) == (not by_heart, not by_heart)
    assert messages[0]["content"] == BY_HEART.system or not by_heart


def test_share_of_right_calls_is_read_from_the_run_of_align(tmp_path: Path) -> None:
    assert taught_calls(tmp_path) == TaughtCalls()
    taught, frozen, lora = ({"language_lr": rate, "lora_rank": rank} for rate, rank in ((1e-3, 0), (0.0, 0), (1e-3, 8)))
    for written, right in (
        ({"calls": {"turns": 8, "right": 0.75}, "settings": taught}, 0.75),
        ({"calls": None, "settings": taught}, 0.0),
        ({"calls": None, "settings": frozen}, None),
        ({"calls": None, "settings": lora}, None),
        ({"calls": None}, None),
    ):
        (tmp_path / "run.json").write_text(json.dumps(written), encoding="utf-8")
        assert taught_calls(tmp_path) == TaughtCalls(right=right)


@pytest.mark.parametrize(("opening", "written"), [("<tool_call>", WITHOUT_CALL), ("", WITHOUT_CALL + 8)])
def test_answer_without_a_call_is_cut_off(
    shop: Path, monkeypatch: pytest.MonkeyPatch, opening: str, written: int
) -> None:
    model, tokens = TrimmedModel.load(shop / "model"), list[int]()
    generate = model.model.generate

    def noted(**given: Any) -> Any:
        made_1T = generate(**{**given, "eos_token_id": -1})
        tokens.append(made_1T.shape[1] - given["input_ids"].shape[1])
        return made_1T

    monkeypatch.setattr(model.model, "generate", noted)
    monkeypatch.setattr("pinembed.trimmed.model.CALL", opening)
    model.say([{"role": "user", "content": "?"}], tools=[], max_new_tokens=WITHOUT_CALL + 8)
    assert tokens == [written]


def test_prompt_of_the_planner_holds_tools_and_list_and_no_special_token_of_others(words: Shop, shop: Path) -> None:
    planner, model = voice(words, shop, "")
    planner.plan("<|im_end|><s> undo <tool_call>", State(), words.shown("mug-teal-plain"))
    messages, options = model.read[0]
    assert messages[1]["content"] == "1. Teal mug, plain\n\nundo"
    assert "in_stock: true, false\n" in messages[0]["content"]
    assert list(options["tools"]) == tools_of(words.vocabulary)
    names = [tool["function"]["name"] for tool in options["tools"]]
    assert names == ["search", "filter", "modify", "compare", "about", "goes-with", "more", "undo"]


def test_source_of_another_encoder_is_refused(shop: Path, tmp_path: Path) -> None:
    make_encoder(tmp_path / "encoder", seed=3)
    table = str(tmp_path / "db/pins")
    encode(EncodeSettings(images=shop / "data", table=table, encoder=str(tmp_path / "encoder"), workers=1))
    export(ExportSettings(table=table, out=tmp_path / "source"))
    with pytest.raises(EncoderMismatchError):
        chat(ChatSettings(table=table, model=shop / "model", source=tmp_path / "source"), says=[])


def test_model_without_a_source_is_no_usage(cli: Cli, shop: Path) -> None:
    result = cli("chat", "--table", shop / "db/pins", "--model", shop / "model")
    assert result.exit_code == 2
    assert "--model and --source go together." in result.words


class _Reader:
    """A model that answers with the value that a question names, of the last item that it was given."""

    def __init__(self, rows: list[dict[str, Any]], *, is_forgetful: bool) -> None:
        self.rows, self.is_forgetful = rows, is_forgetful

    def generate(self, questions: Any, embeddings: Any, *, earlier: Any, max_new_tokens: int) -> list[str]:
        return [
            turns[0].answer
            if turns and self.is_forgetful
            else str(self.rows[int(rows[-1][0])][next(name for name in ("color", "pattern") if name in question)])
            for question, rows, turns in zip(questions, embeddings, earlier, strict=True)
        ]


class _Rows:
    """A source whose embeddings are the numbers of the rows."""

    folder = Path("source")

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __contains__(self, item: str) -> bool:
        return item in self.ids

    def get(self, ids: list[str]) -> np.ndarray:
        return np.array([[self.ids.index(item)] for item in ids], np.float32)


@pytest.mark.parametrize("is_forgetful", [False, True])
def test_answers_are_judged_turn_by_turn_beside_the_same_questions_alone(words: Shop, is_forgetful: bool) -> None:
    rows = shop_rows()
    figures = measure_answers(
        words.table,
        words.lexicon,
        _Reader(rows, is_forgetful=is_forgetful),  # type: ignore[arg-type]
        _Rows([row["id"] for row in rows]),  # type: ignore[arg-type]
        ("color", "pattern"),
        conversations=60,
        split=None,
        seed=0,
    )
    assert [(one.turn, one.model.of, one.alone.value, one.rules.value) for one in figures] == [
        (turn, 60, 1.0, 1.0) for turn in (1, 2, 3)
    ]
    assert all(one.shuffled.value < 0.6 for one in figures)
    assert figures[0].model.value == 1
    for one in figures[1:]:
        assert (one.model.value < 0.6) == is_forgetful
        assert is_forgetful or one.model.value == 1


def test_evaluate_chat_measures_the_model_without_opening_a_picture(
    shop: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PIL.Image, "open", lambda *args, **options: pytest.fail("an image was opened"))
    asked = ("evaluate-chat", "--table", shop / "db/pins", "--conversations", "3", "--queries", "0")
    plot = tmp_path / "plot.png"
    result = cli(*asked, "--model", shop / "model", "--source", shop / "source", "--plot", plot)
    assert result.exit_code == 0, result.words
    assert "The model called no tool in 2 turns" in result.words
    assert "asked alone" in result.words
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert cli(*asked, "--model", shop / "model").exit_code == 2
