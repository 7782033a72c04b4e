"""Token ids of a chat, turn after turn, and the labels of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

IGNORED = -100  # transformers' label of a token that takes no part in the loss


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A turn of a chat that is behind: a question, of how many items that came with it, and its answer."""

    question: str
    answer: str
    items: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What stands before the first turn of a chat.

    Attributes:
        system: the task, in words.
        tools: that the model may call, as JSON schemas.
    """

    system: str
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat so far."""
        return [{"role": "system", "content": self.system}]


class ChatIds:
    """Token ids of a chat, and where its answers stand."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._answers: list[slice] = []

    def answer(self, ids: Sequence[int]) -> None:
        """Go on with an answer."""
        self._answers.append(slice(len(self.ids), len(self.ids) + len(ids)))
        self.ids += ids

    def labels(self, *, every_turn: bool) -> list[int]:
        """The ids of the last answer, or of all, and IGNORED elsewhere."""
        labels = [IGNORED] * len(self.ids)
        for place in self._answers if every_turn else self._answers[-1:]:
            labels[place] = self.ids[place]
        return labels
