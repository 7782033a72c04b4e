"""What `export` and `verify` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import (
    Argument,
    GenerationOption,
    Option,
    OutOption,
    OverwriteOption,
    PythonOnly,
    ReadTableOption,
    described,
    refuse_unknown,
)
from pinembed.settings.quality import check_names

PLAIN_FORMATS = ("source", "parquet", "npy")
SERVING_FORMATS = ("vllm", "sglang")


@described
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """A table, and the folder that its embeddings are written to.

    Raises:
        UsageError: an unknown format, or options that do not go with it.
    """

    table: ReadTableOption
    out: OutOption
    generation: GenerationOption = None
    format: Annotated[
        str,
        Option(
            "source: mapped folder for ask, align and pinembed.EmbeddingSource; parquet: all columns, zstd; "
            "npy: vectors.npy and ids.jsonl; vllm, sglang: soft tokens as request parts, a line an item."
        ),
    ] = "source"
    model: Annotated[
        Path | None, Option("Folder that align wrote; its projector makes the soft tokens of vllm and sglang.")
    ] = None
    tokens: Annotated[
        int | None, Option("Soft tokens an item for vllm and sglang; by default the projector's K.", min=1)
    ] = None
    deepstack_levels: Annotated[
        int,
        Option(
            "For a server that runs the untrimmed checkpoint with its tower loaded: the number of its DeepStack "
            "levels, which are then sent as zeros.",
            min=0,
        ),
    ] = 0
    hide: Annotated[
        tuple[str, ...],
        Option(
            "Checks of `audit`, separated by commas: rows that they flagged and nobody cleared or appealed are left "
            "out; the manifest tells how many.",
            comma_separated=True,
        ),
    ] = ()
    shard_mib: Annotated[int, Option("Most MiB in one file; npy is always one file.", min=1)] = 256
    overwrite: OverwriteOption = False
    base: Annotated[
        Path | None,
        PythonOnly("An earlier source of the table; its files are taken over as far as their rows are still the same."),
    ] = None
    base_table: Annotated[
        str | None, PythonOnly("The table as `base` was made from all of it; rows in files of both are not read again.")
    ] = None

    def __post_init__(self) -> None:
        check_names(self.hide, "--hide")
        known = (*PLAIN_FORMATS, *SERVING_FORMATS)
        refuse_unknown("--format", self.format, known)
        if self.format in SERVING_FORMATS and self.model is None:
            raise UsageError(
                f"--format {self.format} needs the projector of a model folder, and there is no --model.",
                remedy="Give --model DIR, a folder that `pinembed align` wrote.",
            )
        has_soft_tokens = self.model is not None or self.tokens is not None or self.deepstack_levels != 0
        if self.format in PLAIN_FORMATS and has_soft_tokens:
            raise UsageError(
                f"--format {self.format} holds embeddings, not soft tokens; --model, --tokens and --deepstack-levels "
                "do not go with it.",
                remedy=f"Leave them out, or give --format {' or '.join(SERVING_FORMATS)}.",
            )


@described
@dataclass(frozen=True, kw_only=True)
class VerifySettings:
    """A folder to check."""

    folder: Annotated[Path, Argument("Folder that `pinembed export` wrote, or a HOME of generations.", metavar="DIR")]
    generation: GenerationOption = None
    base: Annotated[
        Path | None,
        PythonOnly("An earlier source that was verified; files that are the very same in it are not read again."),
    ] = None
