"""Which weights the output folder holds at the end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from pinembed.catalogue.slices import make_slices
from pinembed.catalogue.splits import TEST
from pinembed.encoder.encoder import Encoder
from pinembed.metrics.intervals import direction_scores
from pinembed.metrics.slices import SplitPart, split_parts
from pinembed.metrics.split import SplitScores
from pinembed.metrics.verdict import decide
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.nouns.scores import Comparison, Evaluation, Scores
from pinembed.reports.finetune import GateReport
from pinembed.training.datasets import DatasetSplits, SplitDataset, load_split
from pinembed.training.evaluator import Evaluator

TUNED, BASE, CHAMPION = "tuned", "base", "champion"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The end of a run.

    Attributes:
        kept: `tuned`, `base` or `champion`.
        reason: why; a sentence.
    """

    kept: str
    reason: str

    @property
    def promoted(self) -> bool:
        return self.kept == TUNED


def decide_run(
    gate: GateReport | None, *, has_candidate: bool, stopped: str | None, random_init: bool, has_champion: bool
) -> Decision:
    """Tuned weights only where everything that can judge them says so.

    Args:
        gate: what the gate split said; None where there is none, or nothing to judge.
        has_candidate: validation chose something other than the base.
        stopped: why training ended early.
        random_init: the base is random weights, which nobody wants back.
        has_champion: an encoder is in use; without a gate it keeps its place.
    """
    rival = CHAMPION if has_champion else BASE
    if not has_candidate:
        why = stopped or "no epoch, and no blend with the base, was better on validation in every direction."
        return Decision(kept=rival, reason=f"The {rival} stays: {why}")
    if gate is None and has_champion:
        return Decision(kept=CHAMPION, reason="The champion stays: there is no test split for the gate to judge on.")
    if random_init and not has_champion:
        return Decision(kept=TUNED, reason="Trained from random weights; there is no base to keep.")
    if gate is None:
        why = "Chosen on the validation split; there is no test split for the gate to judge on."
        return Decision(kept=TUNED, reason=why)
    return _by_gate(gate)


def _by_gate(gate: GateReport) -> Decision:
    """The champion, where there is one, has the first word; a win over both is told by its figures."""
    beside = gate.champion
    if beside is not None and not beside.verdict.promoted:
        return Decision(kept=CHAMPION, reason=f"Against the champion: {beside.verdict.reason}")
    if not gate.verdict.promoted:
        where = "" if beside is None else "Against the base: "
        return Decision(kept=BASE if beside is None else CHAMPION, reason=where + gate.verdict.reason)
    return Decision(kept=TUNED, reason=gate.verdict.reason if beside is None else beside.verdict.reason)


MOST_IMAGES = 2000


def gate_items(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items that judge: all, or of many those with the lowest hash of their id, the same in every run."""
    if len(items) <= MOST_IMAGES:
        return items
    chosen = sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:MOST_IMAGES]
    return tuple(sorted(chosen, key=lambda item: item.file_name))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the parties are asked.

    Attributes:
        encoder: the base's; takes the weights that are judged.
        champion: the encoder in use; None where the base is the only rival.
        examples: the gate split.
        parts: its slices.
        texts: all splits.
        seed: of the bootstrap.
        progress: who watches.
    """

    encoder: Encoder
    champion: Encoder | None
    examples: SplitDataset
    parts: tuple[SplitPart, ...]
    texts: DatasetSplits
    seed: int
    progress: Progress

    def judge(self, base: dict[str, Tensor], tuned: dict[str, Tensor]) -> GateReport:
        """Measure all parties and decide."""
        evaluator = Evaluator(self.encoder, self.examples, self.progress)
        base_scores = evaluator.measure_weights(base, "gate: the base")
        tuned_scores = evaluator.measure_weights(tuned, "gate: the tuned encoder")
        return GateReport(
            split=TEST,
            images=len(self.examples.pixels),
            base=self._scores(base_scores),
            tuned=self._scores(tuned_scores),
            difference=self._scores(tuned_scores, base_scores),
            verdict=decide(tuned_scores, base_scores, self.parts, seed=self.seed),
            champion=None if self.champion is None else self._beside_champion(self.champion, tuned_scores),
        )

    def _beside_champion(self, champion: Encoder, tuned: SplitScores) -> Comparison:
        """The champion reads the same pictures as its own preprocessing wants them."""
        examples = self.examples
        if champion.preprocessing != self.encoder.preprocessing:
            examples = load_split(
                self.examples.labelled.items, self.texts, champion.preprocessing, split=TEST, progress=self.progress
            )
        scores, _ = Evaluator(champion, examples, self.progress).measure("gate: the champion")
        return Comparison(
            against=Evaluation(
                encoder=champion.files.reference, fingerprint=champion.spec.fingerprint, scores=self._scores(scores)
            ),
            difference=self._scores(tuned, scores),
            verdict=decide(tuned, scores, self.parts, seed=self.seed),
        )

    def _scores(self, scores: SplitScores, minus: SplitScores | None = None) -> Scores:
        text_to_image, image_to_text, image_to_image = direction_scores(scores, minus, seed=self.seed)
        return Scores(
            text_to_image=text_to_image,
            image_to_text=image_to_text,
            image_to_image=image_to_image,
            knn5=None,
            label_zero_shot=None,
        )


def open_gate(
    encoder: Encoder,
    texts: DatasetSplits,
    *,
    champion: Encoder | None,
    seed: int,
    progress: Progress,
) -> Gate | None:
    """Read the gate split and cut it into slices; None where there is no such split."""
    items = gate_items(texts.test)
    if not items:
        return None
    examples = load_split(items, texts, encoder.preprocessing, split=TEST, progress=progress)
    labelled = examples.labelled
    slices = make_slices(labelled.items, texts.captioner, columns=texts.slices, group=texts.group, trained=texts.train)
    return Gate(
        encoder=encoder,
        champion=champion,
        examples=examples,
        parts=split_parts(slices, labelled.text_of_N, len(labelled.texts)),
        texts=texts,
        seed=seed,
        progress=progress,
    )
