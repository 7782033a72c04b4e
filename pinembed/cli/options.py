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
