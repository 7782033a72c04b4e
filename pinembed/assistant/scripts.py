"""Scripts: conversations with the acts that they should become, to measure a planner with.

A line is a turn, `{"conversation": "1", "turn": 2, "say": "the second one", "expect": {"name": "about", "arguments":
{"items": [2]}}, "held_out": true}`; `pinembed chat --jsonl` reads the same lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.assistant.act import Act, ActError, act_from_json
from pinembed.assistant.says import WANTED, Say, say_of
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.errors import DataError
from pinembed.outfolder import whole_file
from pinembed.stored import lines_of, value_in


@dataclass(frozen=True, kw_only=True)
class ScriptedTurn:
    """Something said, and the act that it should become.

    Attributes:
        held_out: a wording that the rules were not made by.
    """

    say: Say
    expect: Act
    held_out: bool = False

    def to_json(self) -> dict[str, Any]:
        said = {"conversation": self.say.conversation, "turn": self.say.turn, "say": self.say.say}
        return {**said, "expect": self.expect.to_json(), "held_out": self.held_out}


def read_scripts(path: Path, vocabulary: Vocabulary) -> list[ScriptedTurn]:
    """The turns of a file, in order.

    Raises:
        DataError: it cannot be read, or a line is no turn with an act of this table.
    """
    lines = enumerate(lines_of(path), start=1)
    return [_turn(line, f"{path}, line {number}", vocabulary) for number, line in lines if line.strip()]


def _turn(line: str, place: str, vocabulary: Vocabulary) -> ScriptedTurn:
    stored = value_in(line, origin=place, wanted=WANTED)
    say = say_of(stored, origin=place, conversation="1")
    try:
        expect = act_from_json(stored.get("expect"), vocabulary)
    except ActError as error:
        raise DataError(
            f"{place} expects no act of this table: {error}.",
            remedy='Give "expect" as the tool calls of `pinembed chat --jsonl` are, with values that the table holds.',
        ) from error
    return ScriptedTurn(say=say, expect=expect, held_out=stored.get("held_out") is True)


def write_scripts(path: Path, turns: Iterable[ScriptedTurn]) -> None:
    """Write JSON Lines.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = [json.dumps(turn.to_json(), ensure_ascii=False) + "\n" for turn in turns]
    with whole_file(path, option="--out") as partial:
        partial.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")


def by_conversation(turns: Sequence[ScriptedTurn]) -> list[list[ScriptedTurn]]:
    """The turns of each conversation, in the order of their first turns."""
    found: dict[str, list[ScriptedTurn]] = {}
    for turn in turns:
        found.setdefault(turn.say.conversation, []).append(turn)
    return list(found.values())
