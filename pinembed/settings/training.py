"""What `finetune`, `fuse` and `evaluate` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pinembed.errors import UsageError
from pinembed.settings.option import (
    LARGEST_SEED,
    PUT,
    RUN,
    SPEED,
    TRAINING,
    DataArgument,
    DeviceOption,
    EncoderOption,
    GenerationOption,
    GroupOption,
    Option,
    OutOption,
    OverwriteOption,
    SeedOption,
    SlicesOption,
    TemplateOption,
    TextOption,
    described,
)

Loss = Literal["auto", "clip", "siglip"]
Precision = Literal["auto", "fp32", "bf16"]


@described
@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """A base encoder, the catalogue that it learns from, and how; None leaves a number to their sizes.

    Raises:
        UsageError: flags to compare, and none are named.
    """

    data: DataArgument
    base: Annotated[
        str,
        Option(
            "Encoder to start from: a folder, NAME/PRETRAINED, hf-hub:OWNER/REPO, or an architecture with "
            "--random-init."
        ),
    ]
    out: OutOption
    random_init: Annotated[bool, Option("Start from seeded random weights of a bare architecture.")] = False
    text: TextOption = ()
    template: TemplateOption = None
    group: GroupOption = None
    champion: Annotated[
        str | None,
        Option(
            "The encoder in use: it has to be beaten at the gate as well as the base, and comes back where it is not."
        ),
    ] = None
    slices: SlicesOption = ()
    fusion: Annotated[
        str,
        Option(
            "Metadata in an item's vector: auto where that finds items better for certain, off, or weights such as "
            "image=.9,title=.1."
        ),
    ] = "auto"
    flags_from: Annotated[
        str | None,
        Option(
            "Table whose `audit` counts: training leaves out pictures that are confirmed to be placeholders, or copies "
            "of others that it sees."
        ),
    ] = None
    compare_flags: Annotated[
        bool,
        Option(
            "With --flags-from: train on all images first, and tell how both differ at the gate; takes as long again."
        ),
    ] = False
    epochs: Annotated[
        int | None,
        Option("Passes over the training split; by default as its size wants.", min=1, panel=TRAINING),
    ] = None
    seed: SeedOption = 0
    minutes: Annotated[float | None, Option("Time for training; the epochs are cut to it.", min=0, panel=RUN)] = None
    batch_size: Annotated[
        int | None, Option("Images of a training step; by default up to 64.", min=2, panel=TRAINING)
    ] = None
    lr: Annotated[
        float | None,
        Option("Peak learning rate of the last layer; by default from the tower's size.", min=0, panel=TRAINING),
    ] = None
    loss: Annotated[
        Loss,
        Option(
            "Between images and texts: clip compares within a batch, siglip judges each pair; auto takes the one "
            "that the base was trained with.",
            panel=TRAINING,
        ),
    ] = "auto"
    lora: Annotated[
        int | None,
        Option(
            "Learn updates of this rank in place of the weights; they are merged when the encoder is written.",
            min=1,
            metavar="RANK",
            panel=TRAINING,
        ),
    ] = None
    matryoshka: Annotated[
        bool,
        Option("Train halves, quarters ... of the embedding too, so that tables can cut it.", panel=TRAINING),
    ] = False
    heads: Annotated[
        bool,
        Option("Fit the last layers of both towers before the rest.", flags=("--heads/--no-heads",), panel=TRAINING),
    ] = True
    refit: Annotated[
        bool,
        Option(
            "Once validation has chosen, learn from its images too: of up to 1,000 training images train a second "
            "time and average both, and fit the last layers once more (not with --no-heads or --matryoshka); not "
            "with --random-init.",
            flags=("--refit/--no-refit",),
            panel=TRAINING,
        ),
    ] = True
    l2sp: Annotated[
        float,
        Option("Pull of the run towards the weights at its start; 1 is strong, 0 none.", min=0, panel=TRAINING),
    ] = 0.0
    precision: Annotated[
        Precision,
        Option("Of the towers in training; auto takes bf16 where it is native and faster.", panel=SPEED),
    ] = "auto"
    overwrite: OverwriteOption = False
    device: DeviceOption = "auto"

    def __post_init__(self) -> None:
        if self.compare_flags and self.flags_from is None:
            raise UsageError(
                "--compare-flags compares a training with flags and one without.",
                remedy="Name the table whose flags count with --flags-from, or leave it out.",
            )


@described
@dataclass(frozen=True, kw_only=True)
class FuseSettings:
    """An encoder that is good as it is, and the catalogue whose metadata may join its vectors.

    Raises:
        UsageError: fusion is off, so that nothing is asked for.
    """

    data: DataArgument
    encoder: EncoderOption
    out: OutOption
    fusion: Annotated[str, Option("auto chooses on the val split; weights such as image=.9,title=.1 are judged.")] = (
        "auto"
    )
    text: TextOption = ()
    group: GroupOption = None
    seed: SeedOption = 0
    overwrite: OverwriteOption = False
    device: DeviceOption = "auto"

    def __post_init__(self) -> None:
        if self.fusion == "off":
            raise UsageError(
                "--fusion off leaves nothing to do.", remedy="Give auto, or weights such as image=.9,title=.1."
            )


@described
@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """An encoder, alone or beside others, and the split of a catalogue that it is measured on."""

    data: DataArgument
    encoder: Annotated[
        str,
        Option(
            "Encoder: a folder in open_clip's local-dir layout, NAME/PRETRAINED, hf-hub:OWNER/REPO, or a HOME of "
            "generations."
        ),
    ]
    generation: GenerationOption = None
    against: Annotated[
        tuple[str, ...],
        Option(
            "The encoder in use: shows both, the paired difference, and whether to change. May be given several "
            "times, e.g. for the champion and the base; then the encoder has to win against each."
        ),
    ] = ()
    split: Annotated[
        str | None,
        Option(
            "Split to measure, or all; default: test, or val for --storage-formats alone. Without a split column: "
            "train, val, test by hash. Other words for these mean the same: training, validation, dev, testing, eval."
        ),
    ] = None
    group: GroupOption = None
    text: TextOption = ()
    template: TemplateOption = None
    slices: SlicesOption = ()
    dims: Annotated[
        int | None,
        Option(
            "Floats of each embedding to measure, the first ones, as encode --dims stores them; by default all.",
            min=1,
        ),
    ] = None
    storage_formats: Annotated[
        bool,
        Option(
            "Also show what fp16, int8, binary and fewer dimensions cost, and which options of encode store the "
            "smallest that costs next to nothing."
        ),
    ] = False
    plot: Annotated[
        Path | None,
        Option(
            "PNG to write of the differences to --against by direction and slice, or of --storage-formats.",
            at_address=PUT,
        ),
    ] = None
    device: DeviceOption = "auto"
    seed: Annotated[int, Option("Seed of the bootstrap intervals.", min=0, max=LARGEST_SEED, panel=RUN)] = 0
