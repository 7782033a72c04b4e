"""Stored embeddings to what a server takes in the place of images; the language model is not loaded.

A server would take on trust what it is sent, and one wrong item ends vLLM's engine for everybody: so parts are looked
at before they go.

Shape legend: I items, D floats of one embedding, m soft tokens of one item, H language-model width, and the width that
the server takes, W = H x (1 + levels).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinembed.errors import ModelError, NonFiniteEmbeddingError, UsageError
from pinembed.trimmed.checkpoint import read_checkpoint
from pinembed.trimmed.projector import Projector, load_projector, no_projector, projector_sha256
from pinembed.trimmed.prompts import grid_thw

SGLANG_FORMAT = "precomputed_embedding"


def widened(soft_ImH: Tensor, levels: int) -> Tensor:
    """(I, m, W): the soft tokens with `levels` zero DeepStack levels behind each."""
    zeros = soft_ImH.new_zeros(*soft_ImH.shape[:2], levels * soft_ImH.shape[2])
    return torch.cat([soft_ImH, zeros], dim=2)


def to_base64(array: NDArray[np.generic]) -> str:
    """An array as base64 of an .npy file, without pickles."""
    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    return base64.b64encode(written.getvalue()).decode()


def vllm_part(soft_mW: NDArray[np.float16], uuid: str) -> dict[str, Any]:
    """One item as a content part of a chat message.

    Args:
        soft_mW: the item's soft tokens.
        uuid: the server's cache key; must differ whenever the soft tokens do.
    """
    grid = np.array(grid_thw(len(soft_mW)), np.int64)
    embeds = {"image_embeds": to_base64(soft_mW), "image_grid_thw": to_base64(grid)}
    return {"type": "image_embeds", "image_embeds": embeds, "uuid": uuid}


def sglang_line(soft_mW: NDArray[np.float16]) -> dict[str, Any]:
    """One item as JSON; `sglang_image_data` makes of several what the engine takes."""
    return {"format": SGLANG_FORMAT, "feature": to_base64(soft_mW), "image_grid_thw": grid_thw(len(soft_mW))}


def size_of(tokens: int, width: int) -> str:
    """What ends the uuid of an item's soft tokens."""
    return f"-{tokens}x{width}"


def json_line(item_id: str, content: dict[str, Any]) -> bytes:
    """A line of an exported file: the id, and what the server takes."""
    return (json.dumps({"id": item_id, **content}, ensure_ascii=False) + "\n").encode()


HASH_DIGITS = 16


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
            ModelError: no model folder, no projector in it, or one of another width.
            UsageError: more tokens than K.
        """
        folder = Path(folder)
        checkpoint = read_checkpoint(folder)
        if deepstack_levels > 0 and not checkpoint.family.deepstack:
            raise UsageError(
                f"{deepstack_levels} DeepStack levels were asked for; {checkpoint.family.name} has none.",
                remedy="Leave --deepstack-levels out.",
            )
        projector = load_projector(folder, hidden=checkpoint.config["text_config"]["hidden_size"])
        if projector is None:
            raise no_projector(str(folder))
        dtype = getattr(torch, checkpoint.dtype)
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
        return f"{item_id}@{fingerprint}@{self.projector_hash}{size_of(self.tokens, self.width)}"


AGAIN = "Export the table again with --format vllm or sglang."


def from_base64(text: str) -> NDArray[Any]:
    """The inverse of `to_base64`.

    Raises:
        ModelError: not base64 of an .npy file, or one that holds a pickle.
    """
    try:
        array: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)
    except (TypeError, ValueError, EOFError, OSError, binascii.Error) as error:
        raise ModelError(
            f"The embedding does not hold base64 of an .npy array: {str(error)[:100]}",
            remedy=AGAIN,
        ) from error
    return array


def checked_rows(stored: Any, grid: Any, *, width: int | None) -> NDArray[Any]:
    """The soft tokens of one item, where a server can take them.

    Args:
        stored: base64 of an .npy.
        grid: image_grid_thw of the item.
        width: W; None where any will do.

    Returns:
        (m, W) float16.

    Raises:
        ModelError: no such array, NaN or inf in it, another width, or a grid of another number of tokens.
    """
    soft_mW = from_base64(stored)
    grid_3 = np.asarray(grid)
    whole = grid_3.shape == (3,) and grid_3.dtype.kind == "i" and bool((grid_3 > 0).all())
    even = whole and not (grid_3[1:] % 2).any()  # patches merge 2 x 2
    tokens = math.prod(grid_3.tolist()) // 4 if even else 0
    if soft_mW.ndim != 2 or soft_mW.dtype != np.float16 or not bool(np.isfinite(soft_mW).all()):
        raise ModelError(
            f"An item's soft tokens are {soft_mW.dtype} of shape {soft_mW.shape}, or not finite; "
            "wanted finite float16 of (m, W).",
            remedy=AGAIN,
        )
    if width is not None and soft_mW.shape[1] != width:
        raise ModelError(
            f"An item's soft tokens are {soft_mW.shape[1]} wide, the server takes {width}; it would end for everybody.",
            remedy="Export the table again with the model and the --deepstack-levels of this server.",
        )
    if tokens != len(soft_mW):
        raise ModelError(
            f"An item has {len(soft_mW)} soft token(s) and a grid of {tokens} ({grid_3.tolist()}); "
            "the server would end for everybody.",
            remedy=AGAIN,
        )
    return soft_mW


def checked_part(part: Mapping[str, Any], *, width: int | None) -> NDArray[Any]:
    """The soft tokens of a content part that vLLM can take; arguments, shape and errors as for `checked_rows`.

    Its uuid has to tell its size: vLLM puts what it remembers of a uuid in the place of the rows that came with it.
    """
    embeds = part.get("image_embeds") or {}
    soft_mW = checked_rows(embeds.get("image_embeds", ""), from_base64(embeds.get("image_grid_thw", "")), width=width)
    size, uuid = size_of(*soft_mW.shape), str(part.get("uuid"))
    if not uuid.endswith(size):
        raise ModelError(
            f"An item's uuid {uuid[-100:]!r} does not end in {size}, the size of its soft tokens; the server "
            "would take what it remembers of another item.",
            remedy=AGAIN,
        )
    return soft_mW
