"""Accuracy of an aligned model on held-out items, with a linear probe and shuffled rows for comparison.

Shape legend: I items of a batch's questions in order, D floats of one embedding, T tokens, A tokens of all answers,
B questions, V vocabulary, P tokens with which all chats of a batch begin.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.metrics.probes import probe_accuracy
from pinembed.reports.trimmed import CallScore, CustomerScore, FieldScore, TokensScore, TurnScore
from pinembed.taste.event import shown_time
from pinembed.trimmed.align_dataset import AlignDataset, Rows
from pinembed.trimmed.chat_ids import IGNORED, Exchange
from pinembed.trimmed.checkpoint import import_transformers, without_bars
from pinembed.trimmed.customer_log import CustomerDataset
from pinembed.trimmed.customers import likeness_figures
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.own_dialogues import turn_by_turn
from pinembed.trimmed.prompts import PromptBatch
from pinembed.trimmed.questions import Dialogue, QuestionMaker, thinned
from pinembed.trimmed.talks import TalkMaker

BATCH_QUESTIONS = 128
QUICK_QUESTIONS = 100
QUICK_CHOICES, JUDGED_CHOICES = 100, 500
SELECTING = "selecting"
MOST_QUESTIONS = 5000
COMPARISONS = 200
TALKS, FEW_TALKS, TALK_TURNS = 400, 100, 3
"""Conversations that judge: of a model that was taught them, and of one that was not."""
CALLS_TOGETHER = 16
"""Calls in a batch: the tools that stand before each are a thousand tokens or more."""
FEWEST_SHARED = 64
"""Tokens with which all chats of a batch begin that are worth a pass of their own."""


def answer_logits(
    model: TrimmedModel,
    dialogues: Sequence[Dialogue],
    embeddings_ID: Tensor,
    tokens: int,
    *,
    every_turn: bool = False,
) -> tuple[Tensor, Tensor]:
    """One forward pass over questions and their true answers; of all turns, or of the last one.

    Logits are computed for the tokens of answers only: with a vocabulary of 152,000 those of the whole prompts would
    take more memory than the model.

    Returns:
        (B, T - 1) labels of the positions 1 to T, and (A, V) float32 logits of those whose label is not IGNORED.
    """
    batch = model.writer.write(
        [dialogue.question for dialogue in dialogues],
        [len(dialogue.rows) for dialogue in dialogues],
        tokens=tokens,
        answers=[dialogue.answer for dialogue in dialogues],
        earlier=[_behind(dialogue) for dialogue in dialogues],
        every_turn=every_turn,
        frames=[dialogue.frame for dialogue in dialogues],
    ).to(model.device)
    soft_ImH = model.soft_tokens(embeddings_ID, tokens=tokens)
    with without_bars(import_transformers("Aligning")):
        hidden_BTH = _hidden(model, batch, soft_ImH)
    assert batch.labels_BT is not None
    labels_BT = batch.labels_BT[:, 1:]
    logits_AV: Tensor = model.model.lm_head(hidden_BTH[:, :-1][labels_BT != IGNORED])
    return labels_BT, logits_AV.float()


def _hidden(model: TrimmedModel, batch: PromptBatch, soft_ImH: Tensor) -> Tensor:
    """(B, T, H) of a batch; what all chats begin with, such as the tools before calls, is computed once for all."""
    shared = 0 if len(soft_ImH) else _shared_tokens(model, batch)
    if shared < FEWEST_SHARED:
        hidden_BTH: Tensor = model.model.model(**model.inputs(batch, soft_ImH), use_cache=False).last_hidden_state
        return hidden_BTH
    ids_BT = batch.input_ids_BT
    begun = model.model.model(input_ids=ids_BT[:1, :shared], use_cache=True)
    begun.past_key_values.batch_repeat_interleave(len(ids_BT))
    places_T = torch.arange(shared, ids_BT.shape[1], device=ids_BT.device)
    ended = model.model.model(
        input_ids=ids_BT[:, shared:],
        attention_mask=batch.attention_mask_BT,
        position_ids=places_T.expand(3, len(ids_BT), -1),
        past_key_values=begun.past_key_values,
        use_cache=True,
    )
    begun_BPH = begun.last_hidden_state.expand(len(ids_BT), -1, -1)
    return torch.cat([begun_BPH, ended.last_hidden_state], dim=1)


def _shared_tokens(model: TrimmedModel, batch: PromptBatch) -> int:
    """P, without answers; 0 where layers keep more of the past than keys and values, or of a chat alone."""
    kinds = getattr(model.model.config.text_config, "layer_types", None) or ()
    assert batch.labels_BT is not None
    ids_BT = batch.input_ids_BT
    if len(ids_BT) < 2 or set(kinds) - {"full_attention"}:
        return 0
    is_same_T = (ids_BT == ids_BT[:1]).all(dim=0) & (batch.labels_BT == IGNORED).all(dim=0)
    return int(is_same_T.long().cumprod(dim=0).sum())


def _behind(dialogue: Dialogue) -> list[Exchange]:
    return [Exchange(question=turn.question, answer=turn.answer, items=len(turn.rows)) for turn in dialogue.earlier]


@torch.inference_mode()
def correct_answers(
    model: TrimmedModel,
    embeddings_ND: Tensor,
    dialogues: Sequence[Dialogue],
    *,
    tokens: int | None = None,
    together: int = BATCH_QUESTIONS,
) -> Iterator[bool]:
    """Whether greedy generation would answer each question exactly as its dialogue does.

    One forward pass over the true answer decides it: greedy search writes that answer if and only if every token of
    it, the end of the turn included, is the most likely one after those before it.
    """
    m = model.require_projector().checked_tokens(tokens)
    for start in range(0, len(dialogues), together):
        chunk = dialogues[start : start + together]
        rows = [row for dialogue in chunk for row in dialogue.all_rows]
        labels_BT, logits_AV = answer_logits(model, chunk, embeddings_ND[rows], m)
        said_BT = labels_BT.masked_scatter(labels_BT != IGNORED, logits_AV.argmax(dim=-1))
        yield from (said_BT == labels_BT).all(dim=1).tolist()


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Mean accuracy over the fields, and the customers as one more, on so many questions."""

    accuracy: float
    questions: int

    @property
    def error(self) -> float:
        """Standard error of the accuracy, were all questions alike."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.questions)


def validated(
    model: TrimmedModel, embeddings_ND: Tensor, questions: QuestionMaker, customers: CustomerDataset | None = None
) -> Validated | None:
    """A quick look at some questions; None where there are none."""
    asked = [(embeddings_ND, thinned(questions.plain_questions(field), QUICK_QUESTIONS)) for field in questions.fields]
    if customers is not None:
        asked.append((customers.embeddings_CD, customers.select.thinned(QUICK_CHOICES).dialogues(SELECTING)))
    shares = [_share(model, rows_ND, dialogues) for rows_ND, dialogues in asked if dialogues]
    if not shares:
        return None
    return Validated(accuracy=sum(shares) / len(shares), questions=sum(len(dialogues) for _, dialogues in asked))


def held_out_scores(
    model: TrimmedModel, dataset: AlignDataset, fields: Sequence[str], *, seed: int
) -> tuple[tuple[FieldScore, ...], float, tuple[TokensScore, ...]]:
    """Scores of the fields, the accuracy of comparisons, and the mean accuracy with fewer soft tokens."""
    held_out = dataset.held_out
    learned = [field for field in fields if any(_values(field, dataset.train))]
    questions = QuestionMaker(held_out.items, learned, seed=seed)
    seeded = torch.Generator().manual_seed(seed)
    shuffled_ND = held_out.embeddings_ND[torch.randperm(len(held_out.items), generator=seeded)]
    asked = {field: thinned(questions.plain_questions(field), MOST_QUESTIONS) for field in learned}
    asked = {field: dialogues for field, dialogues in asked.items() if dialogues}
    scores = tuple(
        FieldScore(
            field=field,
            items=len(dialogues),
            accuracy=_share(model, held_out.embeddings_ND, dialogues),
            probe=_probe(field, dataset.train, dataset.select, held_out),
            shuffled=_share(model, shuffled_ND, dialogues),
            majority=_majority(field, dataset.train, dialogues),
        )
        for field, dialogues in asked.items()
    )
    comparisons = _share(model, held_out.embeddings_ND, questions.comparisons(COMPARISONS))
    counts = [m for m in (1, 2, 4, 8, 16, 32) if m < model.require_projector().config.tokens]
    whole = TokensScore(
        tokens=model.require_projector().config.tokens, accuracy=sum(score.accuracy for score in scores) / len(scores)
    )
    fewer = [
        TokensScore(
            tokens=m,
            accuracy=sum(_share(model, held_out.embeddings_ND, some, tokens=m) for some in asked.values()) / len(asked),
        )
        for m in counts
    ]
    return scores, comparisons, (*fewer, whole)


def turn_scores(
    model: TrimmedModel, dataset: AlignDataset, fields: Sequence[str], *, was_taught: bool, seed: int
) -> tuple[TurnScore, ...]:
    """Answers in each turn of conversations about held-out items, in wordings that were not trained on."""
    maker = TalkMaker(QuestionMaker(dataset.held_out.items, fields, seed=seed), held_out=True)
    rng = random.Random(f"{seed} talking")
    count = TALKS if was_taught else FEW_TALKS
    talks = [talk for _ in range(count) if (talk := maker.plain(rng, TALK_TURNS))]
    return tuple(
        TurnScore(
            turn=place + 1,
            right=_share(model, dataset.held_out.embeddings_ND, [talk[place][0] for talk in talks]),
            alone=_share(model, dataset.held_out.embeddings_ND, [talk[place][1] for talk in talks]),
        )
        for place in range(TALK_TURNS if talks else 0)
    )


def customer_score(model: TrimmedModel, customers: CustomerDataset, *, seed: int) -> CustomerScore:
    """Answers about choices after the cut, beside a probe on the same embeddings and with the users exchanged."""
    judging, held_out = f"{seed} judging", customers.held_out.thinned(JUDGED_CHOICES)
    learned, asked = customers.train.dialogues(judging), held_out.dialogues(judging)
    selecting = customers.select.dialogues(SELECTING) or learned
    exchanged = held_out.with_users_exchanged(judging).dialogues(judging)

    def told_of(dialogues: Sequence[Dialogue]) -> tuple[Tensor, list[str]]:
        return likeness_figures(customers.embeddings_CD, dialogues), [_verdict(each.answer) for each in dialogues]

    return CustomerScore(
        at=shown_time(customers.at_us),
        learned=len(customers.train.made),
        choices=len(held_out.made),
        customers=len({choice.user for choice in held_out.made}),
        accuracy=_verdicts(model, customers.embeddings_CD, asked),
        probe=probe_accuracy(*told_of(learned), *told_of(selecting), *told_of(asked)),
        exchanged=_verdicts(model, customers.embeddings_CD, exchanged),
    )


def _verdicts(model: TrimmedModel, embeddings_CD: Tensor, dialogues: Sequence[Dialogue]) -> float:
    """Share of the questions about customers to which the model itself gives the right verdict, whatever it names."""
    right = 0
    for start in range(0, len(dialogues), BATCH_QUESTIONS):
        chunk = dialogues[start : start + BATCH_QUESTIONS]
        said = model.generate(
            [each.question for each in chunk],
            [embeddings_CD[list(each.rows)] for each in chunk],
            max_new_tokens=max(len(model.writer.answer_ids(each.answer)) for each in chunk),
        )
        right += sum(_verdict(text) == _verdict(each.answer) for text, each in zip(said, chunk, strict=True))
    return right / len(dialogues) if dialogues else 0.0


def _verdict(answer: str) -> str:
    return answer.rpartition(" ")[2]


def call_score(model: TrimmedModel, dialogues: Sequence[Dialogue]) -> CallScore | None:
    """How many calls of tools are exactly right; None where none was asked for."""
    none_ND = torch.empty(0, model.require_projector().config.dim)
    right = list(correct_answers(model, none_ND, dialogues, together=CALLS_TOGETHER))
    return CallScore(turns=len(right), right=sum(right) / len(right)) if right else None


def own_share(model: TrimmedModel, dataset: AlignDataset, dialogues: Sequence[Dialogue]) -> float | None:
    """Share of the turns of the user's dialogues about held-out items that are answered exactly; None without such."""
    return _share(model, dataset.held_out.embeddings_ND, turn_by_turn(dialogues)) if dialogues else None


def _share(
    model: TrimmedModel, embeddings_ND: Tensor, dialogues: Sequence[Dialogue], *, tokens: int | None = None
) -> float:
    correct = list(correct_answers(model, embeddings_ND, dialogues, tokens=tokens))
    return sum(correct) / len(correct) if correct else 0.0


def _values(field: str, rows: Rows) -> list[str]:
    return QuestionMaker(rows.items, [field]).values_of[field]


def _probe(field: str, train: Rows, select: Rows, held_out: Rows) -> float:
    return probe_accuracy(
        train.embeddings_ND,
        _values(field, train),
        select.embeddings_ND,
        _values(field, select),
        held_out.embeddings_ND,
        _values(field, held_out),
    )


def _majority(field: str, train: Rows, dialogues: Sequence[Dialogue]) -> float:
    [(frequent, _)] = Counter(value for value in _values(field, train) if value).most_common(1)
    return sum(dialogue.answer == frequent for dialogue in dialogues) / len(dialogues)
