"""Requests to vLLM and SGLang out of item ids: the source gives the rows, the projector the soft tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.checkpoint import import_transformers
from pinembed.trimmed.prompts import PromptWriter
from pinembed.trimmed.soft_tokens import SoftTokenMaker, sglang_image_data, sglang_line, vllm_part, vllm_request


class ServingRequests:
    """Builds requests about items; see docs/serving.md for the servers' flags.

    Attributes:
        source: where the embeddings come from.
        maker: what turns them into soft tokens.
    """

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
        """
        return vllm_request(self.vllm_parts(ids), question, model=model or str(self.maker.folder))

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
        soft_ImW = self.maker.make(self.source.get(ids))
        if self._writer is None:
            self._writer = _prompt_writer(self.maker.folder)
        input_ids = self._writer.prompt_ids(question, len(ids), self.maker.tokens)
        image_data = sglang_image_data([sglang_line(soft) for soft in soft_ImW], form=form)
        return {"input_ids": input_ids, "image_data": image_data}


def _prompt_writer(folder: Path) -> PromptWriter:
    transformers = import_transformers("Writing a prompt for SGLang")
    return PromptWriter(transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True), folder)
