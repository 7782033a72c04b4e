"""SoftTokenMaker: stored embeddings to what a server takes in the place of images; the language model is not loaded.

Shape legend: I items, D floats of one embedding, m soft tokens of one item, H language-model width, and the width that
the server takes, W = H x (1 + levels).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pinembed.errors import ModelError, NonFiniteEmbeddingError, UsageError
from pinembed.trimmed.checkpoint import read_checkpoint
from pinembed.trimmed.projector import Projector, load_projector, projector_sha256
from pinembed.trimmed.request_parts import widened

HASH_DIGITS = 16
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class SoftTokenMaker:
    """The projector of a model folder, and the width that its server takes.

    Attributes:
        folder: that `align` wrote.
        projector: in fp32 on the CPU.
        projector_hash: start of the sha256 of its weights.
        tokens: m.
        width: W.
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
        projector = load_projector(folder)
        if projector is None:
            raise ModelError(
                f"{folder} has no projector yet; wanted one that turns embeddings into soft tokens.",
                remedy="Train one: pinembed align DATA --model MODEL --source SOURCE --out OUT",
            )
        hidden = config["text_config"]["hidden_size"]
        if projector.config.hidden != hidden:
            raise ModelError(
                f"The projector in {folder} makes tokens of {projector.config.hidden} floats; "
                f"the language model takes {hidden}.",
                remedy="Run `pinembed align` on this model.",
            )
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
                remedy="Run `pinembed align` again; soft tokens should be as loud as token embeddings.",
            )
        made: NDArray[np.float16] = soft_ImW.numpy()
        return made

    def uuid(self, item_id: str, fingerprint: str) -> str:
        """A server's cache key: it changes with the item, the encoder, the projector, and the size asked for."""
        return f"{item_id}@{fingerprint}@{self.projector_hash}-{self.tokens}x{self.width}"
