"""The file of a run's conversations: read at its start, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinembed.assistant.state import State
from pinembed.errors import DataError
from pinembed.outfolder import whole_file

VERSION = 1


def read_states(path: Path) -> dict[str, State]:
    """The conversations by name; none where there is no file yet.

    Raises:
        DataError: the file is not of this kind.
    """
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"--state {path} cannot be read: {error}", remedy="Give another file, or a new name."
        ) from error
    conversations = stored.get("conversations") if isinstance(stored, dict) else None
    if not isinstance(conversations, dict) or stored.get("version") != VERSION:
        raise DataError(
            f"--state {path} holds no conversations of version {VERSION}.",
            remedy="Give a file that `pinembed chat --state` wrote, or the name of a new one.",
        )
    return {name: State.from_json(state, origin=f"--state {path}") for name, state in conversations.items()}


def write_states(path: Path, states: Mapping[str, State]) -> None:
    """Replace the file in one step.

    Raises:
        OutputError: it cannot be written; the old one stays.
    """
    stored = {"version": VERSION, "conversations": {name: state.to_json() for name, state in states.items()}}
    with whole_file(path, option="--state") as partial:
        text = json.dumps(stored, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
