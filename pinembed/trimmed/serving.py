"""Whole requests to vLLM and SGLang, from stored embeddings or from parts that `export` wrote.

The language model is not loaded. A server trusts the shapes of what it is sent, and one wrong request ends it for
everybody: so width, grid and question are checked here, before anything is sent. See docs/serving.md.

Shape legend: I items, m soft tokens of one item, T tokens of all items, W width that the server takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinembed.errors import ModelError, UsageError
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.checkpoint import import_transformers, without_bars
from pinembed.trimmed.prompts import PromptWriter, user_message
from pinembed.trimmed.soft_tokens import (
    SGLANG_FORMAT,
    SoftTokenMaker,
    checked_part,
    checked_rows,
    sglang_line,
    vllm_part,
)

# SGLang's documented entry puts the embedding under `feature`, which its Qwen3-VL of 0.5.23 hands to the vision tower;
# what a `processor_output` entry has under `precomputed_embeddings` goes past the tower.
SGLANG_FORMS = {"processor_output": "precomputed_embeddings", SGLANG_FORMAT: "feature"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatTurn:
    """A turn of a conversation with a server.

    Attributes:
        question: text.
        items: ids that enter with it; later turns can speak of them too.
        answer: what the server said; None for the turn that is due.
    """

    question: str
    items: tuple[str, ...] = ()
    answer: str | None = None


def vllm_request(
    parts: Sequence[dict[str, Any]], question: str, *, model: str, width: int | None, writer: PromptWriter
) -> dict[str, Any]:
    """The body of a POST to /v1/chat/completions: the items, then the question, answered greedily.

    Args:
        parts: of the items, as `vllm_part` makes and `export` writes them.
        question: text.
        model: name under which the server serves.
        width: W.
        writer: of the model's folder; it says how its template begins an answer.

    Raises:
        ModelError: no parts, one that the server cannot take, or a template that the chat route cannot follow.
        UsageError: a special token in the question.
    """
    if not parts:
        raise ModelError("A request without items was asked for.", remedy="Give the parts of one item or more.")
    return chat_body([_user_message(parts, question, width, writer)], model, writer)


def _user_message(
    parts: Sequence[dict[str, Any]], question: str, width: int | None, writer: PromptWriter
) -> dict[str, Any]:
    """Items and a question, looked at before a server sees them."""
    for part in parts:
        width = checked_part(part, width=width).shape[1]
    writer.check_question(question)
    return {"role": "user", "content": [*parts, {"type": "text", "text": question}]}


def chat_body(messages: Sequence[dict[str, Any]], model: str, writer: PromptWriter) -> dict[str, Any]:
    """What a server's chat route needs beside the messages to write the prompt and choose the words that `ask` does."""
    return {
        "model": model,
        "messages": [*messages, *writer.chat.messages],
        "temperature": 0,
        "repetition_penalty": 1.0,  # else the server takes the folder's generation_config.json
        **writer.chat.options,
    }


def sglang_image_data(
    lines: Sequence[dict[str, Any]], *, form: str = "processor_output", width: int | None = None
) -> list[dict[str, Any]]:
    """`image_data` of Engine.generate: SGLang takes one entry a modality, so all items stand in it one after another.

    Args:
        lines: of the items, in the order in which the prompt has their pads.
        form: one of SGLANG_FORMS.
        width: W; None where any one will do.

    Returns:
        One entry: the soft tokens (sum of m, W) float16, and image_grid_thw (I, 3) int64.

    Raises:
        UsageError: an unknown form.
        ModelError: a line of another format, width or grid.
    """
    if form not in SGLANG_FORMS:
        raise UsageError(f"The form {form!r} is none of {', '.join(SGLANG_FORMS)}.", remedy="Give one of these.")
    features = [
        checked_rows(line.get("feature", ""), line.get("image_grid_thw"), width=width)
        for line in lines
        if line.get("format") == SGLANG_FORMAT
    ]
    if len(features) != len(lines) or not lines or len({feature.shape[1:] for feature in features}) != 1:
        raise ModelError(
            f"{len(lines)} line(s) make no SGLang entry; wanted {SGLANG_FORMAT} lines of one width.",
            remedy="Take the lines of one `pinembed export --format sglang`.",
        )
    grid_I3 = torch.tensor([line["image_grid_thw"] for line in lines], dtype=torch.int64)
    soft_TW = torch.from_numpy(np.concatenate(features))
    return [{"format": form, SGLANG_FORMS[form]: soft_TW, "image_grid_thw": grid_I3}]


