"""Whether a trimmed model says what the full one says, given the same soft tokens and no DeepStack features.

Shape legend: D = 8 floats of a made-up embedding, I items, V vocabulary.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pinembed.reports.trim import ParityCheck
from pinembed.trimmed.model import TrimmedModel, load_parts
from pinembed.trimmed.projector import new_projector

DIM, TOKENS, NEW_TOKENS = 8, 4, 8
TOLERANCE = 1e-3
QUESTIONS = ("What is this?", "Which of the two is larger, and what tells you so?")


def compare(full: Path, trimmed: Path) -> tuple[ParityCheck, ...]:
    """Run one item, two items, a left-padded batch and beams through both, one model in memory at a time.

    Raises:
        ModelError: a folder cannot be loaded.
    """
    logits_full, text_full = _answers(full)
    logits_trimmed, text_trimmed = _answers(trimmed)
    differences = [
        float((a - b).abs().max()) for a, b in zip(logits_full.values(), logits_trimmed.values(), strict=True)
    ]
    checks = [
        ParityCheck(name=name, max_difference=difference, equal=difference <= TOLERANCE)
        for name, difference in zip(logits_full, differences, strict=True)
    ]
    return (*checks, ParityCheck(name="beams", max_difference=0.0, equal=text_full == text_trimmed))


def _answers(folder: Path) -> tuple[dict[str, Tensor], list[str]]:
    model, writer = load_parts(folder)
    probe = TrimmedModel(model, writer)
    probe.projector = new_projector(
        dim=DIM, tokens=TOKENS, token_embeddings_VH=probe.token_embeddings_VH, encoder_fingerprint="parity", seed=0
    ).eval()
    rows_ID = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    one, two = rows_ID[:1], rows_ID[1:]
    cases: dict[str, tuple[Sequence[str], list[Tensor]]] = {
        "one item": (QUESTIONS[:1], [one]),
        "two items": (QUESTIONS[1:], [two]),
        "left-padded batch": (QUESTIONS, [one, two]),
    }
    logits = {name: probe.logits(questions, items) for name, (questions, items) in cases.items()}
    text = probe.generate(QUESTIONS, [one, two], max_new_tokens=NEW_TOKENS, beams=2)
    del probe, model
    gc.collect()
    return logits, text
