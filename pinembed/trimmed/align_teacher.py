"""What `teach` stored, as dialogues about the training items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinembed.errors import DataError
from pinembed.nouns.item import Item
from pinembed.trimmed.prompts import PromptWriter
from pinembed.trimmed.questions import Dialogue
from pinembed.trimmed.taught import read_taught


def taught_dialogues(folder: Path, items: Sequence[Item], writer: PromptWriter) -> list[Dialogue]:
    """Those about these items.

    Args:
        folder: that `teach` wrote.
        items: training items.
        writer: of the trimmed model; has to cut answers into the tokens that the teacher weighed.

    Raises:
        DataError: nothing of the kind, nothing about these items, or another tokenizer.
    """
    row_of = {item.id: row for row, item in enumerate(items)}
    stored = [taught for taught in read_taught(folder) if taught.item in row_of]
    if not stored:
        raise DataError(
            f"{folder} holds no answers about the {len(items)} training items.",
            remedy="Run `pinembed teach` on the same DATA.",
        )
    vocabulary = len(writer.tokenizer)
    for taught in stored:
        if writer.answer_ids(taught.answer) != taught.token_A.tolist() or int(taught.top_Ak.max()) >= vocabulary:
            raise DataError(
                f"{folder} cuts {taught.answer!r} into other tokens than the trimmed model.",
                remedy="Let a checkpoint with the same tokenizer teach, best the one that the model was trimmed from.",
            )
    return [
        Dialogue(rows=(row_of[taught.item],), question=taught.question, answer=taught.answer, taught=taught)
        for taught in stored
    ]