class ServingRequests:
    """Builds requests about items; see docs/serving.md for the servers' flags."""

    def __init__(self, source: EmbeddingSource, maker: SoftTokenMaker) -> None:
        maker.projector.check_source(source.spec.fingerprint, origin=str(source.folder))
        self.source = source
        self.maker = maker
        self._writer: PromptWriter | None = None

    @classmethod
    def open(
        cls, *, model: str | Path, source: str | Path, tokens: int | None = None, deepstack_levels: int = 0
    ) -> ServingRequests:
        """Open the source and load the projector; the language model runs in the server.

        Args:
            model: folder that `align` wrote, which the server runs too.
            source: embedding source of the encoder that the projector was trained with.
            tokens: m, soft tokens an item; None for the projector's K.
            deepstack_levels: of the tower that the server has loaded; 0 for a trimmed checkpoint or no tower.

        Raises:
            SourceError: the source is damaged.
            ModelError: no projector in the model's folder.
            EncoderMismatchError: the source is another encoder's.
            UsageError: more tokens than the projector has.
        """
        maker = SoftTokenMaker.load(model, tokens=tokens, deepstack_levels=deepstack_levels)
        return cls(EmbeddingSource.open(source), maker)

    def vllm_parts(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Content parts of a chat message, one an item, in the order asked.

        Raises:
            UnknownItemError: names the ids that the source does not hold.
        """
        soft_ImW = self.maker.make(self.source.get(ids))
        fingerprint = self.source.spec.fingerprint
        return [vllm_part(soft, self.maker.uuid(item, fingerprint)) for item, soft in zip(ids, soft_ImW, strict=True)]

    def vllm(self, ids: Sequence[str], question: str, *, model: str | None = None) -> dict[str, Any]:
        """The body of a POST to vLLM's /v1/chat/completions.

        Args:
            ids: items that the question is about.
            question: text.
            model: name under which the server serves; its folder's path where it was given none.

        Raises:
            UnknownItemError: as for `vllm_parts`.
            UsageError: a special token in the question.
            MissingExtraError: the extra `vlm`, for the tokenizer, is missing.
        """
        return self.vllm_with(self.vllm_parts(ids), question, model=model)

    def vllm_with(self, parts: Sequence[dict[str, Any]], question: str, *, model: str | None = None) -> dict[str, Any]:
        """The same body with parts that `export --format vllm` wrote.

        Raises:
            ModelError: a part of another width than the server's, or whose grid disagrees with its rows.
            UsageError, MissingExtraError: as for `vllm`.
        """
        return vllm_request(
            parts, question, model=model or str(self.maker.folder), width=self.maker.width, writer=self.writer
        )

    def vllm_chat(self, turns: Sequence[ChatTurn], *, model: str | None = None) -> dict[str, Any]:
        """The body of a POST to vLLM's /v1/chat/completions for a conversation, items entering in any of its turns.

        Args:
            turns: all but the last with their answers.
            model: name under which the server serves; its folder's path where it was given none.

        Raises:
            UnknownItemError: as for `vllm_parts`.
            UsageError: no turn, an answer missing or given for the last, no item, or a special token in a text.
            ModelError: a template that the chat route cannot follow.
            MissingExtraError: the extra `vlm`, for the tokenizer, is missing.
        """
        self._check(turns)
        messages = []
        for turn in turns:
            parts = self.vllm_parts(turn.items) if turn.items else []
            messages.append(_user_message(parts, turn.question, self.maker.width, self.writer))
            messages += [] if turn.answer is None else [{"role": "assistant", "content": turn.answer}]
        return chat_body(messages, model or str(self.maker.folder), self.writer)

    def sglang(self, ids: Sequence[str], question: str, *, form: str = "processor_output") -> dict[str, Any]:
        """Keyword arguments of SGLang's Engine.generate: `input_ids` and `image_data`.

        Args:
            ids: items that the question is about.
            question: text.
            form: `processor_output`, or `precomputed_embedding` as SGLang documents it; see docs/serving.md.

        Raises:
            UnknownItemError: as for `vllm_parts`.
            UsageError: an unknown form.
            MissingExtraError: the extra `vlm`, for the tokenizer, is missing.
        """
        return self.sglang_chat([ChatTurn(question=question, items=tuple(ids))], form=form)

    def sglang_chat(self, turns: Sequence[ChatTurn], *, form: str = "processor_output") -> dict[str, Any]:
        """Keyword arguments of SGLang's Engine.generate for a conversation, items entering in any of its turns.

        Args:
            turns: all but the last with their answers.
            form: as for `sglang`.

        Raises:
            UnknownItemError, UsageError, ModelError, MissingExtraError: as for `vllm_chat`, and an unknown form.
        """
        self._check(turns)
        ids = [item for turn in turns for item in turn.items]
        lines = [sglang_line(soft) for soft in self.maker.make(self.source.get(ids))]
        messages = []
        for turn in turns:
            messages.append(user_message(turn.question, len(turn.items)))
            messages += [] if turn.answer is None else [{"role": "assistant", "content": turn.answer}]
        return {
            "input_ids": self.writer.chat_ids(messages, self.maker.tokens),
            "image_data": sglang_image_data(lines, form=form, width=self.maker.width),
        }

    def _check(self, turns: Sequence[ChatTurn]) -> None:
        """Let only a conversation pass that is due an answer, and no text that holds more than words.

        Raises:
            UsageError: no turn, an answer missing or given for the last, no item, or a special token in a text.
        """
        answered = [turn.answer is not None for turn in turns]
        if not turns or answered != [True] * (len(turns) - 1) + [False] or not any(turn.items for turn in turns):
            raise UsageError(
                f"A conversation of {len(turns)} turn(s), {sum(answered)} with answers; wanted items, and an answer to "
                "each turn but the last.",
                remedy="Give the answers that the server gave, and leave that of the last turn out.",
            )
        for turn in turns:
            self.writer.check_question(turn.question)
            self.writer.check_question(turn.answer or "")

    @property
    def writer(self) -> PromptWriter:
        """Of the model's folder; its tokenizer is loaded once it is asked for."""
        if self._writer is None:
            self._writer = prompt_writer(self.maker.folder)
        return self._writer


def prompt_writer(folder: Path) -> PromptWriter:
    """The prompts of a model's folder, of which the tokenizer alone is loaded.

    Raises:
        MissingExtraError: the extra `vlm` is missing.
        ModelError: tokenizer and template write no prompt.
    """
    transformers = import_transformers("Writing a prompt for a server")
    with without_bars(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return PromptWriter(tokenizer, folder)
