"""Options that several commands share, so that one word means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no words on standard error, only errors.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace an output folder that pinembed wrote; other files are never deleted."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write; new or empty.", show_default=False)]
Table = Annotated[
    str,
    typer.Option(
        "--table", help="Embedding table, DATABASE/NAME: catalog/pins is catalog/pins.lance.", show_default=False
    ),
]
EncoderOption = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="Encoder: a folder in open_clip's local-dir layout, NAME/PRETRAINED, or hf-hub:OWNER/REPO.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps; auto takes a GPU where there is one.")
]
DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Folder of images with metadata.csv, .jsonl or .parquet.", show_default=False),
]
TextOption = Annotated[
    str | None,
    typer.Option(
        "--text",
        help="Metadata columns that make an item's text, separated by commas, each with a weight if training should "
        "speak it more often: title=3,label; default: title, name, caption, text, label, category, description and "
        "tags, where they exist.",
        show_default=False,
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        help="A sentence that makes an item's text, with columns in braces, in place of --text: 'a {color} {title}, "
        "{category}'. What stands before a missing value goes with it.",
        show_default=False,
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group",
        help="Metadata column whose equal values mean the same product or kind; without it equal item or equal text.",
        show_default=False,
    ),
]
SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        help="Metadata column whose values cut the split into slices; may be given several times; default: category or "
        "another column of a usual name, else that of --group, with at most 50 values.",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Images that the encoder takes at once; chosen by device if not given."),
]


def columns(value: str | None) -> tuple[str, ...]:
    """`title,label` as names."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())
