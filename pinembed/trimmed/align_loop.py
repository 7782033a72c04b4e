"""Training of the projector, and where asked of the language model, on dialogues about stored embeddings.

Shape legend: N items, I items of a batch's questions in order, D floats of one embedding, m soft tokens of one item,
B questions, T tokens, A tokens of all answers, V vocabulary.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.errors import TrainingError
from pinembed.nouns.progress import Progress, Stop
from pinembed.reports.trimmed import AlignEpoch, RunSettings
from pinembed.training.average import WeightAverage, lean
from pinembed.training.checkpoint import StatePlace
from pinembed.training.low_rank import LowRank
from pinembed.trimmed.align_evaluator import CALLS_TOGETHER, Validated, answer_logits
from pinembed.trimmed.align_state import TrainerState, read_state, write_state
from pinembed.trimmed.chat_ids import IGNORED
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.questions import Dialogue, QuestionMaker

SORTED_TOGETHER = 8
"""Batches among which conversations are sorted by length; two fifths of what is computed would be padding."""
TURN_CHARACTERS, ITEM_CHARACTERS = 32, 24
"""How long the marks around a turn and the soft tokens of an item are, as characters of text."""

WARM_UP = 0.05
LOWEST_RATE = 0.02
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.98)
AVERAGE = 0.1
"""Share of the run over which the weights are averaged; single steps differ by more than late epochs do."""


class Alignment:
    """One run: model, training items and optimiser.

    Everything random in step s depends on the seed and s alone, so a run that was stopped and went on gives the same
    weights as one that was not.

    Args:
        model: with a projector; changed in place.
        embeddings_ND: of the training items.
        questions: about the same items in the same order.
    """

    def __init__(
        self, model: TrimmedModel, embeddings_ND: Tensor, questions: QuestionMaker, settings: RunSettings
    ) -> None:
        self.model = model
        self.embeddings_ND = embeddings_ND.float()
        self.questions = questions
        self.settings = settings
        self.state = TrainerState()
        self._kept: list[Tensor] = []
        self._spread_D = embeddings_ND.float().std(dim=0, correction=0)
        projector = model.require_projector()
        self.low_rank = (
            LowRank(model.model, layers=model.family.low_rank_layers, rank=settings.lora_rank, seed=settings.seed)
            if settings.lora_rank
            else None
        )
        for parameter in model.model.parameters():
            parameter.requires_grad_(False)
        groups: list[dict[str, Any]] = [{"params": list(projector.parameters()), "lr": settings.lr}]
        if settings.language_lr > 0:
            groups.append({"params": self._language_parameters(), "lr": settings.language_lr})
        for parameter in _parameters_of(groups):
            parameter.requires_grad_(True)
        self._peaks = [float(group["lr"]) for group in groups]
        self._optimiser = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY, betas=BETAS, fused=True)
        self.average = WeightAverage(lambda: {str(index): weight for index, weight in enumerate(self.parameters)})

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that learn, in a fixed order."""
        return _parameters_of(self._optimiser.param_groups)

    def _language_parameters(self) -> list[nn.Parameter]:
        """Of the low-rank layers where there are some, of the whole language model otherwise."""
        return [
            parameter
            for name, parameter in self.model.model.named_parameters()
            if ("lora_" in name if self.low_rank is not None else not name.startswith("model.visual."))
        ]

    def batches(self) -> list[list[Dialogue]]:
        """The batches of the current epoch that are still to do."""
        return self._cut(self.state.epoch)[self.state.batch :]

    @property
    def steps(self) -> int:
        """Of the whole run, as long as its epochs are like the first."""
        return len(self._cut(0)) * self.settings.epochs

    def _cut(self, epoch: int) -> list[list[Dialogue]]:
        """The batches of an epoch: single questions, conversations and calls apart; none is padded to others."""
        drawn, size = self.questions.epoch(epoch), self.settings.batch_size
        calls = [one for one in drawn if one.frame is not None]
        asked = [one for one in drawn if one.frame is None]
        single, talks = ([one for one in asked if bool(one.earlier) == talked] for talked in (False, True))
        talks_of_a_batch = max(1, size * len(talks) // max(1, sum(len(talk.turns) for talk in talks)))
        cut = _batches(single, size)
        if talks or calls:
            cut += [*_batches(_by_length(talks, talks_of_a_batch), talks_of_a_batch), *_batches(calls, CALLS_TOGETHER)]
            random.Random(f"{self.settings.seed} {epoch}").shuffle(cut)
        return cut

    def step(self, dialogues: Sequence[Dialogue], *, done: float) -> float:
        """Learn from one batch.

        Args:
            dialogues: about the training items.
            done: share of the run that is behind, for the rate's cosine.

        Returns:
            The loss: mean cross-entropy of an answer's token.

        Raises:
            TrainingError: the loss is not finite.
        """
        seeded = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.state.step)
        tokens = _drawn_tokens(self.settings.tokens, seeded)
        rows = [row for dialogue in dialogues for row in dialogue.all_rows]
        noise_ID = torch.randn(len(rows), self.embeddings_ND.shape[1], generator=seeded)
        embeddings_ID = self.embeddings_ND[rows] + self.settings.noise * self._spread_D * noise_ID
        self._set_rates(done)
        loss = self._loss(dialogues, embeddings_ID, tokens)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss is {value} at step {self.state.step}; it must stay finite.",
                remedy="Lower --lr and --language-lr.",
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self._optimiser.step()
        self.state.step += 1
        self.state.batch += 1
        self.average.update(lean(self.state.step, self.state.step / max(done, AVERAGE), AVERAGE))
        self.state.losses.append(value)
        return value

    def _set_rates(self, done: float) -> None:
        """The projector learns all the time, the language model after the projector's first share of the run."""
        for group, peak, first in zip(
            self._optimiser.param_groups, self._peaks, (0.0, self.settings.projector_first), strict=False
        ):
            group["lr"] = peak * _rate(self.state.step, done, first)
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)

    def end_epoch(self, seen: Validated | None) -> AlignEpoch:
        """Record the epoch, keep its averaged weights where they are as good as any, and begin the next.

        As good is within a standard error of the best: the later epoch has the lower rate and the longer average.
        """
        state = self.state
        mean = sum(state.losses) / max(len(state.losses), 1)
        accuracy = None if seen is None else seen.accuracy
        record = AlignEpoch(epoch=state.epoch + 1, loss=mean, accuracy=accuracy, seconds=state.seconds)
        best = max((past.accuracy or 0.0 for past in state.epochs), default=0.0)
        if seen is not None and seen.accuracy >= best - seen.error:
            state.kept_epoch = record.epoch
            self._kept = [weight.cpu().clone() for weight in self.average.weights.values()]
        state.epochs.append(record)
        state.epoch, state.batch, state.losses = state.epoch + 1, 0, []
        return record

    def take_kept(self) -> None:
        """Go back to the averaged weights of the best epoch; those of the last where there was no validation."""
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, self._kept or self.average.weights.values(), strict=True):
                parameter.copy_(weight)

    def save(self, place: StatePlace, key: str) -> None:
        """Store all that a later run needs to go on, in one file that is either whole or absent."""
        write_state(place, key, self.state, self.parameters, self.average, self._kept, self._optimiser)

    def resume(self, place: StatePlace, key: str) -> bool:
        """Go on where `save` was called by a run with the same key; False where there is nothing of the kind."""
        stored = read_state(place.path, key, self.parameters, self.average, self._optimiser)
        if stored is None:
            return False
        self.state, self._kept = stored
        return True

    def _loss(self, dialogues: Sequence[Dialogue], embeddings_ID: Tensor, tokens: int) -> Tensor:
        labels_BT, logits_AV = answer_logits(self.model, dialogues, embeddings_ID, tokens, every_turn=True)
        loss: Tensor = F.cross_entropy(logits_AV, labels_BT[labels_BT != IGNORED])
        return loss


