"""Training of the projector, and where asked of the language model, on dialogues about stored embeddings.

Shape legend: N items, I items of a batch's questions in order, D floats of one embedding, m soft tokens of one item,
B questions, T tokens, A tokens of all answers, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.errors import TrainingError
from pinembed.nouns.progress import Progress, Stop
from pinembed.reports.align import AlignEpoch, RunSettings
from pinembed.training.low_rank import LowRank
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.prompts import IGNORED
from pinembed.trimmed.questions import Dialogue, QuestionMaker
from pinembed.trimmed.trainer_state import TrainerState, read_state, write_state

WARM_UP = 0.05
LOWEST_RATE = 0.02
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.98)
JUDGED_TOGETHER = 128
LOW_RANK_LAYERS = r"model\.language_model\.layers\.\d+\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""The layers of QLoRA: Dettmers et al. 2023, arXiv:2305.14314."""


class Alignment:
    """One run: model, training items and optimiser.

    Everything random in step s depends on the seed and s alone, so a run that was stopped and went on gives the same
    weights as one that was not.

    Args:
        model: with a projector; changed in place.
        embeddings_ND: of the training items.
        questions: about the same items in the same order.
        settings: of the run.
    """

    def __init__(
        self, model: TrimmedModel, embeddings_ND: Tensor, questions: QuestionMaker, settings: RunSettings
    ) -> None:
        self.model = model
        self.embeddings_ND = embeddings_ND.float()
        self.questions = questions
        self.settings = settings
        self.standing = TrainerState()
        self._kept: list[Tensor] = []
        self._spread_D = embeddings_ND.float().std(dim=0, correction=0)
        projector = model.require_projector()
        self.low_rank = (
            LowRank(model.model, layers=LOW_RANK_LAYERS, rank=settings.lora_rank, seed=settings.seed)
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
        self._optimiser = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY, betas=BETAS)

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
        drawn = self.questions.epoch(self.standing.epoch)
        size = self.settings.batch_size
        cut = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        return cut[self.standing.batch :]

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
        seeded = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.standing.step)
        tokens = _drawn_tokens(self.settings.tokens, seeded)
        rows = [row for dialogue in dialogues for row in dialogue.rows]
        noise_ID = torch.randn(len(rows), self.embeddings_ND.shape[1], generator=seeded)
        embeddings_ID = self.embeddings_ND[rows] + self.settings.noise * self._spread_D * noise_ID
        self._set_rates(done)
        loss = self._loss(dialogues, embeddings_ID, tokens)
        told = float(loss.detach())
        if not math.isfinite(told):
            raise TrainingError(
                f"The loss is {told} at step {self.standing.step}; it must stay finite.",
                remedy="Lower --lr and --language-lr.",
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self._optimiser.step()
        self.standing.step += 1
        self.standing.batch += 1
        self.standing.losses.append(told)
        return told

    def _set_rates(self, done: float) -> None:
        """The projector learns all the time, the language model after the projector's first share of the run."""
        for group, peak, first in zip(
            self._optimiser.param_groups, self._peaks, (0.0, self.settings.projector_first), strict=False
        ):
            group["lr"] = peak * _rate(self.standing.step, done, first)
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)

    def end_epoch(self, accuracy: float | None) -> AlignEpoch:
        """Book the epoch, keep its weights where none was better on the validation items, and begin the next."""
        standing = self.standing
        mean = sum(standing.losses) / max(len(standing.losses), 1)
        record = AlignEpoch(epoch=standing.epoch + 1, loss=mean, accuracy=accuracy, seconds=standing.seconds)
        if accuracy is not None and accuracy >= max((past.accuracy or 0.0 for past in standing.epochs), default=0.0):
            standing.kept_epoch = record.epoch
            self._kept = [parameter.detach().cpu().clone() for parameter in self.parameters]
        standing.epochs.append(record)
        standing.epoch, standing.batch, standing.losses = standing.epoch + 1, 0, []
        return record

    def take_kept(self) -> None:
        """Go back to the weights of the best epoch; those of the last where there was no validation."""
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, self._kept, strict=False):
                parameter.copy_(weight)

    def save(self, path: Path, key: str) -> None:
        """Store all that a later run needs to go on, in one file that is either whole or absent."""
        write_state(path, key, self.standing, self.parameters, self._kept, self._optimiser)

    def resume(self, path: Path, key: str) -> bool:
        """Go on where `save` was called by a run with the same key; False where there is nothing of the kind."""
        stored = read_state(path, key, self.parameters, self._optimiser)
        if stored is None:
            return False
        self.standing, self._kept = stored
        return True

    def _loss(self, dialogues: Sequence[Dialogue], embeddings_ID: Tensor, tokens: int) -> Tensor:
        labels_BT, logits_AV = answered(self.model, dialogues, embeddings_ID, tokens)
        loss: Tensor = F.cross_entropy(logits_AV, labels_BT[labels_BT != IGNORED])
        return loss


