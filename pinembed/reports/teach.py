"""What an untrimmed model said about the training images, for `align` to learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TeachReport:
    """Result of `pinembed teach`.

    Attributes:
        out: the folder that was written.
        teacher: the model that looked at the images.
        fields: metadata columns whose values the teacher weighed.
        questions: that the teacher answered in its own words.
        top: likeliest tokens that are stored for each place of an answer.
        items: training items that were looked at.
        dialogues: questions and answers that are stored.
        answer_tokens: of all answers.
        resumed: items that an earlier, stopped run had looked at.
        failed: items whose image could not be read.
        size_bytes: of the folder.
        seconds: of this run.
    """

    out: str
    teacher: str
    fields: tuple[str, ...]
    questions: tuple[str, ...]
    top: int
    items: int
    dialogues: int
    answer_tokens: int
    resumed: int
    failed: tuple[str, ...]
    size_bytes: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """3 where images could not be read; the rest is stored."""
        return 3 if self.failed else 0
