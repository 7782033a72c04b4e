"""chat: the command, its lines in and out, its file of conversations, and what goes wrong."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pinembed.assistant.says import Say
from pinembed.errors import DataError
from pinembed.jobs.chat import chat
from pinembed.settings.assistant import ChatSettings
from tests.conftest import CliResult, encoded_shop

Cli = Callable[..., CliResult]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return encoded_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def table(shop: Path) -> str:
    return str(shop / "db/pins")


def says(*lines: str, conversation: str = "a") -> Iterable[Say]:
    return [Say(conversation=conversation, say=line) for line in lines]


def write_lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_chat_answers_each_turn_with_act_list_and_citations(table: str) -> None:
    report = chat(
        ChatSettings(table=table), says=says("red ones under 12", "more expensive than the first", "the second")
    )
    assert [turn.act["name"] for turn in report.turns] == ["search", "filter", "about"]
    assert {hit.fields["color"] for turn in report.turns for hit in turn.shown} == {"red"}
    assert all(set(turn.cites) <= {hit.id for hit in turn.shown} for turn in report.turns)
    assert report.turns[2].cites == (report.turns[1].shown[1].id,)
    assert [turn.turn for turn in report.turns] == [1, 2, 3]
    assert report.rows == 24


def test_chat_reads_lines_of_a_pipe_and_writes_answers(cli: Cli, table: str, monkeypatch, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("blue items\n\nunder 11\n", encoding="utf-8")
    with script.open(encoding="utf-8") as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        result = cli("chat", "--table", table, "--quiet")
    assert result.exit_code == 0
    assert "color blue: 6 fit." in result.stdout
    assert "color blue, price < 11: 2 fit." in result.stdout
    assert result.stderr == ""


def test_chat_jsonl_answers_mixed_conversations_line_by_line(cli: Cli, table: str, tmp_path: Path) -> None:
    script = write_lines(
        tmp_path / "script.jsonl",
        {"conversation": "a", "turn": 1, "say": "red ones"},
        {"conversation": "b", "say": "blue ones"},
        {"conversation": "a", "turn": 2, "say": "the last one"},
    )
    result = cli("chat", "--table", table, "--jsonl", script)
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["conversation"], line["turn"]) for line in lines] == [("a", 1), ("b", 1), ("a", 2)]
    assert lines[2]["cites"] == [lines[0]["shown"][-1]["id"]]
    assert lines[0].keys() == {
        *("conversation", "turn", "say", "act", "planner", "state", "shown", "answer", "cites", "notes", "seconds")
    }
    assert lines[0]["planner"] == "rules"


def test_chat_json_is_one_object_with_all_turns(cli: Cli, table: str, tmp_path: Path) -> None:
    script = write_lines(tmp_path / "script.jsonl", {"say": "red ones"}, {"say": "more"})
    result = cli("chat", "--table", table, "--jsonl", script, "--json", "--quiet")
    assert [turn["act"]["name"] for turn in result.json["turns"]] == ["search", "more"]
    assert result.stderr == ""


def test_chat_state_goes_on_where_the_last_run_ended(table: str, tmp_path: Path) -> None:
    settings = ChatSettings(table=table, state=tmp_path / "state.json")
    whole = chat(ChatSettings(table=table), says=says("red ones", "the second one", "the first but in blue"))
    for line in ("red ones", "the second one", "the first but in blue"):
        last = chat(settings, says=says(line)).turns[0]
    assert last.turn == 3
    assert last.state == whole.turns[2].state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_chat_answers_no_turn_twice_and_takes_none_before_its_time(table: str, tmp_path: Path) -> None:
    settings = ChatSettings(table=table, state=tmp_path / "state.json")
    script = [Say(conversation="a", turn=1, say="red ones"), Say(conversation="a", turn=2, say="more")]
    assert len(chat(settings, says=script[:1]).turns) == 1
    assert [turn.turn for turn in chat(settings, says=script).turns] == [2]
    with pytest.raises(DataError, match="Turn 5 of conversation 'a' came, and turn 3 is due"):
        chat(settings, says=[Say(conversation="a", turn=5, say="more")])


def test_chat_keeps_what_was_answered_when_a_later_line_is_bad(cli: Cli, table: str, tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"say": "red ones"}\n{"say": 5}\n', encoding="utf-8")
    result = cli("chat", "--table", table, "--jsonl", script, "--state", tmp_path / "state.json")
    assert result.exit_code == 1
    assert "script.jsonl, line 2 says nothing" in result.words
    stored = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))
    assert stored["conversations"]["chat"]["turns"] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        *(("[1]", "says nothing"), ('"red"', "says nothing"), ("null", "says nothing"), ("{}", "says nothing")),
        *(("7", "says nothing"), ('{"say": ["red"]}', "says nothing"), ("{'say': 'red'}", "is no JSON")),
        *(("[" * 100_000, "is no JSON"), ('{"say": "red", "conversation": {}}', "has the conversation")),
        ('{"say": "red", "turn": true}', "has the turn True"),
    ],
)
def test_chat_names_a_line_that_says_nothing(cli: Cli, table: str, tmp_path: Path, line: str, words: str) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(f"\n{line}\n", encoding="utf-8")
    result = cli("chat", "--table", table, "--jsonl", script)
    assert result.exit_code == 1
    assert words in result.words
    assert "line 2" in result.words


def test_chat_answers_what_is_no_text_at_all(cli: Cli, table: str, tmp_path: Path) -> None:
    script, state = tmp_path / "script.jsonl", tmp_path / "state.json"
    says = ["\ud800 red ones", "\u0000\u001b\u202e", "red " * 2500]
    lines = [json.dumps({"say": say, "conversation": "\udfff"}) for say in says]
    script.write_text("\n".join(lines), encoding="utf-8")
    result = cli("chat", "--table", table, "--jsonl", script, "--state", state)
    assert result.exit_code == 0
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["act"]["name"] for answer in answers] == ["search", "unclear", "filter"]
    assert list(json.loads(state.read_text(encoding="utf-8"))["conversations"]) == ["\udfff"]


def test_chat_draws_the_last_list_where_a_sheet_is_asked_for(table: str, tmp_path: Path) -> None:
    chat(ChatSettings(table=table, sheet=tmp_path / "sheet.png"), says=says("red ones"))
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--group", "brand"], 2, "--group names brand, which table"),
        (["--user", "ann"], 2, "--user and --users go together"),
        (["--jsonl", "{shop}/none.jsonl"], 1, "none.jsonl cannot be read"),
        (["--jsonl", "{shop}/bad.jsonl"], 1, "bad.jsonl, line 1 is no JSON"),
        (["--jsonl", "{shop}/turn.jsonl"], 1, "has the turn 0"),
        (["--state", "{shop}/bad.jsonl"], 1, "cannot be read"),
        (["--state", "{shop}/turn.jsonl"], 1, "holds no conversations of version 1"),
        (["--users", "{shop}/db/users", "--user", "ann"], 1, "There is no taste store"),
        (["--generation", "1"], 2, "is no home of generations"),
    ],
)
def test_chat_explains_bad_arguments(
    cli: Cli, shop: Path, table: str, monkeypatch, tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    place = tmp_path / "shop"
    place.mkdir()
    shutil.copytree(shop / "db", place / "db")
    (place / "bad.jsonl").write_text("red ones\n", encoding="utf-8")
    (place / "turn.jsonl").write_text('{"say": "red ones", "turn": 0}\n', encoding="utf-8")
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        result = cli("chat", "--table", table, *(argument.format(shop=place) for argument in arguments))
    assert result.exit_code == exit_code
    assert words in result.words
    assert "remedy:" in result.words


def test_chat_on_a_terminal_prompts_draws_on_request_and_keeps_its_history(
    shop: Path, table: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "PINEMBED_CACHE": str(tmp_path), "TERM": "dumb"}
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "pinembed", "chat", "--table", table]
    running = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    seen = ""
    for line in ("red ones", f"/sheet {tmp_path}/list.png", "/quit"):
        seen += _read_until(main, "> ")
        os.write(main, f"{line}\n".encode())
    seen += _read_until(main, "\0")
    assert running.wait(60) == 0
    assert "Say what you are looking for" in seen
    assert "color red: 6 fit." in seen
    assert (tmp_path / "list.png").is_file()
    assert "red ones" in (tmp_path / "chat_history").read_text(encoding="utf-8")


def _read_until(descriptor: int, end: str) -> str:
    """What a terminal shows up to the end of the program, or to these words at the end of a line."""
    seen, until_s = "", time.monotonic() + 60
    while time.monotonic() < until_s and not seen.endswith(end):
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            seen += os.read(descriptor, 4096).decode(errors="replace")
        except OSError:
            break
    return seen
