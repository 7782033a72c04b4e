"""The numbers of a run of align: those that the user gave, and defaults that fit the model for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pinembed.reports.trimmed import RunSettings
from pinembed.settings.model import AlignSettings
from pinembed.trimmed.checkpoint import Checkpoint

SMALL_PARAMETERS = 50_000_000  # the smallest published Qwen3-VL has a language model of 1.7 billion
DIALOGUES_SHOWN = 60_000
FEWEST_EPOCHS, MOST_EPOCHS = 1, 30
LORA_LR = 2e-4  # arXiv:2305.14314


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Defaults for one kind of model; the rates and shares are those of `RunSettings`."""

    trains_language_model: bool
    lr: float
    language_lr: float
    noise: float
    projector_first: float


# LLaVA-1.5's stages: Liu et al. 2023, arXiv:2310.03744
PRETRAINED = Recipe(trains_language_model=False, lr=1e-3, language_lr=2e-5, noise=0.3, projector_first=0.3)
FROM_SCRATCH = Recipe(trains_language_model=True, lr=3e-3, language_lr=1e-3, noise=0.7, projector_first=0.0)


def choose_recipe(checkpoint: Checkpoint) -> Recipe:
    """By the language model's size: one far below every published one knows no language that could be lost.

    Quantised weights never learn.
    """
    if checkpoint.is_quantised:
        return PRETRAINED
    parameters = sum(tensor.parameters for tensor in checkpoint.tensors if not tensor.is_vision)
    return FROM_SCRATCH if parameters < SMALL_PARAMETERS else PRETRAINED


def trains_language_model(settings: AlignSettings, recipe: Recipe) -> bool:
    """Whether the whole language model learns."""
    if settings.train_language_model is None:
        return recipe.trains_language_model and not settings.lora
    return settings.train_language_model


def settle(
    settings: AlignSettings, recipe: Recipe, *, fields: Sequence[str], tokens: int, dialogues: int
) -> RunSettings:
    """Everything that decides the run, in which an epoch has so many dialogues."""
    language_lr = _language_rate(settings, recipe)
    adapts = settings.old_source is not None  # a linear map takes the place of the training
    return RunSettings(
        fields=tuple(fields),
        epochs=_epochs(settings.epochs, dialogues, adapts=adapts),
        batch_size=settings.batch_size,
        lr=recipe.lr if settings.lr is None else settings.lr,
        language_lr=language_lr,
        projector_first=recipe.projector_first if language_lr > 0 else 0.0,
        lora_rank=settings.lora or 0,
        noise=recipe.noise if settings.noise is None else settings.noise,
        tokens=tokens,
        seed=settings.seed,
        minutes=settings.minutes,
        talks=settings.talks,
        calls=settings.calls,
        calls_by_heart=settings.calls_by_heart,
    )


def _epochs(wanted: int | None, dialogues: int, *, adapts: bool) -> int:
    """The user's, none after a map between encoders, or as many as show a run's worth of dialogues."""
    if wanted is not None:
        return wanted
    return 0 if adapts else min(max(round(DIALOGUES_SHOWN / dialogues), FEWEST_EPOCHS), MOST_EPOCHS)


def _language_rate(settings: AlignSettings, recipe: Recipe) -> float:
    if not trains_language_model(settings, recipe) and not settings.lora:
        return 0.0
    if settings.language_lr is not None:
        return settings.language_lr
    return LORA_LR if settings.lora else recipe.language_lr
