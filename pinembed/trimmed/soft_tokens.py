"""Stored embeddings to what a server takes in the place of images, and whole requests to vLLM and SGLang.

The language model is not loaded. See docs/serving.md for the servers' flags.

Shape legend: I items, D floats of one embedding, m soft tokens of one item, H language-model width, and the width that
the server takes, W = H x (1 + levels).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinembed.errors import ModelError, NonFiniteEmbeddingError, UsageError
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.checkpoint import import_transformers, read_checkpoint
from pinembed.trimmed.projector import Projector, load_projector, no_projector, projector_sha256
from pinembed.trimmed.prompts import PromptWriter, grid_thw

SGLANG_FORMAT = "precomputed_embedding"
# SGLang's documented entry puts the embedding under `feature`, which its Qwen3-VL of 0.5.23 hands to the vision tower;
# what a `processor_output` entry has under `precomputed_embeddings` goes past the tower.
SGLANG_FORMS = {"processor_output": "precomputed_embeddings", SGLANG_FORMAT: "feature"}


def widened(soft_ImH: Tensor, levels: int) -> Tensor:
    """(I, m, W): the soft tokens with `levels` zero DeepStack levels behind each."""
    zeros = soft_ImH.new_zeros(*soft_ImH.shape[:2], levels * soft_ImH.shape[2])
    return torch.cat([soft_ImH, zeros], dim=2)


def to_base64(array: NDArray[np.generic]) -> str:
    """An array as base64 of an .npy file, without pickles."""
    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    return base64.b64encode(written.getvalue()).decode()


def from_base64(text: str) -> NDArray[Any]:
    """The inverse of `to_base64`.

    Raises:
        ModelError: not base64 of an .npy file, or one that holds a pickle.
    """
    try:
        array: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)
    except (ValueError, EOFError, OSError, binascii.Error) as error:
        raise ModelError(
            f"The embedding does not hold base64 of an .npy array: {str(error)[:100]}",
            remedy="Export the table again with --format vllm or sglang.",
        ) from error
    return array


def vllm_part(soft_mW: NDArray[np.float16], uuid: str) -> dict[str, Any]:
    """One item as a content part of a chat message.

    Args:
        soft_mW: the item's soft tokens.
        uuid: the server's cache key; must differ whenever the soft tokens do.
    """
    grid = np.array(grid_thw(len(soft_mW)), np.int64)
    embeds = {"image_embeds": to_base64(soft_mW), "image_grid_thw": to_base64(grid)}
    return {"type": "image_embeds", "image_embeds": embeds, "uuid": uuid}


def vllm_request(parts: Sequence[dict[str, Any]], question: str, *, model: str) -> dict[str, Any]:
    """The body of a POST to /v1/chat/completions: the items, then the question, answered greedily."""
    content = [*parts, {"type": "text", "text": question}]
    return {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0}


def sglang_line(soft_mW: NDArray[np.float16]) -> dict[str, Any]:
    """One item as JSON; `sglang_image_data` makes of several what the engine takes."""
    return {"format": SGLANG_FORMAT, "feature": to_base64(soft_mW), "image_grid_thw": grid_thw(len(soft_mW))}


def sglang_image_data(lines: Sequence[dict[str, Any]], *, form: str = "processor_output") -> list[dict[str, Any]]:
    """`image_data` of Engine.generate: SGLang takes one entry a modality, so all items stand in it one after another.

    Args:
        lines: of the items, in the order in which the prompt has their pads.
        form: one of SGLANG_FORMS.

    Returns:
        One entry: the soft tokens (sum of m, W) float16, and image_grid_thw (I, 3) int64.

    Raises:
        UsageError: an unknown form.
        ModelError: a line of another format or width.
    """
    if form not in SGLANG_FORMS:
        raise UsageError(f"The form {form!r} is none of {', '.join(SGLANG_FORMS)}.", remedy="Give one of these.")
    features = [from_base64(line["feature"]) for line in lines if line.get("format") == SGLANG_FORMAT]
    if len(features) != len(lines) or not lines or len({feature.shape[1:] for feature in features}) != 1:
        raise ModelError(
            f"{len(lines)} line(s) make no SGLang entry; wanted {SGLANG_FORMAT} lines of one width.",
            remedy="Take the lines of one `pinembed export --format sglang`.",
        )
    grid_I3 = torch.tensor([line["image_grid_thw"] for line in lines], dtype=torch.int64)
    soft_TW = torch.from_numpy(np.concatenate(features))
    return [{"format": form, SGLANG_FORMS[form]: soft_TW, "image_grid_thw": grid_I3}]


def json_line(item_id: str, content: dict[str, Any]) -> bytes:
    """A line of an exported file: the id, and what the server takes."""
    return (json.dumps({"id": item_id, **content}, ensure_ascii=False) + "\n").encode()


HASH_DIGITS = 16
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class SoftTokenMaker:
    """The projector of a model folder, and the width that its server takes.

    Attributes:
        projector: in fp32 on the CPU.
        projector_hash: start of the sha256 of its weights.
    """

    def __init__(
        self, folder: Path, projector: Projector, *, tokens: int | None, deepstack_levels: int, dtype: torch.dtype
    ) -> None:
        if deepstack_levels < 0:
            raise UsageError(
                f"{deepstack_levels} DeepStack levels were asked for; wanted 0 or more.",
                remedy="Give 0 for a trimmed checkpoint, else the number in the server's config.json.",
            )
        self.folder = folder
        self.projector = projector
        self.projector_hash = projector_sha256(folder)[:HASH_DIGITS]
        self.tokens = projector.checked_tokens(tokens)
        self.width = projector.config.hidden * (1 + deepstack_levels)
        self._levels, self._dtype = deepstack_levels, dtype

    @classmethod
    def load(cls, folder: str | Path, *, tokens: int | None = None, deepstack_levels: int = 0) -> SoftTokenMaker:
        """Load the projector of a model folder; the language model stays on the disk.

        Args:
            folder: that `align` wrote.
            tokens: m; None for the projector's K.
            deepstack_levels: of the tower that the server has loaded; 0 for a trimmed checkpoint or no tower.

        Raises:
            ModelError: no Qwen3-VL folder, no projector in it, or one of another width.
            UsageError: more tokens than K.
        """
        folder = Path(folder)
        config = read_checkpoint(folder).config
        projector = load_projector(folder, hidden=config["text_config"]["hidden_size"])
        if projector is None:
            raise no_projector(str(folder))
        dtype = DTYPES.get(str(config.get("dtype") or config.get("torch_dtype")), torch.float32)
        return cls(folder, projector, tokens=tokens, deepstack_levels=deepstack_levels, dtype=dtype)

    @torch.inference_mode()
    def make(self, embedding_ID: NDArray[np.float16]) -> NDArray[np.float16]:
        """Soft tokens as they go over the wire.

        They are rounded to the model's type first, as `ask` does; float16 holds every bfloat16 of their size.

        Args:
            embedding_ID: rows of an embedding source or table of the projector's encoder.

        Returns:
            (I, m, W) float16.

        Raises:
            EncoderMismatchError: rows of another size than D.
            NonFiniteEmbeddingError: a soft token is beyond what float16 holds.
        """
        soft_ImH = self.projector(torch.from_numpy(np.array(embedding_ID)), self.tokens).to(self._dtype)
        soft_ImW = widened(soft_ImH, self._levels).to(torch.float16)
        if not bool(torch.isfinite(soft_ImW).all()):
            raise NonFiniteEmbeddingError(
                f"The projector in {self.folder} gives soft tokens that float16 cannot hold.",
                remedy="Run `pinembed align` again; soft tokens should have the RMS of token embeddings.",
            )
        made: NDArray[np.float16] = soft_ImW.numpy()
        return made

    def uuid(self, item_id: str, fingerprint: str) -> str:
        """A server's cache key: it changes with the item, the encoder, the projector, and the size asked for."""
        return f"{item_id}@{fingerprint}@{self.projector_hash}-{self.tokens}x{self.width}"


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
