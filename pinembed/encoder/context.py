"""How much text an encoder reads: what is longer than its context is cut by the tokenizer, without a word.

Shape legend: M texts, T context length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pinembed.encoder.encoder import Tokenizer

SPECIAL = 3
"""Tokens that a tokenizer may add to those of the text; bytes and these are the most that a text can take."""


class Context:
    """The tokenizer's view of texts.

    Attributes:
        places: tokens that the text tower reads, those of begin and end included.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = cast(Any, tokenizer)
        self.places = int(self._tokenizer.context_length)
        self._known: dict[str, bool] = {}

    def fits(self, text: str) -> bool:
        """Whether the whole text is read."""
        if len(text) + SPECIAL <= self.places and text.isascii():
            return True
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self.count(text) <= self.places
        return found

    def count(self, text: str) -> int:
        """Tokens of the whole text, begin and end included."""
        of_transformers = getattr(self._tokenizer, "tokenizer", None)
        if of_transformers is None:
            return len(self._tokenizer.encode(text)) + 2
        return len(of_transformers(self._tokenizer.clean_fn(text), verbose=False).input_ids)

    def distinct(self, texts: Sequence[str]) -> int:
        """How many of the texts the tower can tell apart, once they are cut."""
        return len({tuple(row) for row in self._tokenizer(list(texts)).tolist()}) if texts else 0
