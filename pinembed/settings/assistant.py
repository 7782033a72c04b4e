"""What `chat`, `evaluate-chat` and `mcp` are asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import (
    PUT,
    REFUSED,
    Argument,
    DeviceOption,
    GenerationOption,
    Option,
    ReadTableOption,
    SeedOption,
    described,
)

GroupedOption = Annotated[
    str | None, Option("Metadata column of equal products, such as product: a list shows one row of each.")
]
ModelSourceOption = Annotated[Path | None, Option("Embedding source of the model's items, or a HOME; needs --model.")]
TableEncoderOption = Annotated[str | None, Option("Encoder of the table; by default the one that it was made with.")]


def check_model_and_source(model: Path | None, source: Path | None) -> None:
    """A model needs a source, and the other way round.

    Raises:
        UsageError: one came without the other.
    """
    if (model is None) != (source is None):
        raise UsageError("--model and --source go together.", remedy="Give both, or leave both out.")


@described
@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """A catalogue to talk to.

    Raises:
        UsageError: options that do not go together.
    """

    table: ReadTableOption
    generation: GenerationOption = None
    encoder: TableEncoderOption = None
    model: Annotated[
        Path | None,
        Option(
            "Folder that `pinembed align` wrote, or a HOME: it plans what the rules would, and answers questions about "
            "items; needs --source."
        ),
    ] = None
    source: ModelSourceOption = None
    server: Annotated[
        str | None,
        Option(
            "Server with OpenAI's chat protocol that runs --model and takes embeddings, such as http://localhost:8000; "
            "the language model is then not loaded here. A key that it wants is read from PINEMBED_SERVER_KEY.",
            metavar="URL",
        ),
    ] = None
    served_name: Annotated[
        str | None,
        Option("Name under which the server runs the model.", metavar="NAME", shown_default="what the server says"),
    ] = None
    wait_s: Annotated[float, Option("How long the server may say nothing, in seconds.", min=0.1)] = 60.0
    max_new_tokens: Annotated[int, Option("Longest answer of the model, in tokens.", min=1)] = 64
    group: GroupedOption = None
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
        Path | None,
        Option("File that keeps the conversations; a later run goes on where this one ended.", at_address=REFUSED),
    ] = None
    conversation: Annotated[str, Option("Name of the conversation, where --jsonl names none.")] = "chat"
    sheet: Annotated[Path | None, Option("Draw the last list as a contact sheet, a PNG.", at_address=PUT)] = None
    device: DeviceOption = "cpu"

    def __post_init__(self) -> None:
        if (self.user is None) != (self.users is None):
            raise UsageError("--user and --users go together.", remedy="Give both, or leave both out.")
        check_model_and_source(self.model, self.source)
        if self.server is not None and self.model is None:
            raise UsageError(
                "--server came without --model.",
                remedy="Give --model, the folder that the server runs, for its projector and tokenizer, and --source.",
            )
        if self.served_name is not None and self.server is None:
            raise UsageError("--served-name came without --server.", remedy="Give --server, or leave it out.")


@described
@dataclass(frozen=True, kw_only=True)
class EvaluateChatSettings:
    """Scripted conversations over a catalogue, given or made of its metadata.

    Raises:
        UsageError: options that do not go together.
    """

    scripts: Annotated[
        Path | None,
        Argument(
            'Turns with the acts they should become, {"conversation", "say", "expect"} a line; made of the table\'s '
            "metadata where none are given."
        ),
    ] = None
    table: ReadTableOption
    generation: GenerationOption = None
    encoder: TableEncoderOption = None
    model: Annotated[
        Path | None,
        Option("Folder that `pinembed align` wrote, or a HOME: its answers and acts are measured too; needs --source."),
    ] = None
    source: ModelSourceOption = None
    group: GroupedOption = None
    fields: Annotated[
        tuple[str, ...],
        Option(
            "Metadata columns whose values are said, beside the kind of the items, separated by commas; default: those "
            "of a few short values.",
            comma_separated=True,
        ),
    ] = ()
    conversations: Annotated[int, Option("Conversations to make.", min=1)] = 100
    out: Annotated[Path | None, Option("File for the scripts that were made, JSON Lines.", at_address=PUT)] = None
    k: Annotated[int, Option("Length of a list.", flags=("-k",), min=1)] = 5
    queries: Annotated[int, Option('Queries of "this, but in COLOUR" for each column; 0 for none.', min=0)] = 200
    split: Annotated[str | None, Option("Split of the items that those queries and the model's answers are about.")] = (
        None
    )
    plot: Annotated[Path | None, Option("PNG of the shares that are right.", at_address=PUT)] = None
    seed: SeedOption = 0
    device: DeviceOption = "cpu"

    def __post_init__(self) -> None:
        if self.scripts is not None and self.out is not None:
            raise UsageError("--out came with scripts that are there already.", remedy="Leave one of them out.")
        check_model_and_source(self.model, self.source)


@described
@dataclass(frozen=True, kw_only=True)
class McpSettings:
    """A catalogue for other assistants."""

    table: ReadTableOption
    generation: GenerationOption = None
    encoder: TableEncoderOption = None
    group: GroupedOption = None
    currency: Annotated[
        str | None,
        Option("Code of the prices' currency, such as EUR.", metavar="CODE", shown_default="what the table says"),
    ] = None
    device: DeviceOption = "cpu"

    def __post_init__(self) -> None:
        if self.currency is not None and not re.fullmatch("[A-Z]{3}", self.currency):
            raise UsageError(f"--currency {self.currency} is no code of a currency.", remedy="For example: EUR")
