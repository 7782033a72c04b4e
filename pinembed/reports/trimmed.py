"""What `trim`, `align` and `ask` return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that decides the outcome of a run, beside data, source and model.

    Attributes:
        epochs: passes over the training items, with new questions in each.
        lr: peak rate of the projector.
        language_lr: peak rate of the language model; 0 where it is frozen.
        projector_first: share of the run in which the projector learns alone, before the language model does too.
        lora_rank: of low-rank layers that learn in the place of the language model's own weights; 0 for none.
        noise: spread of the noise that is added to the embeddings, in each feature's own spread.
        tokens: K, soft tokens of one item.
        seed: of weights, questions and noise.
        talks: share of the questions that stand in conversations.
        calls: share of the turns of these that are calls of the tools of `chat`.
        calls_by_heart: without tools and columns in the prompt.
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
    talks: float = 0.0
    calls: float = 0.0
    calls_by_heart: bool = False


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
class CustomerScore:
    """How "would this customer keep this item?" is answered of choices that were made after the cut.

    Half of the questions are about a choice, the others about an item that the user did not choose and that others
    chose as often.

    Attributes:
        at: the cut, ISO 8601.
        learned: choices before it that were learned from.
        choices: after it.
        customers: who made these.
        accuracy: share of the questions that are answered right.
        probe: the same for a linear probe on the cosines of the item to the interests, trained on the same choices.
        exchanged: `accuracy` with the interests of somebody else; half of them where the model reads the customer.
    """

    at: str
    learned: int
    choices: int
    customers: int
    accuracy: float
    probe: float
    exchanged: float


@dataclass(frozen=True, kw_only=True)
class TokensScore:
    """Mean accuracy over the fields when only the first `tokens` soft tokens of each item are used."""

    tokens: int
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnScore:
    """Answers in one turn of conversations about items that were not trained on.

    Attributes:
        turn: from 1.
        right: share of the plain questions about a field that are answered to the letter, in wordings not trained on.
        alone: the same questions of the same items without the turns before.
    """

    turn: int
    right: float
    alone: float


@dataclass(frozen=True, kw_only=True)
class CallScore:
    """Wishes about held-out items, in wordings not trained on, that became the right call of a tool to the letter.

    Attributes:
        right: share of them.
    """

    turns: int
    right: float


@dataclass(frozen=True, kw_only=True)
class AlignReport:
    """Result of `pinembed align`.

    Attributes:
        held_out: name of the split that judges.
        train_items: items that the questions of the training were about.
        missing: items of DATA that the source does not hold; they were left out.
        trained_parameters: of the projector, and of the language model where it was trained.
        comparisons: share of comparisons of two held-out items that are right to the letter, values and yes or no.
        turns: answers in the turns of conversations.
        own_dialogues: share of the user's dialogues about held-out items that are answered to the letter; None without
            such.
        calls: how wishes became calls of the tools of `chat`; None without such in the training.
        customers: how questions about customers are answered; None without events.
        adapter_cosine: mean cosine of held-out items between their old embedding and their new one behind the map; None
            where no map was fitted.
        kept_epoch: whose weights were kept, the last as good on validation as any within a standard error; 0 for none.
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
    turns: tuple[TurnScore, ...]
    own_dialogues: float | None
    calls: CallScore | None
    customers: CustomerScore | None
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


@dataclass(frozen=True, kw_only=True)
class ParityCheck:
    """One comparison of the trimmed model with the full one, fed the same soft tokens and zero DeepStack levels.

    Attributes:
        name: `one item`, `two items`, `left-padded batch` or `beams`.
        max_difference: greatest absolute difference of two logits; 0 for texts that are equal.
        equal: within the tolerance, and for beams the same text.
    """

    name: str
    max_difference: float
    equal: bool


@dataclass(frozen=True, kw_only=True)
class TrimReport:
    """Result of `pinembed trim`.

    Attributes:
        model_type: `qwen3_vl` or `qwen3_vl_moe`.
        parameters: of the checkpoint.
        parameters_removed: of the vision tower.
        parameters_kept: of the language model.
        size_bytes: of the checkpoint's weight files.
        size_bytes_removed: by how much the new weight files are smaller.
        image_px: side of the square image that the next two speak of.
        tokens_per_image: language-model tokens that such an image took.
        vision_flops_per_image: operations of the tower that fall away with it.
        vision_flops_formula: how they are counted.
        parity: checks against the full model; empty unless asked for.
    """

    model: str
    out: str
    model_type: str
    parameters: int
    parameters_removed: int
    parameters_kept: int
    size_bytes: int
    size_bytes_removed: int
    image_px: int
    tokens_per_image: int
    vision_flops_per_image: int
    vision_flops_formula: str
    files: int
    parity: tuple[ParityCheck, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about one or several items.

    Attributes:
        id: the caller's name of it.
        items: item ids, in the order that the text means.
    """

    id: str
    text: str
    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one question.

    Attributes:
        items: those the answer is about; unknown ones are left out.
        answer: what the model said; None where no item was known.
        unknown: ids that the source does not hold.
    """

    id: str
    question: str
    items: tuple[str, ...]
    answer: str | None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AskReport:
    """Result of `pinembed ask`.

    Attributes:
        answers: one for each question, in order.
        unknown: ids that the source does not hold, sorted.
        interests: items that stood for the user's interests, before those of every question.
        tokens_per_item: soft tokens that stood for one item.
        seconds: of reading the rows and answering; loading the model not counted.
        load_seconds: of loading model and source.
    """

    answers: tuple[Answer, ...]
    unknown: tuple[str, ...]
    interests: tuple[str, ...]
    tokens_per_item: int
    seconds: float
    load_seconds: float

    @property
    def exit_code(self) -> int:
        """3 where an id was unknown; the others are answered all the same."""
        return 3 if self.unknown else 0
