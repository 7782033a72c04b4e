"""Questions about items, and their answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about one or several items.

    Attributes:
        id: the caller's name of it.
        text: what is asked.
        items: item ids, in the order that the text means.
    """

    id: str
    text: str
    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one question.

    Attributes:
        id: of the question.
        question: its text.
        items: those the answer is about; unknown ones are left out.
        answer: what the model said; None where no item was known.
        unknown: ids that the source does not hold.
    """

    id: str
    question: str
    items: tuple[str, ...]
    answer: str | None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AskReport:
    """Result of `pinembed ask`.

    Attributes:
        answers: one for each question, in order.
        unknown: ids that the source does not hold, sorted.
        tokens_per_item: soft tokens that stood for one item.
        seconds: of reading the rows and answering; loading the model not counted.
        load_seconds: of loading model and source.
    """

    answers: tuple[Answer, ...]
    unknown: tuple[str, ...]
    tokens_per_item: int
    seconds: float
    load_seconds: float

    @property
    def exit_code(self) -> int:
        """3 where an id was unknown; the others are answered all the same."""
        return 3 if self.unknown else 0
