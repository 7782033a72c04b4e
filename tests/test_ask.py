"""Ask: answers from stored embeddings, for people and for scripts; what is unknown is named."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pinembed.errors import EncoderMismatchError
from pinembed.jobs.ask import ask
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.reports.trimmed import Answer, Question
from pinembed.settings.model import AskSettings
from pinembed.source.writer import write_source
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import new_projector, save_projector
from tests.conftest import CliResult

D, K = 8, 4
IDS = ["mug-1", "mug-2", "lamp-1", "vase-1"]
COLOUR = "What colour is it?"
Run = Callable[..., CliResult]


def encoder_spec(weights: str) -> EncoderSpec:
    preprocessing = Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return EncoderSpec(
        architecture="tiny", config_sha256="0" * 64, weights_sha256=weights, dim=D, preprocessing=preprocessing
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    rows_ND = np.random.default_rng(0).normal(size=(len(IDS), D)).astype(np.float16)
    write_source(folder, encoder_spec("1" * 64), [(IDS, rows_ND)], count=len(IDS))
    return folder


@pytest.fixture(scope="module")
def model(trimmed_qwen3vl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny trimmed model with a seeded projector for the source's encoder."""
    folder = tmp_path_factory.mktemp("aligned") / "model"
    shutil.copytree(trimmed_qwen3vl, folder)
    token_embeddings_VH = TrimmedModel.load(folder).token_embeddings_VH
    fingerprint = encoder_spec("1" * 64).fingerprint
    save_projector(
        new_projector(
            dim=D, tokens=K, token_embeddings_VH=token_embeddings_VH, encoder_fingerprint=fingerprint, seed=5
        ),
        folder,
    )
    return folder


def question(number: int, *items: str) -> Question:
    return Question(id=str(number), text=COLOUR, items=items)


def test_ask_gives_one_answer_for_each_question_in_order(model: Path, source: Path) -> None:
    questions = [question(1, "mug-1"), question(2, "lamp-1", "vase-1"), question(3, "mug-2")]
    seen: list[Answer] = []

    report = ask(
        AskSettings(model=model, source=source, max_new_tokens=5, batch_size=2),
        questions=questions,
        on_answer=seen.append,
    )

    assert [answer.id for answer in report.answers] == ["1", "2", "3"]
    assert [answer.items for answer in report.answers] == [("mug-1",), ("lamp-1", "vase-1"), ("mug-2",)]
    assert tuple(seen) == report.answers
    assert report.tokens_per_item == K
    assert report.exit_code == 0


def test_ask_answers_as_the_model_does_on_the_rows_of_the_source(model: Path, source: Path) -> None:
    from pinembed.source.embedding_source import EmbeddingSource

    loaded, rows = TrimmedModel.load(model), EmbeddingSource.open(source)
    wanted = loaded.generate([COLOUR], [rows.get(["vase-1", "mug-1"])], max_new_tokens=5)

    report = ask(AskSettings(model=model, source=source, max_new_tokens=5), questions=[question(1, "vase-1", "mug-1")])

    assert [answer.answer for answer in report.answers] == wanted


def test_ask_is_deterministic(model: Path, source: Path) -> None:
    questions = [question(1, "mug-1"), question(2, "lamp-1")]
    first = ask(AskSettings(model=model, source=source, max_new_tokens=5), questions=questions)
    assert ask(AskSettings(model=model, source=source, max_new_tokens=5), questions=questions).answers == first.answers


def test_ask_names_unknown_items_and_answers_the_rest(cli: Run, model: Path, source: Path) -> None:
    result = cli(
        "ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--item", "gone", "--each", "--json"
    )

    assert result.exit_code == 3
    assert result.json["unknown"] == ["gone"]
    assert result.json["answers"][0]["answer"] is not None
    assert result.json["answers"][1]["answer"] is None
    assert "unknown item: gone" in result.stderr


def test_ask_about_several_items_leaves_the_unknown_one_out(cli: Run, model: Path, source: Path) -> None:
    result = cli("ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--item", "gone", "--json")

    assert result.exit_code == 3
    assert result.json["answers"][0]["items"] == ["mug-1"]
    assert result.json["answers"][0]["unknown"] == ["gone"]
    assert result.json["answers"][0]["answer"] is not None


def test_ask_prints_only_the_answer(cli: Run, model: Path, source: Path) -> None:
    report = ask(AskSettings(model=model, source=source, max_new_tokens=4), questions=[question(1, "mug-1")])

    result = cli("ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--max-new-tokens", "4")

    assert result.exit_code == 0
    assert result.stdout == f"{report.answers[0].answer}\n"


