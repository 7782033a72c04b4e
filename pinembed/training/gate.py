"""What the output folder holds at the end: the weights that pass the gate, and the fusion that goes with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pinembed.catalogue.slices import make_slices
from pinembed.catalogue.split_words import TEST
from pinembed.encoder.context import Context
from pinembed.encoder.encoder import Encoder
from pinembed.encoder.fusion import parse_fusion
from pinembed.errors import UsageError
from pinembed.fusion.choose import choose_fusion, find_loss, item_scores
from pinembed.fusion.eval_set import FusionEvalSet, Phrases, cut_note, make_eval_set, text_fields
from pinembed.metrics.intervals import direction_scores
from pinembed.metrics.split_metrics import SplitScores
from pinembed.metrics.verdict import SplitPart, decide, split_parts
from pinembed.nouns.encoder_spec import IMAGE, Fusion
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.nouns.scores import Comparison, Evaluation, FusionReport, Scores
from pinembed.reports.finetune import GateReport
from pinembed.settings.option import refuse_unknown_columns
from pinembed.training.datasets import DatasetSplits, SplitDataset, load_split
from pinembed.training.evaluator import Evaluator

TUNED, BASE, CHAMPION = "tuned", "base", "champion"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The end of a run: `kept` is `tuned`, `base` or `champion`, `reason` a sentence."""

    kept: str
    reason: str

    @property
    def promoted(self) -> bool:
        return self.kept == TUNED


def decide_run(
    gate: GateReport | None, *, has_candidate: bool, stopped: str | None, random_init: bool, has_champion: bool
) -> Decision:
    """Keep the tuned weights only where every comparison that could be made speaks for them.

    Args:
        gate: figures on the test split; None where there is none, or nothing to compare.
        has_candidate: validation chose something other than the base.
        stopped: why training ended early.
        random_init: the base is random weights, so there is no base to keep.
        has_champion: an encoder is in use; without a gate it keeps its place.
    """
    rival = CHAMPION if has_champion else BASE
    if not has_candidate:
        why = stopped or "no epoch, and no interpolation with the base, was better on validation and lost nowhere."
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
    """The champion, where there is one, is compared first; the reason of a win over both is that of the champion."""
    beside = gate.champion
    if beside is not None and not beside.verdict.promoted:
        return Decision(kept=CHAMPION, reason=f"Against the champion: {beside.verdict.reason}")
    if not gate.verdict.promoted:
        where = "" if beside is None else "Against the base: "
        return Decision(kept=BASE if beside is None else CHAMPION, reason=where + gate.verdict.reason)
    return Decision(kept=TUNED, reason=gate.verdict.reason if beside is None else beside.verdict.reason)


MOST_IMAGES = 2000


