"""FinetuneReport: what a run was told, what it saw, and which weights it kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pinembed.nouns.data_report import DataReport
from pinembed.nouns.evaluation import Scores
from pinembed.nouns.fusion_report import FusionReport
from pinembed.nouns.pixel_report import PixelReport
from pinembed.nouns.verdict import Comparison, Verdict


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """What the run was told, with the defaults filled in."""

    data: str
    base: str
    champion: str | None
    random_init: bool
    text: tuple[str, ...]
    group: str | None
    seed: int
    epochs: int
    batch_size: int
    lr: float
    minutes: float | None
    device: str


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """Validation after an epoch; epoch 0 is the base before the first step.

    Attributes:
        epoch: 0 for the base.
        loss: mean over the epoch's steps; None for the base.
        seconds: since the first step.
        text_to_image_recall_at_1: on the validation split.
        text_to_image_map: None where no query has a right answer; the other directions alike.
        mean_map: over the directions; what the best checkpoint is chosen by.
    """

    epoch: int
    loss: float | None
    seconds: float
    text_to_image_recall_at_1: float | None
    text_to_image_map: float | None
    image_to_text_map: float | None
    image_to_image_map: float | None
    mean_map: float


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """The chosen weights against the base, and a champion, on a split that neither trained nor selected.

    Attributes:
        split: its name.
        images: that were asked.
        base: figures of the base.
        tuned: figures of the chosen weights.
        difference: tuned minus base on the same queries, with paired intervals.
        verdict: whether the tuned encoder takes the base's place.
        champion: the tuned encoder beside the one in use; None where none was named.
    """

    split: str
    images: int
    base: Scores
    tuned: Scores
    difference: Scores
    verdict: Verdict
    champion: Comparison | None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All that have to be won."""
        return (self.verdict,) if self.champion is None else (self.verdict, self.champion.verdict)


@dataclass(frozen=True, kw_only=True)
class FinetuneReport:
    """What `pinembed finetune` did.

    Attributes:
        out: the encoder folder that was written.
        promoted: it holds tuned weights; False: those of `kept`.
        kept: `tuned`, `base` or `champion`.
        reason: why; a sentence.
        fingerprint: of the encoder in it.
        settings: what the run was told.
        train_images: images that trained.
        val_images: images that selected.
        texts: distinct texts of the training split.
        pixels: what it takes to decode an image and to keep it decoded, and which the run did.
        broken: file names of images that could not be decoded.
        data: what there was to learn from and to be judged by.
        epochs: validation figures, the base first.
        heads: validation figures of the base with fitted heads; None where they were not fitted.
        best_epoch: the epoch whose weights were chosen; 0 is the base, or the base with fitted heads.
        alpha: share of the tuned weights in the blend with the base; 0 is the base.
        chosen: validation figures of the chosen weights.
        gate: the last word; None where there is no split to judge on, or nothing but the base to judge.
        fusion: metadata in an item's vector; None where nothing was asked about it, or the base or champion stays.
        stopped: why training ended early; None where it did not.
        seconds: the complete run, over all its starts.
        images_per_s: shown per second of training, without evaluation.
        curves: the plot of the run; None where the extra `report` is not installed.
        gate_plot: the plot of the gate; None where that is missing, or there was no gate.
    """

    out: Path
    promoted: bool
    kept: str
    reason: str
    fingerprint: str
    settings: FinetuneSettings
    train_images: int
    val_images: int
    texts: int
    pixels: PixelReport
    broken: tuple[str, ...]
    data: DataReport
    epochs: tuple[EpochRecord, ...]
    heads: EpochRecord | None
    best_epoch: int
    alpha: float
    chosen: EpochRecord
    gate: GateReport | None
    fusion: FusionReport | None
    stopped: str | None
    seconds: float
    images_per_s: float
    curves: Path | None
    gate_plot: Path | None

    @property
    def base(self) -> EpochRecord:
        return self.epochs[0]