@torch.inference_mode()
def correct_answers(
    model: TrimmedModel, embeddings_ND: Tensor, dialogues: Sequence[Dialogue], *, tokens: int | None = None
) -> Iterator[bool]:
    """Whether greedy generation would answer each question exactly as its dialogue does.

    One pass with the positive in place decides it: greedy search writes that answer if and only if every token of
    it, the end of the turn included, is the most likely one after those before it.
    """
    m = model.require_projector().checked_tokens(tokens)
    for start in range(0, len(dialogues), JUDGED_TOGETHER):
        chunk = dialogues[start : start + JUDGED_TOGETHER]
        rows = [row for dialogue in chunk for row in dialogue.rows]
        labels_BT, logits_AV = answered(model, chunk, embeddings_ND[rows], m)
        said_BT = labels_BT.masked_scatter(labels_BT != IGNORED, logits_AV.argmax(dim=-1))
        yield from (said_BT == labels_BT).all(dim=1).tolist()


def answered(
    model: TrimmedModel, dialogues: Sequence[Dialogue], embeddings_ID: Tensor, tokens: int
) -> tuple[Tensor, Tensor]:
    """One pass with the positives in place.

    Logits are made where an answer is due only: with a vocabulary of 152,000 those of the whole prompts would take more
    memory than the model.

    Returns:
        (B, T - 1) labels of the places 1 to T, and (A, V) float32 logits of the A places whose label is not IGNORED.
    """
    batch = model.writer.write(
        [dialogue.question for dialogue in dialogues],
        [len(dialogue.rows) for dialogue in dialogues],
        tokens=tokens,
        answers=[dialogue.answer for dialogue in dialogues],
    ).to(model.device)
    soft_ImH = model.soft_tokens(embeddings_ID, tokens=tokens)
    hidden_BTH = model.model.model(**model.inputs(batch, soft_ImH), use_cache=False).last_hidden_state
    assert batch.labels_BT is not None
    labels_BT = batch.labels_BT[:, 1:]
    logits_AV: Tensor = model.model.lm_head(hidden_BTH[:, :-1][labels_BT != IGNORED])
    return labels_BT, logits_AV.float()


def _parameters_of(groups: Sequence[dict[str, Any]]) -> list[nn.Parameter]:
    return [parameter for group in groups for parameter in group["params"]]


def _drawn_tokens(tokens: int, seeded: torch.Generator) -> int:
    """All K in half of the batches, and a random number of them in the others."""
    if int(torch.randint(2, (), generator=seeded)):
        return tokens
    return int(torch.randint(1, tokens + 1, (), generator=seeded))


def _rate(step: int, done: float, first: float) -> float:
    """Nothing in the first share of the run, then a linear warm-up, all under a cosine; as a share of the peak."""
    if done < first:
        return 0.0
    rising = min(1.0, max(done - first, 1e-3) / WARM_UP) if step else 1e-3 / WARM_UP
    return rising * max(LOWEST_RATE, 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


STORE_EVERY_S = 60.0


def train(
    run: Alignment,
    *,
    state: Path,
    key: str,
    watch: Callable[[], float | None],
    progress: Progress,
    stop: Stop,
) -> float:
    """Run all epochs, or go on with those that a stopped run left.

    Args:
        run: changed in place.
        state: file that a stopped run goes on from.
        key: what the state must agree with.
        watch: accuracy on the validation items, after each epoch.
        progress: told each step.
        stop: asked between two steps.

    Returns:
        Seconds that earlier parts of the run took.

    Raises:
        StoppedError: a signal came; the state is stored.
        TrainingError: the loss is not finite.
    """
    settings = run.settings
    per_epoch = len(run.questions.epoch(0)) // settings.batch_size + 1
    total = per_epoch * settings.epochs
    state.parent.mkdir(parents=True, exist_ok=True)
    progress.start("aligning", total, "steps")
    if run.resume(state, key):
        progress.say(f"Going on after step {run.standing.step} of {total}.")
        progress.advance(run.standing.step)
    earlier_s = run.standing.seconds
    clock = _Clock(earlier_s, settings.minutes)
    with stop.deferred():
        while run.standing.epoch < settings.epochs and not clock.is_over:
            for batch in run.batches():
                loss = run.step(batch, done=max(run.standing.step / total, clock.share))
                run.standing.seconds = clock.seconds
                progress.advance(1, f"loss {loss:.3f}")
                if stop.requested or clock.wants_storing:
                    run.save(state, key)
                if stop.requested:
                    return earlier_s
                if clock.is_over:
                    break
            record = run.end_epoch(watch())
            told = "" if record.accuracy is None else f", validation answers right {record.accuracy:.1%}"
            progress.say(f"epoch {record.epoch}: loss {record.loss:.3f}{told}")
    return earlier_s


class _Clock:
    """Time spent, over all parts of a run.

    Args:
        before: seconds that earlier parts took.
        minutes: the limit, None for none.
    """

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
