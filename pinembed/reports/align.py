"""What aligning a trimmed model did, and how well the model then reads embeddings it never saw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides the outcome of a run, beside data, source and model.

    Attributes:
        fields: metadata columns that are asked about.
        epochs: passes over the training items, with new questions in each.
        batch_size: questions of one step.
        lr: peak rate of the projector.
        language_lr: peak rate of the language model; 0 where it is frozen.
        projector_first: share of the run in which the projector learns alone, before the language model does too.
        lora_rank: of low-rank layers that learn in the place of the language model's own weights; 0 for none.
        noise: spread of the noise that is added to the embeddings, in each feature's own spread.
        tokens: K, soft tokens of one item.
        seed: of weights, questions and noise.
        minutes: the run's limit; None for none.
    """

    fields: tuple[str, ...]
    epochs: int
    batch_size: int
    lr: float
    language_lr: float
    noise: float
    tokens: int
    seed: int
    projector_first: float = 0.0
    lora_rank: int = 0
    minutes: float | None = None


@dataclass(frozen=True, kw_only=True)
class AlignEpoch:
    """One epoch of the run.

    Attributes:
        epoch: from 1.
        loss: mean cross-entropy of an answer's token.
        accuracy: share of positives on the validation items, mean over the fields; None without such items.
        seconds: since the run began, over all its parts.
    """

    epoch: int
    loss: float
    accuracy: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class FieldScore:
    """How one field of held-out items is answered.

    Attributes:
        field: metadata column.
        items: held-out items that have it.
        accuracy: share of answers that are exactly the item's value.
        probe: the same for a linear probe on the same embeddings, trained on the same items.
        shuffled: `accuracy` with the embeddings of the held-out items exchanged among them.
        majority: share of the held-out items that have training's most frequent value.
    """

    field: str
    items: int
    accuracy: float
    probe: float
    shuffled: float
    majority: float


@dataclass(frozen=True, kw_only=True)
class TokensScore:
    """Mean accuracy over the fields when only the first `tokens` soft tokens of each item are used."""

    tokens: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class AlignReport:
    """Result of `pinembed align`.

    Attributes:
        out: the folder that was written.
        settings: of the run.
        encoder_fingerprint: of the source.
        held_out: name of the split that judges.
        train_items: items that the questions of the training were about.
        held_out_items: items that judge.
        missing: items of DATA that the source does not hold; they were left out.
        trained_parameters: of the projector, and of the language model where it was trained.
        fields: how held-out items are answered.
        comparisons: share of comparisons of two held-out items that are right to the letter, values and yes or no.
        own_dialogues: share of the user's dialogues about held-out items that are answered to the letter; None without
            such.
        adapter_cosine: mean cosine of held-out items between their old embedding and their new one behind the map; None
            where no map was fitted.
        by_tokens: accuracy with fewer soft tokens.
        epochs: the run.
        kept_epoch: whose weights were kept, the best on the validation items; 0 where none trained.
        seconds: of the whole run, over all its parts.
    """

    out: str
    settings: RunSettings
    encoder_fingerprint: str
    held_out: str
    train_items: int
    held_out_items: int
    missing: int
    trained_parameters: int
    fields: tuple[FieldScore, ...]
    comparisons: float
    own_dialogues: float | None
    adapter_cosine: float | None
    by_tokens: tuple[TokensScore, ...]
    epochs: tuple[AlignEpoch, ...]
    kept_epoch: int
    seconds: float

    @property
    def accuracy(self) -> float:
        """Mean over the fields."""
        return sum(score.accuracy for score in self.fields) / len(self.fields)

    @property
    def probe(self) -> float:
        """Mean over the fields."""
        return sum(score.probe for score in self.fields) / len(self.fields)
