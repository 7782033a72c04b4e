"""The projector that a run begins with: the model's own, a new one, or the old one behind a map between encoders."""

from __future__ import annotations

from pathlib import Path

import torch

from pinembed.errors import ModelError
from pinembed.jobs.align.material import Material, Rows
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.adapter import fit_adapter, mean_cosine
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import adapted, new_projector

TOKENS = 4


def give_projector(trimmed: TrimmedModel, material: Material, *, tokens: int | None, seed: int) -> None:
    """Keep the model's projector where it fits encoder and K; put a new one with random weights in otherwise.

    Args:
        trimmed: gets the projector.
        material: of the run.
        tokens: K; None for that of the present projector, or 4.
        seed: of the weights.
    """
    present = trimmed.projector
    if (
        present is not None
        and present.config.encoder_fingerprint == material.fingerprint
        and tokens in (None, present.config.tokens)
    ):
        return
    trimmed.projector = new_projector(
        dim=material.train.embeddings_ND.shape[1],
        tokens=TOKENS if tokens is None else tokens,
        token_embeddings_VH=trimmed.token_embeddings_VH,
        encoder_fingerprint=material.fingerprint,
        seed=seed,
    ).to(trimmed.device)
    trimmed.projector.fit_input(material.train.embeddings_ND)


def adapt_projector(trimmed: TrimmedModel, material: Material, old_source: Path) -> float | None:
    """Put a linear map from the new embeddings to the old ones before the model's projector.

    Returns:
        Mean cosine between mapped and old embeddings of held-out items; None where the old source holds none of them.

    Raises:
        ModelError: no projector, or one that has a map already.
        EncoderMismatchError: the old source is not the one that the projector was trained on.
        DataError: the sources share too few training items.
        SourceError: the old source is damaged.
    """
    projector = trimmed.require_projector()
    if projector.adapter is not None:
        raise ModelError(
            "The model's projector reads its embeddings through a map between encoders already.",
            remedy="Give the model and the source that the projector was trained with, before any map.",
        )
    old = EmbeddingSource.open(old_source)
    projector.check_source(old.spec.fingerprint, place=str(old_source))
    adapter = fit_adapter(*_pairs(material.train, old))
    trimmed.projector = adapted(projector.cpu(), adapter, encoder_fingerprint=material.fingerprint).to(trimmed.device)
    new_ND, old_NE = _pairs(material.held_out, old)
    return mean_cosine(adapter, new_ND, old_NE) if len(new_ND) else None


def _pairs(rows: Rows, old: EmbeddingSource) -> tuple[torch.Tensor, torch.Tensor]:
    """New and old embeddings of the items that both sources hold."""
    places = [place for place, item in enumerate(rows.items) if item.id in old]
    old_NE = torch.from_numpy(old.get([rows.items[place].id for place in places]).astype("float32"))
    return rows.embeddings_ND[places], old_NE