def test_ask_each_prints_a_line_for_each_item(cli: Run, model: Path, source: Path) -> None:
    result = cli(
        "ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--item", "mug-2", "--each",
        "--max-new-tokens", "2", "--quiet",
    )  # fmt: skip

    assert [line.split("\t")[0] for line in result.stdout.splitlines()[:1]] == ["mug-1"]
    assert "\nmug-2\t" in "\n" + result.stdout


def test_ask_jsonl_answers_line_by_line(cli: Run, model: Path, source: Path, tmp_path: Path) -> None:
    lines = [
        {"id": "a", "question": "Which is larger?", "items": ["mug-1", "vase-1"]},
        {"id": 7, "item": "gone"},
        {"item": "lamp-1"},
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")

    result = cli("ask", COLOUR, "--model", model, "--source", source, "--jsonl", tmp_path / "q.jsonl")

    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["a", "7", "3"]
    assert [answer["question"] for answer in answers] == ["Which is larger?", COLOUR, COLOUR]
    assert answers[1]["answer"] is None
    assert answers[1]["unknown"] == ["gone"]
    assert result.exit_code == 3


def test_ask_jsonl_reads_standard_input(cli: Run, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": "a", "question": "What?", "items": ["mug-1"]}\n'))

    result = cli("ask", "--model", model, "--source", source, "--jsonl", "-", "--max-new-tokens", "2")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["id"] == "a"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1 is no JSON"),
        ("[" * 100_000, "line 1 is no JSON"),
        ("[1]", "line 1 is no JSON object"),
        ('{"question": "What?"}', "line 1 names no items"),
        ('{"question": "What?", "items": []}', "line 1 names no items"),
        ('{"question": "What?", "items": [3]}', "line 1 names no items"),
        ('{"items": ["mug-1"]}', "line 1 has no question"),
        ("", "holds no question"),
    ],
)
def test_ask_jsonl_refuses_a_bad_line(
    cli: Run, model: Path, source: Path, tmp_path: Path, line: str, told: str
) -> None:
    (tmp_path / "q.jsonl").write_text(line, encoding="utf-8")
    result = cli("ask", "--model", model, "--source", source, "--jsonl", tmp_path / "q.jsonl")
    assert result.exit_code == 1
    assert told in result.words


def test_ask_jsonl_refuses_a_file_that_is_not_there(cli: Run, model: Path, source: Path, tmp_path: Path) -> None:
    result = cli("ask", "--model", model, "--source", source, "--jsonl", tmp_path / "none.jsonl")
    assert result.exit_code == 1
    assert "none.jsonl cannot be read" in result.words


def test_ask_without_item_says_what_is_wanted(cli: Run, model: Path, source: Path) -> None:
    result = cli("ask", COLOUR, "--model", model, "--source", source)
    assert result.exit_code == 2
    assert "There is no item; wanted a QUESTION and at least one --item, or --jsonl" in result.words


def test_ask_with_items_and_jsonl_is_refused(cli: Run, model: Path, source: Path) -> None:
    result = cli("ask", "--model", model, "--source", source, "--jsonl", "-", "--item", "mug-1")
    assert result.exit_code == 2
    assert "--jsonl came with --item" in result.words


def test_ask_refuses_more_tokens_than_the_projector_has(cli: Run, model: Path, source: Path) -> None:
    result = cli("ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--tokens", "9")
    assert result.exit_code == 2
    assert f"9 tokens an item were asked for; the projector has 1 to {K}" in result.words


def test_ask_refuses_a_batch_of_none(cli: Run, model: Path, source: Path) -> None:
    result = cli("ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--batch-size", "0")
    assert result.exit_code == 2
    assert "--batch-size is 0; wanted at least 1" in result.words


def test_ask_refuses_an_unknown_dtype(cli: Run, model: Path, source: Path) -> None:
    result = cli("ask", COLOUR, "--model", model, "--source", source, "--item", "mug-1", "--dtype", "float7")
    assert result.exit_code == 2
    assert "--dtype float7" in result.words


def test_ask_refuses_the_source_of_another_encoder(model: Path, tmp_path: Path) -> None:
    write_source(tmp_path, encoder_spec("2" * 64), [(IDS[:1], np.ones((1, D), np.float16))], count=1)
    with pytest.raises(EncoderMismatchError, match="the projector was trained on those of"):
        ask(AskSettings(model=model, source=tmp_path), questions=[question(1, "mug-1")])


def test_ask_refuses_a_model_that_was_not_aligned(cli: Run, trimmed_qwen3vl: Path, source: Path) -> None:
    result = cli("ask", COLOUR, "--model", trimmed_qwen3vl, "--source", source, "--item", "mug-1")
    assert result.exit_code == 1
    assert "no projector yet" in result.words
    assert "pinembed align" in result.words