def gate_items(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items of the gate: all, or of many those with the lowest hash of their id, the same in every run."""
    if len(items) <= MOST_IMAGES:
        return items
    chosen = sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:MOST_IMAGES]
    return tuple(sorted(chosen, key=lambda item: item.file_name))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The last comparison, on the test split.

    Attributes:
        encoder: the base's; takes the weights that are judged.
        champion: the encoder in use; None where the base is the only rival.
        unflagged: an encoder that was trained on all images, flagged ones too; it is compared and decides nothing.
    """

    encoder: Encoder
    champion: Encoder | None
    unflagged: Encoder | None
    test: SplitDataset
    parts: tuple[SplitPart, ...]
    splits: DatasetSplits
    seed: int
    progress: Progress

    def judge(self, base: dict[str, Tensor], tuned: dict[str, Tensor]) -> GateReport:
        """Measure base, tuned encoder and champion, and decide."""
        evaluator = Evaluator(self.encoder, self.test, self.progress)
        base_scores = evaluator.measure_weights(base, "gate: the base")
        tuned_scores = evaluator.measure_weights(tuned, "gate: the tuned encoder")
        return GateReport(
            split=TEST,
            images=len(self.test.pixels),
            base=self._scores(base_scores),
            tuned=self._scores(tuned_scores),
            difference=self._scores(tuned_scores, base_scores),
            verdict=decide(tuned_scores, base_scores, self.parts, seed=self.seed),
            champion=self._beside(self.champion, tuned_scores, "the champion"),
            unflagged=self._beside(self.unflagged, tuned_scores, "the encoder trained on all images"),
        )

    def _beside(self, other: Encoder | None, tuned: SplitScores, name: str) -> Comparison | None:
        """Another encoder on the same images, under its own preprocessing."""
        if other is None:
            return None
        test = self.test
        if other.preprocessing != self.encoder.preprocessing:
            test = load_split(
                self.test.labelled.items, self.splits, other.preprocessing, split=TEST, progress=self.progress
            )
        scores, _ = Evaluator(other, test, self.progress).measure(f"gate: {name}")
        return Comparison(
            against=Evaluation(
                encoder=other.files.reference, fingerprint=other.spec.fingerprint, scores=self._scores(scores)
            ),
            difference=self._scores(tuned, scores),
            verdict=decide(tuned, scores, self.parts, seed=self.seed),
        )

    def _scores(self, scores: SplitScores, minus: SplitScores | None = None) -> Scores:
        return direction_scores(scores, minus, seed=self.seed)


def open_gate(
    encoder: Encoder,
    splits: DatasetSplits,
    *,
    champion: Encoder | None,
    unflagged: Encoder | None = None,
    seed: int,
    progress: Progress,
) -> Gate | None:
    """Read the gate split and cut it into slices; None where there is no such split."""
    items = gate_items(splits.test)
    if not items:
        return None
    test = load_split(items, splits, encoder.preprocessing, split=TEST, progress=progress)
    labelled = test.labelled
    slices = make_slices(
        labelled.items, splits.captioner, columns=splits.slices, group=splits.group, trained=splits.train
    )
    return Gate(
        encoder=encoder,
        champion=champion,
        unflagged=unflagged,
        test=test,
        parts=split_parts(slices, labelled.text_of_N, len(labelled.texts)),
        splits=splits,
        seed=seed,
        progress=progress,
    )


MOST_ITEMS = 1000


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """The option --fusion.

    Attributes:
        off: items are their images alone, without a question.
        by_hand: weights that were given; None where they are to be chosen.
    """

    off: bool
    by_hand: Fusion | None


def parse_fusion_options(words: str, splits: DatasetSplits) -> FusionOptions:
    """`auto`, `off` or weights, checked before any time is spent.

    Raises:
        UsageError: weights that cannot be read, or that name a column that is not there or holds no text.
    """
    if words in {"auto", "off"}:
        return FusionOptions(off=words == "off", by_hand=None)
    fusion = parse_fusion(words)
    known = list(splits.train[0].fields)
    refuse_unknown_columns("--fusion", fusion.names, known, place="the metadata", remedy="Name columns of text.")
    wordless = sorted(set(fusion.names) - set(text_fields(splits.train, fusion.names)))
    if wordless:
        raise UsageError(
            f"--fusion names {', '.join(wordless)}, which holds numbers, one and the same text, or hardly any.",
            remedy="Name columns of text that differ between items.",
        )
    return FusionOptions(off=False, by_hand=fusion)


class FusionStep:
    """Decides about the metadata in an item's vector, under the weights that the encoder will be stored with."""

    def __init__(
        self, encoder: Encoder, splits: DatasetSplits, options: FusionOptions, *, seed: int, progress: Progress
    ) -> None:
        self._encoder = encoder
        self._options = options
        self._splits = splits
        self._seed = seed
        self._progress = progress

    def decide(
        self,
        weights: dict[str, Tensor],
        val: SplitDataset,
        gate: Gate | None,
        *,
        before_refit: dict[str, Tensor] | None = None,
    ) -> FusionReport | None:
        """Choose on val where no weights are given, and confirm the choice on the test split; None where it is off.

        Args:
            weights: the encoder's, as they will be stored.
            val: the split that chooses.
            gate: what confirms; None where nothing judges.
            before_refit: weights that val did not teach, to choose under.
        """
        if self._options.off:
            return None
        by_hand = self._options.by_hand
        self._encoder.model.load_state_dict(weights if before_refit is None else before_refit)
        self._encoder.model.eval()
        phrases = self._phrases(val, by_hand)
        self._tell_cut(phrases)
        eval_set = self._eval_set(val, phrases, "val")
        if by_hand is None:
            choice = choose_fusion(eval_set, seed=self._seed)
            fusion, best, reason = choice.fusion, choice.best, choice.reason
        else:
            fusion, best, reason = by_hand, by_hand, "The weights were given by hand."
        judging = eval_set
        self._encoder.model.load_state_dict(weights)
        if fusion is not None and gate is not None:
            judging = self._eval_set(gate.test, {name: phrases[name] for name in fusion.names}, "test")
        if fusion is not None:
            lost = find_loss(judging.search(fusion), judging.search(None), seed=self._seed, must_gain=False)
            if lost is not None:
                fusion, reason = None, f"Items are their images alone: on the split that judges, {lost}"
        self._progress.say(f"fusion: {fusion or 'none, items are their images alone'}")
        return FusionReport(
            fusion=fusion,
            reason=reason,
            val=None if best is None else item_scores(eval_set, best, seed=self._seed),
            test=None if judging is eval_set or best is None else item_scores(judging, best, seed=self._seed),
        )

    def _phrases(self, val: SplitDataset, by_hand: Fusion | None) -> Phrases:
        """Columns that may be fused: those of text, but for the group's own, which would give the positives away."""
        if by_hand is not None:
            return by_hand.phrases
        names = [name for name in self._splits.captioner.fields if name not in {self._splits.group, IMAGE}]
        return dict.fromkeys(text_fields(val.labelled.items, names), str)

    def _tell_cut(self, phrases: Phrases) -> None:
        splits, context = self._splits, Context(self._encoder.tokenizer)
        items = (*splits.train, *splits.val, *splits.test)
        if note := cut_note(items, phrases, context, remedy="Name columns of shorter texts with --fusion."):
            self._progress.say(note)

    def _eval_set(self, split: SplitDataset, phrases: Phrases, name: str) -> FusionEvalSet:
        image_ND = Evaluator(self._encoder, split, self._progress).embed_images(f"fusion: {name} images")
        labelled = split.labelled
        indices_M = _whole_groups(labelled.group_of_N, self._seed)
        items = [labelled.items[index] for index in indices_M.tolist()]
        return make_eval_set(
            items,
            image_ND[indices_M],
            labelled.group_of_N[indices_M],
            labelled.text_of_N[indices_M],
            phrases=phrases,
            query_fields=text_fields(items, self._splits.captioner.fields),
            embed_texts=self._encoder.embed_texts,
        )


def _whole_groups(group_of_N: Tensor, seed: int) -> Tensor:
    """Indices of at most MOST_ITEMS items of groups drawn at random, in random order: the first may be queries."""
    rng = np.random.default_rng(seed)
    groups, group_N, counts_G = torch.unique(group_of_N, return_inverse=True, return_counts=True)
    drawn_G = torch.from_numpy(rng.permutation(len(groups)))
    fits_G = counts_G[drawn_G].cumsum(0) <= MOST_ITEMS
    fits_G[0] = True  # one group larger than all that is wanted
    indices_M = torch.isin(group_N, drawn_G[fits_G]).nonzero().squeeze(1)
    return indices_M[torch.from_numpy(rng.permutation(len(indices_M)))]
