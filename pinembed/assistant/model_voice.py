"""ModelVoice: a trimmed model that plans acts as tool calls, and answers about items from their stored embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from pinembed.assistant.act import ABOUT, COMPARE
from pinembed.assistant.answer import title_of
from pinembed.assistant.rules import Plan
from pinembed.assistant.state import State
from pinembed.assistant.tools import frame_of, read_call, wish_text
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.assistant.words import clean, plain
from pinembed.reports.table import SearchResult
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.prompts import CALL
from pinembed.trimmed.served import ServedModel
from pinembed.trimmed.tool_calls import call_form

MOST_CALL_TOKENS = 192
TRIED_TURNS = 2  # without any call, after which a model is taken for one that was never taught tools
LONGEST_ANSWER = 600
NOTHING_SAID = "no answer"
FEWEST_RIGHT = 0.95
"""Share of the calls that judged a model in `align --calls`, below which it is not asked for acts."""


class ModelVoice:
    """Plans and answers with one model.

    Args:
        model: with its projector; in this process, or run by a server.
        source: embeddings of the table's items.
        vocabulary: of the table.
        max_new_tokens: longest answer.

    Raises:
        ModelError: the model has no projector.
        EncoderMismatchError: the source is another encoder's.
    """

    def __init__(
        self, model: TrimmedModel | ServedModel, source: EmbeddingSource, vocabulary: Vocabulary, *, max_new_tokens: int
    ) -> None:
        model.require_projector().check_source(source.spec.fingerprint, origin=str(source.folder))
        self._model, self._source, self._vocabulary = model, source, vocabulary
        self._max_new_tokens = max_new_tokens
        specials = model.writer.tokenizer.all_special_tokens
        self._frame = frame_of(vocabulary, specials, by_heart=model.calls.by_heart)
        self._form = call_form(model.writer)
        self._asked, self._has_called = 0, False

    @property
    def may_plan(self) -> bool:
        """Whether nothing is known of the model's calls, or enough of them were right."""
        return self._model.calls.right is None or self._model.calls.right >= FEWEST_RIGHT

    def plan(self, say: str, state: State, shown: Sequence[SearchResult]) -> Plan | None:
        """The act of the model's call; None where it makes none of the grammar, so that the rules decide.

        A model that has only written words in its first turns is not asked again, and one that `align` taught no calls,
        or that made too few of them right, is never asked.
        """
        if not self.may_plan:
            return None
        if self._asked >= TRIED_TURNS and not self._has_called:
            return None
        wish = wish_text(self._plain(say), [self._plain(title_of(item)) for item in shown])
        messages = [*self._frame.messages, {"role": "user", "content": wish}]
        written = self._model.say(messages, tools=self._frame.tools, max_new_tokens=MOST_CALL_TOKENS)
        self._asked, self._has_called = self._asked + 1, self._has_called or CALL in written
        act = read_call(written, self._vocabulary, self._form)
        if act is None:
            return None
        asks = act.name in {ABOUT, COMPARE} and not act.question
        return Plan(act=dataclasses.replace(act, question=say) if asks else act, planner="model")

    def speak(
        self,
        items: Sequence[SearchResult],
        question: str,
        *,
        compared: bool,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """What the model says of items: of each apart, or of all together where they are compared.

        Items that the source does not hold are passed over; the places before the answers are written here.

        Args:
            items: in the order of the list.
            question: about them.
            compared: of all together.
            on_text: called with the pieces of what is returned, as they come.
        """
        row_M = self._source.find([item.id for item in items])
        known = [place for place, row in enumerate(row_M.tolist()) if row >= 0]
        if not known:
            return ""
        groups = [known] if compared else [[place] for place in known]
        leads = [f"{' and '.join(str(items[place].rank) for place in group)}, from the picture: " for group in groups]
        asked = self._plain(question) or "Describe this item."
        rows = [self._source.rows(row_M[group]) for group in groups]
        if on_text is None:
            answers = self._model.generate([asked] * len(groups), rows, max_new_tokens=self._max_new_tokens)
            return "\n".join(lead + _cleaned(answer) for lead, answer in zip(leads, answers, strict=True))
        lines = list[str]()
        for lead, rows_MD in zip(leads, rows, strict=True):
            on_text(("\n" if lines else "") + lead)
            lines.append(lead + self._streamed(asked, rows_MD, on_text))
        return "\n".join(lines)

    def _streamed(self, asked: str, rows_MD: np.ndarray, on_text: Callable[[str], None]) -> str:
        """One answer, handed on as it comes in whole words that are clean."""
        text, told = "", ""

        def take(piece: str) -> None:
            nonlocal text, told
            text += piece
            safe = _cleaned(_whole_words(text))
            if safe.startswith(told) and safe != NOTHING_SAID:
                on_text(safe[len(told) :])
                told = safe

        [answer] = self._model.generate([asked], [rows_MD], max_new_tokens=self._max_new_tokens, on_text=take)
        whole = _cleaned(answer)
        if whole.startswith(told):
            on_text(whole[len(told) :])
        return whole

    def _plain(self, text: str) -> str:
        return plain(text, self._model.writer.tokenizer.all_special_tokens)


def _cleaned(answer: str) -> str:
    return clean(answer)[:LONGEST_ANSWER] or NOTHING_SAID


def _whole_words(text: str) -> str:
    """A beginning of a text that no later piece of it can change: no cut word, no mark of a template begun."""
    begun = text.rfind("<")
    text = text if begun < 0 or ">" in text[begun:] else text[:begun]
    return text[: max(text.rfind(" "), text.rfind("\n"), 0)]
