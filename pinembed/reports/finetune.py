"""What `finetune` returns, its data, pixels, epochs and gate, and what `fuse` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.nouns.scores import Comparison, FusionReport, Scores, Verdict
from pinembed.stored import fields_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCounts:
    """One split.

    Attributes:
        images: of the split, broken ones included.
        repeated: images whose text is also that of an image of another group; without groups, of another image.
        groups: distinct groups; None without a group column.
    """

    split: str
    images: int
    broken: int
    without_text: int
    texts: int
    repeated: int
    groups: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakedPair:
    """Two files that show the same picture.

    Attributes:
        file_name: in the split that judges.
        seen_as: in the other split.
        identical: byte for byte the same file; otherwise encoded anew or resized.
    """

    file_name: str
    seen_as: str
    identical: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Pictures of a judging split that another split shows as well.

    Attributes:
        split: the one that judges.
        also_in: the one that trained or selected.
    """

    split: str
    also_in: str
    pairs: tuple[LeakedPair, ...]

    @property
    def file_names(self) -> tuple[str, ...]:
        """Files of the judging split, each once."""
        return tuple(dict.fromkeys(pair.file_name for pair in self.pairs))

    @property
    def identical(self) -> int:
        """Files of the judging split that lie byte for byte in the other."""
        return len({pair.file_name for pair in self.pairs if pair.identical})


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """The data of a run.

    Attributes:
        splits: training, validation and gate.
        leaks: pictures on two sides of a split that was given; a hashed split has none.
        copies: images that show the same as another image of the catalogue.
        warnings: what makes the run's verdict weak; sentences.
    """

    splits: tuple[SplitCounts, ...]
    leaks: tuple[Leak, ...]
    copies: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PixelReport:
    """What was measured on the run's own images, in the pass that finds the broken ones.

    Attributes:
        images: that could be decoded.
        kept: of them stay decoded in memory; the others are decoded whenever they are shown.
        kept_bytes: memory that these take.
        decode_ms: for one image, all decoding threads together.
        read_ms: for one that is kept.
    """

    images: int
    kept: int
    kept_bytes: int
    decode_ms: float
    read_ms: float

    @property
    def is_faster_kept(self) -> bool:
        return self.read_ms <= self.decode_ms

    def __str__(self) -> str:
        times = f"decoding takes {self.decode_ms:.2f} ms an image, reading a kept one {self.read_ms:.2f} ms"
        if not self.is_faster_kept:
            return f"{times}: images are decoded whenever they are shown"
        return f"{times}: {self.kept:,} of {self.images:,} stay decoded, in {self.kept_bytes / 1e6:,.0f} MB"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
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
    refit: bool
    device: str


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """Validation after an epoch; epoch 0 is the base before the first step.

    Attributes:
        loss: mean over the epoch's steps; None for the base.
        seconds: since the first step.
        text_to_image_recall_at_1: on the validation split.
        text_to_image_map: None where no query has a positive; the other directions alike.
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
        images: that were asked.
        difference: tuned minus base on the same queries, with paired intervals.
        verdict: whether the tuned encoder takes the base's place.
        champion: the tuned encoder beside the one in use; None where none was named.
        unflagged: beside what the same training gave on all images, those with confirmed flags too; None where that was
            not asked for.
    """

    split: str
    images: int
    base: Scores
    tuned: Scores
    difference: Scores
    verdict: Verdict
    champion: Comparison | None
    unflagged: Comparison | None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All that have to be won."""
        return (self.verdict,) if self.champion is None else (self.verdict, self.champion.verdict)


@dataclass(frozen=True, kw_only=True)
class FinetuneReport:
    """What `pinembed finetune` did.

    Attributes:
        promoted: it holds tuned weights; False: those of `kept`.
        kept: `tuned`, `base` or `champion`.
        reason: why; a sentence.
        left_out: training images that were left out because of confirmed flags, by check.
        pixels: what it takes to decode an image and to keep it decoded, and which the run did.
        broken: file names of images that could not be decoded.
        epochs: validation figures, the base first.
        heads: validation figures of the base with fitted heads; None where they were not fitted.
        best_epoch: the epoch whose weights were chosen; 0 is the base, or the base with fitted heads.
        alpha: share of the tuned weights in the blend with the base; 0 is the base.
        chosen: validation figures of the chosen weights, before validation's images taught too.
        second_images: of training and validation, which a second training showed, whose weights and the first's were
            averaged; None where there was none.
        refit_images: of training and validation, to which the projections were fitted once more; None where they were
            not.
        gate: the last word; None where there is no split to judge on, or nothing but the base to judge.
        fusion: metadata in an item's vector; None where nothing was asked about it, or the base or champion stays.
        stopped: why training ended early; None where it did not.
        restarts: times that training began anew, each time at a third of the rate before.
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
    settings: RunSettings
    train_images: int
    val_images: int
    texts: int
    left_out: Mapping[str, int]
    pixels: PixelReport
    broken: tuple[str, ...]
    data: DataReport
    epochs: tuple[EpochRecord, ...]
    heads: EpochRecord | None
    best_epoch: int
    alpha: float
    chosen: EpochRecord
    second_images: int | None
    refit_images: int | None
    gate: GateReport | None
    fusion: FusionReport | None
    stopped: str | None
    restarts: int
    seconds: float
    images_per_s: float
    curves: Path | None
    gate_plot: Path | None

    @property
    def base(self) -> EpochRecord:
        return self.epochs[0]


@dataclass(frozen=True, kw_only=True)
class FuseReport:
    """What `pinembed fuse` did.

    Attributes:
        encoder: the reference that the user gave.
        fingerprint: of the encoder in `out`; the same where neither held a fusion.
    """

    out: Path
    encoder: str
    encoder_fingerprint: str
    fingerprint: str
    data: str
    group: str | None
    text: tuple[str, ...]
    fusion: FusionReport
    seconds: float

    @property
    def promoted(self) -> bool:
        """Items are fused now."""
        return self.fusion.fusion is not None

    def to_json(self) -> dict[str, Any]:
        return fields_of(self) | {"promoted": self.promoted}
