"""What `chat` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import DeviceOption, GenerationOption, Option, ReadTableOption, described


@described
@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """A catalogue to talk to.

    Raises:
        UsageError: options that do not go together.
    """

    table: ReadTableOption
    generation: GenerationOption = None
    encoder: Annotated[str | None, Option("Encoder of the table; by default the one that it was made with.")] = None
    group: Annotated[
        str | None, Option("Metadata column of equal products, such as product: a list shows one row of each.")
    ] = None
    user: Annotated[str | None, Option("Whose taste orders the lists; needs --users.")] = None
    users: Annotated[str | None, Option("Taste store, DATABASE/NAME, that `pinembed taste update` keeps.")] = None
    k: Annotated[int, Option("Length of a list.", flags=("-k",), min=1)] = 5
    jsonl: Annotated[
        str | None,
        Option(
            'Turns from a file, or - for standard input: {"conversation", "turn", "say"} a line, of which say is '
            "needed; answers go out as JSON Lines.",
            metavar="FILE",
        ),
    ] = None
    state: Annotated[
        Path | None, Option("File that keeps the conversations; a later run goes on where this one ended.")
    ] = None
    conversation: Annotated[str, Option("Name of the conversation, where --jsonl names none.")] = "chat"
    sheet: Annotated[Path | None, Option("Draw the last list as a contact sheet, a PNG.")] = None
    device: DeviceOption = "cpu"

    def __post_init__(self) -> None:
        if (self.user is None) != (self.users is None):
            raise UsageError("--user and --users go together.", remedy="Give both, or leave both out.")
