"""What `trim`, `align` and `ask` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import (
    RUN,
    TRAINING,
    Argument,
    DataArgument,
    DeviceOption,
    GenerationOption,
    GroupOption,
    Option,
    OutOption,
    OverwriteOption,
    SeedOption,
    SourceOption,
    described,
)
from pinembed.settings.taste import KindsOption


@described
@dataclass(frozen=True, kw_only=True)
class TrimSettings:
    """A checkpoint, and the folder for it without its vision tower."""

    model: Annotated[
        str,
        Argument("Folder of a Qwen3-VL or Qwen3.5 checkpoint in safetensors, dense or MoE, or hf-hub:OWNER/REPO."),
    ]
    out: OutOption
    verify: Annotated[
        bool, Option("Also load both models and compare their logits and answers; FP8 ones always are.")
    ] = False
    overwrite: OverwriteOption = False


@described
@dataclass(frozen=True, kw_only=True)
class AlignSettings:
    """A trimmed model, the source whose embeddings it learns to read, and how; None leaves a number to the model.

    Raises:
        UsageError: two ways to train the language model at once, or options that need another.
    """

    data: DataArgument
    model: Annotated[Path, Option("Folder that `pinembed trim` or `align` wrote.")]
    source: SourceOption
    out: OutOption
    fields: Annotated[
        tuple[str, ...],
        Option(
            "Metadata columns to ask about, separated by commas; default: those of short values that repeat.",
            comma_separated=True,
        ),
    ] = ()
    dialogues: Annotated[
        Path | None,
        Option(
            'Questions of your own to train on as well: {"items", "question", "answer"}, or "messages", a line; '
            "those about held-out items judge."
        ),
    ] = None
    talks: Annotated[
        float,
        Option(
            "Share of the questions, 0 to 1, that stand in conversations of two or three turns, made of the metadata "
            "like the others.",
            min=0,
            max=1,
        ),
    ] = 0.0
    calls: Annotated[
        float,
        Option(
            "Share of the turns of --talks, 0 to 1, that are wishes which become calls of the tools of `chat`; it asks "
            "a model that has learned them well for acts.",
            min=0,
            max=1,
        ),
    ] = 0.0
    calls_by_heart: Annotated[
        bool,
        Option(
            "Teach --calls without tools and columns, which are most of a prompt; for the catalogue that taught them "
            "alone."
        ),
    ] = False
    events: Annotated[
        Path | None,
        Option(
            "Log of events, as for `taste update`, to learn from as well whether a customer would keep an item; what "
            "was chosen after --at judges."
        ),
    ] = None
    at: Annotated[
        str | None,
        Option(
            "The cut of --events: ISO 8601, or seconds since 1970.",
            metavar="TIME",
            shown_default="after four fifths of the events",
        ),
    ] = None
    kinds: KindsOption = None
    group: GroupOption = None
    old_source: Annotated[
        Path | None,
        Option(
            "Source that the model's projector was trained on: fit a linear map from --source to it, and train "
            "only if --epochs asks for it."
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Option("Passes over the training items; by default as their number wants.", min=1, panel=TRAINING),
    ] = None
    minutes: Annotated[
        float | None, Option("Limit of the training; the rate falls to its end in it.", min=0, panel=RUN)
    ] = None
    seed: SeedOption = 0
    tokens: Annotated[
        int | None, Option("Soft tokens an item.", min=1, shown_default="4, or the model's", panel=TRAINING)
    ] = None
    train_language_model: Annotated[
        bool | None,
        Option(
            "Let the language model learn too, or the projector alone.",
            flags=("--train-language-model/--freeze-language-model",),
            shown_default="learn below 50 million parameters",
            panel=TRAINING,
        ),
    ] = None
    lora: Annotated[
        int | None,
        Option(
            "Let low-rank layers of this rank learn in the language model; merged at the end.", min=1, panel=TRAINING
        ),
    ] = None
    batch_size: Annotated[int, Option("Questions of one step.", min=1, panel=TRAINING)] = 32
    lr: Annotated[
        float | None,
        Option("Peak learning rate of the projector.", min=0, shown_default="1e-3; small: 3e-3", panel=TRAINING),
    ] = None
    language_lr: Annotated[
        float | None,
        Option(
            "Peak learning rate of the language model, where it learns.",
            min=0,
            shown_default="2e-5; small: 1e-3; 2e-4 with --lora",
            panel=TRAINING,
        ),
    ] = None
    noise: Annotated[
        float | None,
        Option(
            "Noise on the embeddings, in each feature's standard deviation.",
            min=0,
            shown_default="0.3; small: 0.7",
            panel=TRAINING,
        ),
    ] = None
    overwrite: OverwriteOption = False
    device: DeviceOption = "auto"

    def __post_init__(self) -> None:
        if self.events is None and (self.at is not None or self.kinds is not None):
            raise UsageError("--at and --kinds belong to --events.", remedy="Give --events LOG too, or neither.")
        if self.train_language_model and self.lora:
            raise UsageError(
                f"--train-language-model and --lora {self.lora} came together; the weights learn in one of both ways.",
                remedy="Give one of them.",
            )
        if self.lr == 0:
            raise UsageError("--lr is 0; it must be positive.", remedy="Leave it out for its default.")
        if self.calls and not self.talks:
            raise UsageError("--calls is a share of the turns of --talks.", remedy="Give --talks too, such as 0.2.")
        if self.calls_by_heart and not self.calls:
            raise UsageError("--calls-by-heart came without --calls.", remedy="Give --calls too, such as 0.5.")


@described
@dataclass(frozen=True, kw_only=True)
class AskSettings:
    """Questions about items, and the model and source that answer them.

    Raises:
        UsageError: options that do not go together.
    """

    question: Annotated[str | None, Argument("What to ask; with --jsonl it is for lines without one.")] = None
    model: Annotated[Path, Option("Folder that `pinembed align` wrote, or a HOME of generations.")]
    source: Annotated[Path, Option("Embedding source that `pinembed export` wrote, or a HOME of generations.")]
    generation: GenerationOption = None
    items: Annotated[
        tuple[str, ...], Option("Item id; give it again for a question about several.", flags=("--item",))
    ] = ()
    each: Annotated[bool, Option("Ask about each --item apart.")] = False
    jsonl: Annotated[
        str | None,
        Option(
            'Questions from a file, or - for standard input: {"id", "question", "items"} a line; '
            "answers go out the same way.",
            metavar="FILE",
        ),
    ] = None
    user: Annotated[
        str | None, Option("User whose strongest interests, five at most, come before the items; from --users.")
    ] = None
    users: Annotated[str | None, Option("Taste store, DATABASE/NAME, that `pinembed taste update` keeps.")] = None
    tokens: Annotated[
        int | None, Option("Soft tokens an item, up to what the model has.", shown_default="all it has")
    ] = None
    max_new_tokens: Annotated[int, Option("Longest answer, in tokens.", min=1)] = 128
    batch_size: Annotated[int, Option("Questions answered together.", min=1)] = 16
    device: DeviceOption = "auto"
    dtype: Annotated[str, Option("auto for the type of the stored weights; float32, bfloat16 or float16.")] = "auto"

    def __post_init__(self) -> None:
        if self.jsonl is not None and (self.items or self.each):
            raise UsageError("--jsonl came with --item or --each.", remedy="Name the items in the lines of the file.")
        if (self.user is None) != (self.users is None):
            raise UsageError(
                "--user and --users go together.", remedy="Give both: --user ann --users catalog/taste, or none."
            )
