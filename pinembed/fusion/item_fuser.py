"""Item vectors of one run: texts of the metadata through the text tower, each distinct one once.

Shape legend: N items, T distinct texts, D embedding floats.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pinembed.encoder.fusion import fuse
from pinembed.encoder.locate import EncoderFiles
from pinembed.nouns.encoder_spec import Fusion
from pinembed.nouns.item import text_of_value

if TYPE_CHECKING:
    from pinembed.encoder.context import CutCount
    from pinembed.encoder.encoder import Encoder


Floats = NDArray[np.float32]

FUSE_LESS = "Fuse columns of shorter texts with `pinembed fuse --fusion`."
MOST_REMEMBERED = 50_000  # texts; at 512 floats they are 100 MB


class ItemFuser:
    """Makes item vectors of image embeddings and metadata.

    Args:
        files: the encoder; its text tower is loaded with the first text.

    Attributes:
        seconds: in loading and in the text tower.
    """

    def __init__(self, files: EncoderFiles, fusion: Fusion, *, device: str) -> None:
        self.seconds = 0.0
        self._files = files
        self._fusion = fusion
        self._device = device
        self._encoder: Encoder | None = None
        self._known: dict[str, Floats] = {}
        self._count: CutCount | None = None

    @property
    def note(self) -> str:
        """A sentence about texts that the tower read only the beginning of; empty where there were none."""
        return "" if self._count is None else self._count.told(FUSE_LESS)

    def __call__(self, fields: Sequence[Mapping[str, Any]], image_ND: Floats) -> Floats:
        """Item vectors of images and their metadata.

        Args:
            fields: metadata of N items.
            image_ND: unit rows.

        Returns:
            (N, D), each row of L2 norm 1.

        Raises:
            NonFiniteEmbeddingError: the text tower gives NaN or inf.
            EncoderError: the encoder cannot be loaded.
        """
        started_s = time.perf_counter()
        texts = [[field.text(text_of_value(row.get(field.name))) for row in fields] for field in self._fusion.fields]
        self._embed({text for column in texts for text in column if text} - self._known.keys())
        text_FND = np.zeros((len(texts), *image_ND.shape), dtype=np.float32)
        for text_ND, column in zip(text_FND, texts, strict=True):
            for index, text in enumerate(column):
                if text:
                    text_ND[index] = self._known[text]
        fused_ND = fuse(image_ND, text_FND, self._fusion.image, [field.weight for field in self._fusion.fields])
        if len(self._known) > MOST_REMEMBERED:
            self._known = {}
        self.seconds += time.perf_counter() - started_s
        return fused_ND

    def _embed(self, texts: set[str]) -> None:
        if texts:
            ordered = sorted(texts, key=lambda text: (len(text), text))  # alike in length, so that batches are short
            tower, count = self._text_tower()
            self._known |= dict(zip(ordered, tower.embed_texts(ordered).numpy(), strict=True))
            count.add(ordered)

    def _text_tower(self) -> tuple[Encoder, CutCount]:
        if self._encoder is None or self._count is None:
            from pinembed.encoder.context import Context, CutCount
            from pinembed.encoder.encoder import build_encoder
            from pinembed.machine import choose_device

            self._encoder = build_encoder(self._files, tower="text", device=choose_device(self._device))
            self._count = CutCount(context=Context(self._encoder.tokenizer))
        return self._encoder, self._count
