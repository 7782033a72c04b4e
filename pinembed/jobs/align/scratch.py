"""A tiny Qwen3-VL whose vocabulary fits a catalogue: for trying the whole way without a download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinembed.catalogue.metadata import read_catalogue
from pinembed.outfolder import staged_folder
from pinembed.trimmed.questions import QuestionMaker, choose_fields
from pinembed.trimmed.tiny import write_tiny_qwen3vl


def write_scratch_model(
    *, data: Path, out: Path, fields: Sequence[str] = (), seed: int = 0, overwrite: bool = False
) -> None:
    """Write a Qwen3-VL checkpoint with seeded random weights, its tokenizer trained on the questions about DATA.

    Args:
        data: DATA folder with metadata.
        out: folder to write; `trim` takes it next.
        fields: metadata columns to ask about; by default those of short values that repeat.
        seed: of the weights.
        overwrite: replace an `out` that pinembed wrote.

    Raises:
        DataError: no metadata, or no field to ask about.
        UsageError: an unknown field.
        OutputExistsError: as for `staged_folder`.
        MissingExtraError: the extra `vlm` is missing.
    """
    catalogue = read_catalogue(data)
    chosen = choose_fields(catalogue.items, catalogue.items, wanted=fields, place=data)
    texts = QuestionMaker(catalogue.items, chosen).texts()
    with staged_folder(out, kind="tiny Qwen3-VL", overwrite=overwrite) as folder:
        write_tiny_qwen3vl(folder, texts=texts, seed=seed)
