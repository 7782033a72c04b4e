"""The projector that a run begins with: the model's own, a new one, or the old one behind a map between encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn import functional as F

from pinembed.errors import ModelError
from pinembed.jobs.align.material import Material, Rows
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.adapter import fit_adapter, mean_cosine
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.probe import Probe
from pinembed.trimmed.projector import adapted, new_projector

TOKENS = 4
DRAWN = 0.1  # of the drawn linear path that stays beside the probes


def give_projector(
    trimmed: TrimmedModel, material: Material, probes: Mapping[str, Probe], *, tokens: int | None, seed: int
) -> None:
    """Keep the model's projector where it fits encoder and K; put a new one in otherwise.

    Args:
        trimmed: gets the projector.
        material: of the run.
        probes: of some fields; a new projector begins with what they read. Without any it begins with random weights.
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
    if probes:
        _point_at_values(trimmed, material.train.embeddings_ND, probes)


@torch.no_grad()
def _point_at_values(trimmed: TrimmedModel, embeddings_ND: torch.Tensor, probes: Mapping[str, Probe]) -> None:
    """Begin with soft tokens that lie in the direction of the words for what the probes read, as loud as before.

    C values of a field, H width of the language model.
    """
    projector, words_VH = trimmed.require_projector(), trimmed.token_embeddings_VH.float()
    standard_ND = (embeddings_ND.to(projector.mean_D) - projector.mean_D) / projector.std_D
    reader_HD = torch.zeros(projector.config.hidden, embeddings_ND.shape[1], device=projector.mean_D.device)
    for probe in probes.values():
        weight_CD = (probe.weight_CD - probe.weight_CD.mean(dim=0)).to(reader_HD)
        ids = [trimmed.writer.tokenizer(name, add_special_tokens=False).input_ids for name in probe.names]
        value_CH = F.normalize(torch.stack([words_VH[some].mean(dim=0) for some in ids]), dim=1)
        reader_HD += value_CH.T @ (weight_CD / (standard_ND @ weight_CD.T).std())
    drawn = projector.shortcut.weight
    wanted, given = ((standard_ND @ weight.T).square().mean().sqrt() for weight in (drawn, reader_HD))
    drawn.mul_(DRAWN).add_((reader_HD * wanted / given).repeat(projector.config.tokens, 1))


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