def _batches(drawn: Sequence[Dialogue], size: int) -> list[list[Dialogue]]:
    return [list(drawn[start : start + size]) for start in range(0, len(drawn), size)]


def _by_length(talks: Sequence[Dialogue], size: int) -> list[Dialogue]:
    """Conversations in an order in which those of a batch are about as long."""
    return [one for some in _batches(talks, size * SORTED_TOGETHER) for one in sorted(some, key=_length)]


def _length(dialogue: Dialogue) -> int:
    """About how long it is, in characters."""
    said = sum(len(turn.question) + len(turn.answer) for turn in dialogue.turns)
    return said + TURN_CHARACTERS * len(dialogue.turns) + ITEM_CHARACTERS * len(dialogue.all_rows)


def _parameters_of(groups: Sequence[dict[str, Any]]) -> list[nn.Parameter]:
    return [parameter for group in groups for parameter in group["params"]]


def _drawn_tokens(tokens: int, seeded: torch.Generator) -> int:
    """The number of soft tokens of a batch: all K in half of the batches, a random number in the others."""
    if int(torch.randint(2, (), generator=seeded)):
        return tokens
    return int(torch.randint(1, tokens + 1, (), generator=seeded))


def _rate(step: int, done: float, first: float) -> float:
    """Zero in the first share of the run, then a linear warm-up, all under a cosine; as a share of the peak."""
    if done < first:
        return 0.0
    rising = min(1.0, max(done - first, 1e-3) / WARM_UP) if step else 1e-3 / WARM_UP
    return rising * max(LOWEST_RATE, 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


STORE_EVERY_S = 60.0


def train(
    run: Alignment,
    *,
    place: StatePlace,
    key: str,
    validate: Callable[[], Validated | None],
    progress: Progress,
    stop: Stop,
) -> float:
    """Run all epochs, or go on with those that a stopped run left.

    Returns:
        Seconds that earlier parts of the run took.

    Raises:
        StoppedError: a signal came; the state is stored.
        TrainingError: the loss is not finite.
    """
    settings = run.settings
    total = run.steps
    place.path.parent.mkdir(parents=True, exist_ok=True)
    progress.start("aligning", total, "steps")
    if run.resume(place, key):
        progress.say(f"Going on after step {run.state.step} of {total}.")
        progress.advance(run.state.step)
    earlier_s = run.state.seconds
    clock = _Clock(earlier_s, settings.minutes)
    with stop.deferred():
        while run.state.epoch < settings.epochs and not clock.is_over:
            for batch in run.batches():
                loss = run.step(batch, done=max(run.state.step / total, clock.share))
                run.state.seconds = clock.seconds
                progress.advance(1, f"loss {loss:.3f}")
                if stop.requested or clock.wants_storing:
                    run.save(place, key)
                if stop.requested:
                    return earlier_s
                if clock.is_over:
                    break
            with run.average.swapped_in():
                seen = validate()
            record = run.end_epoch(seen)
            shown = "" if record.accuracy is None else f", validation answers right {record.accuracy:.1%}"
            progress.say(f"epoch {record.epoch}: loss {record.loss:.3f}{shown}")
    return earlier_s


class _Clock:
    """Time spent, over all parts of a run."""

    def __init__(self, before: float, minutes: float | None) -> None:
        self._began = time.perf_counter() - before
        self._stored = time.perf_counter()
        self._limit_s = None if minutes is None else 60 * minutes

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def share(self) -> float:
        """Of the limit; 0 without one."""
        return 0.0 if self._limit_s is None else min(self.seconds / max(self._limit_s, 1e-9), 1.0)

    @property
    def is_over(self) -> bool:
        return self.share >= 1.0

    @property
    def wants_storing(self) -> bool:
        """True once in a while; asking restarts the wait."""
        if time.perf_counter() - self._stored < STORE_EVERY_S:
            return False
        self._stored = time.perf_counter()
        return True
