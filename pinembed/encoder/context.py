"""How much text an encoder reads: what is longer than its context is cut by the tokenizer, without a word.

Shape legend: M texts, T context length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self.reads(text)
        return found

    def reads(self, text: str) -> bool:
        """The same of a text that is asked for once, and not remembered."""
        return (len(text) + SPECIAL <= self.places and text.isascii()) or self.count(text) <= self.places

    def count(self, text: str) -> int:
        """Tokens of the whole text, begin and end included."""
        of_transformers = getattr(self._tokenizer, "tokenizer", None)
        if of_transformers is None:
            return len(self._tokenizer.encode(text)) + 2
        cleaned = self._tokenizer.clean_fn(text)
        if self._tokenizer.tokenizer_mode == "clips":  # which adds begin, end and class itself
            return len(of_transformers(cleaned, add_special_tokens=False, verbose=False).input_ids) + SPECIAL
        return len(of_transformers(cleaned, verbose=False).input_ids)

    def distinct(self, texts: Sequence[str]) -> int:
        """How many of the texts the tower can tell apart, once they are cut."""
        return len(set(self.beginnings(texts)))

    def beginnings(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """What the tower reads of each text."""
        return [tuple(row) for row in self._tokenizer(list(texts)).tolist()] if texts else []


@dataclass(kw_only=True)
class CutCount:
    """Texts that the text tower reads only the beginning of, counted as they come.

    Attributes:
        texts: that were looked at.
    """

    context: Context
    texts: int = 0
    _cut: set[int] = field(default_factory=set)
    _beginnings: set[int] = field(default_factory=set)

    def add(self, texts: Iterable[str]) -> None:
        """Count distinct texts."""
        ordered = list(texts)
        self.texts += len(ordered)
        cut = [text for text in ordered if not self.context.reads(text)]
        self._cut |= set(map(hash, cut))
        self._beginnings |= set(map(hash, self.context.beginnings(cut)))

    def told(self, remedy: str) -> str:
        """A sentence about them; empty where all are read whole."""
        cut = len(self._cut)
        return told_lengths(self.texts, self.context, cut=cut, equal=cut - len(self._beginnings), remedy=remedy)


def told_lengths(
    texts: int, context: Context, *, shortened: int = 0, cut: int = 0, equal: int = 0, remedy: str = ""
) -> str:
    """What became of texts that are longer than the context, for people; empty where there are none."""
    if not shortened + cut:
        return ""
    return (
        f"{shortened + cut:,} of {texts:,} texts are longer than the {context.places} tokens that the encoder reads: "
        f"{shortened:,} are shortened to whole fields and sentences, {cut:,} are cut"
        + (f"; {equal:,} become equal to another one. {remedy}" if equal else ".")
    )
