"""ServedModel: a model that a server runs, asked as a `TrimmedModel` is; its language model is not loaded here.

Shape legend: I items, D floats of one embedding, m soft tokens of one item, W width that the server takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinembed.errors import ModelError, ServerError
from pinembed.generation.reading import hold
from pinembed.generation.record import MODEL
from pinembed.trimmed.chat_server import ChatServer, Served, printable
from pinembed.trimmed.checkpoint import read_json
from pinembed.trimmed.projector import Projector, TaughtCalls, taught_calls
from pinembed.trimmed.prompts import PromptWriter
from pinembed.trimmed.serving import chat_body, prompt_writer, vllm_request
from pinembed.trimmed.soft_tokens import HASH_DIGITS, SoftTokenMaker, vllm_part


class ServedModel:
    """Asks a server about items, from their embeddings.

    Args:
        server: that runs the model.
        name: under which it does.
        maker: soft tokens of the model's folder.
        writer: prompts of the model's folder.
        calls: how `align` taught it to call tools, and how well.

    Raises:
        ServerError, ModelError: as for `open`.
    """

    def __init__(
        self,
        server: ChatServer,
        name: str,
        maker: SoftTokenMaker,
        writer: PromptWriter,
        calls: TaughtCalls | None = None,
    ) -> None:
        self._server, self._name, self._maker = server, name, maker
        self.writer, self.calls = writer, calls or TaughtCalls()

    @classmethod
    def open(cls, url: str, *, model: str | Path, name: str | None = None, wait_s: float) -> ServedModel:
        """Ask a server what it serves, and try one small request, so that flags that are missing are told at once.

        Args:
            url: of the server, with or without /v1.
            model: folder that `align` wrote, which the server runs too.
            name: under which it does; None where it serves one model, or says that it took it from this folder.
            wait_s: how long the server may say nothing.

        Raises:
            UsageError: no http address.
            ServerError: the server is not there, serves no model of that name, or takes no embeddings.
            ModelError: no projector in the folder, or a server that runs a model of another width.
            MissingExtraError: the extra `vlm`, for the tokenizer, is missing.
        """
        held = hold(model)
        maker = SoftTokenMaker.load(model if held is None else held.part(MODEL))
        server = ChatServer(url, wait_s=wait_s)
        served = _chosen(server, server.models(), name, maker.folder)
        _check_width(served, maker)
        opened = cls(server, served.name, maker, prompt_writer(maker.folder), taught_calls(maker.folder))
        opened.generate(["?"], [np.ones((1, maker.projector.config.dim), np.float16)], max_new_tokens=1)
        return opened

    def require_projector(self) -> Projector:
        """The projector, as `TrimmedModel` has it."""
        return self._maker.projector

    def generate(
        self,
        questions: Sequence[str],
        embeddings: Sequence[np.ndarray],
        *,
        max_new_tokens: int,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Answers to questions about items, greedily.

        Args:
            questions: B texts.
            embeddings: for each question an (n, D) array of its items.
            max_new_tokens: longest answer.
            on_text: called with each new piece of the answer; for one question.

        Raises:
            ServerError: as for `ChatServer.complete`.
            UsageError: a special token in a question.
            NonFiniteEmbeddingError, EncoderMismatchError: as for `SoftTokenMaker.make`.
        """
        told = on_text if len(questions) == 1 else None
        return [
            self._asked(
                vllm_request(self._parts(rows_ID), text, model=self._name, width=self._maker.width, writer=self.writer),
                max_new_tokens,
                told,
            ).strip()
            for text, rows_ID in zip(questions, embeddings, strict=True)
        ]

    def say(self, messages: Sequence[dict[str, Any]], *, tools: Sequence[dict[str, Any]], max_new_tokens: int) -> str:
        """The next turn of a chat without items, calls of tools included; as `TrimmedModel.say`.

        Raises:
            ServerError: as for `ChatServer.complete`.
        """
        body = chat_body(messages, self._name, self.writer)
        # the template writes the tools, and what is answered stays text: the grammar of acts reads it here
        return self._asked({**body, "tools": list(tools), "tool_choice": "none"}, max_new_tokens)

    def _asked(self, body: dict[str, Any], max_new_tokens: int, on_text: Callable[[str], None] | None = None) -> str:
        return self._server.complete({**body, "max_tokens": max_new_tokens}, on_text)

    def _parts(self, rows_ID: np.ndarray) -> list[dict[str, Any]]:
        """Content parts of items; the server's cache knows each by its soft tokens."""
        return [
            vllm_part(soft_mW, self._maker.uuid(hashlib.sha256(soft_mW.tobytes()).hexdigest()[:HASH_DIGITS], "row"))
            for soft_mW in self._maker.make(rows_ID)
        ]


def _chosen(server: ChatServer, models: Sequence[Served], name: str | None, folder: Path) -> Served:
    """The model that is meant.

    Raises:
        ServerError: none, or one of several that cannot be told.
    """
    fitting = [one for one in models if one.name == name] if name is not None else list(models)
    if name is None and len(models) > 1:
        fitting = [one for one in models if one.root and Path(one.root).resolve() == folder.resolve()]
    if len(fitting) != 1:
        raise ServerError(
            f"{server} serves {printable(', '.join(one.name for one in models)) or 'no model'}; "
            f"wanted {name or f'one model, or that of {folder}'}.",
            remedy="Name one of them with --served-name.",
        )
    return fitting[0]


def _check_width(served: Served, maker: SoftTokenMaker) -> None:
    """Refuse a server that says it runs a model of another width, where its folder can be read here.

    Raises:
        ModelError: it does; the first request would end it for everybody.
    """
    config = Path(served.root) / "config.json"
    if not served.root or not config.is_file():
        return
    stored = read_json(config, wanted="the model of the server")
    hidden = stored.get("text_config", stored).get("hidden_size")
    if hidden != maker.width:
        raise ModelError(
            f"The server runs {printable(served.root)}, which is {hidden} wide; {maker.folder} is {maker.width}, "
            "and its first request would end the server for everybody.",
            remedy="Give --model the folder that the server runs.",
        )
