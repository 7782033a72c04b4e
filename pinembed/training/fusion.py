"""The step after the weights: which metadata becomes part of an item's vector. Chosen on val, judged on test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.encoder.fusion import parse_fusion
from pinembed.errors import UsageError
from pinembed.fusion.choose import choose_fusion, find_loss, item_scores
from pinembed.fusion.eval_set import FusionEvalSet, Phrases, make_eval_set
from pinembed.fusion.texts import text_fields
from pinembed.nouns.encoder_spec import IMAGE, Fusion
from pinembed.nouns.progress import Progress
from pinembed.nouns.scores import FusionReport
from pinembed.training.datasets import DatasetSplits, SplitDataset
from pinembed.training.evaluator import Evaluator
from pinembed.training.gate import Gate

MOST_ITEMS = 1000


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """What was asked for.

    Attributes:
        off: items are their images alone, without a question.
        by_hand: weights that were given; None where they are to be chosen.
    """

    off: bool
    by_hand: Fusion | None


def parse_fusion_options(words: str, texts: DatasetSplits) -> FusionOptions:
    """`auto`, `off` or weights, checked before any time is spent.

    Raises:
        UsageError: weights that cannot be read, or that name a column that is not there or holds no text.
    """
    if words in {"auto", "off"}:
        return FusionOptions(off=words == "off", by_hand=None)
    fusion = parse_fusion(words)
    columns = texts.train[0].fields
    unknown = [name for name in fusion.names if name not in columns]
    if unknown:
        raise UsageError(
            f"--fusion names {', '.join(unknown)}, which the metadata does not have; its columns are "
            f"{', '.join(columns)}.",
            remedy="Name columns of text.",
        )
    wordless = sorted(set(fusion.names) - set(text_fields(texts.train, fusion.names)))
    if wordless:
        raise UsageError(
            f"--fusion names {', '.join(wordless)}, which holds numbers, one and the same text, or hardly any.",
            remedy="Name columns of text that differ between items.",
        )
    return FusionOptions(off=False, by_hand=fusion)


class FusionStep:
    """Decides about the metadata in an item's vector, under the weights that the encoder will be stored with.

    Args:
        encoder: takes the weights.
        texts: all splits.
        options: what was asked for.
        seed: of everything random.
        progress: who watches.
    """

    def __init__(
        self, encoder: Encoder, texts: DatasetSplits, options: FusionOptions, *, seed: int, progress: Progress
    ) -> None:
        self._encoder = encoder
        self._options = options
        self._texts = texts
        self._seed = seed
        self._progress = progress

    def decide(self, weights: dict[str, Tensor], val: SplitDataset, gate: Gate | None) -> FusionReport | None:
        """Choose on val where no weights are given, and let the gate's split have the last word; None where it is off.

        Args:
            weights: state dict.
            val: chooses.
            gate: its split judges; None where there is no such split.
        """
        if self._options.off:
            return None
        by_hand = self._options.by_hand
        self._encoder.model.load_state_dict(weights)
        self._encoder.model.eval()
        phrases = self._phrases(val, by_hand)
        eval_set = self._eval_set(val, phrases, "val")
        if by_hand is None:
            choice = choose_fusion(eval_set, seed=self._seed)
            fusion, best, reason = choice.fusion, choice.best, choice.reason
        else:
            fusion, best, reason = by_hand, by_hand, "The weights were given by hand."
        judging = eval_set
        if fusion is not None and gate is not None:
            judging = self._eval_set(gate.examples, {name: phrases[name] for name in fusion.names}, "test")
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
        """What may become part of an item: columns of text but the group's own, which would carry the answer."""
        if by_hand is not None:
            return {field.name: field.text for field in by_hand.fields}
        names = [name for name in self._texts.captioner.fields if name not in {self._texts.group, IMAGE}]
        return dict.fromkeys(text_fields(val.labelled.items, names), str)

    def _eval_set(self, examples: SplitDataset, phrases: Phrases, split: str) -> FusionEvalSet:
        image_ND = Evaluator(self._encoder, examples, self._progress).embed_images(f"fusion: {split} images")
        labelled = examples.labelled
        indices_M = _whole_groups(labelled.group_of_N, self._seed)
        items = [labelled.items[index] for index in indices_M.tolist()]
        return make_eval_set(
            items,
            image_ND[indices_M],
            labelled.group_of_N[indices_M],
            labelled.text_of_N[indices_M],
            phrases=phrases,
            query_fields=text_fields(items, self._texts.captioner.fields),
            embed_texts=self._encoder.embed_texts,
        )


def _whole_groups(group_of_N: Tensor, seed: int) -> Tensor:
    """Places of at most MOST_ITEMS items, of groups drawn at random; in random order, as the first ones may ask."""
    rng = np.random.default_rng(seed)
    groups, group_N, counts_G = torch.unique(group_of_N, return_inverse=True, return_counts=True)
    drawn_G = torch.from_numpy(rng.permutation(len(groups)))
    fits_G = counts_G[drawn_G].cumsum(0) <= MOST_ITEMS
    fits_G[0] = True  # one group larger than all that is wanted
    indices_M = torch.isin(group_N, drawn_G[fits_G]).nonzero().squeeze(1)
    return indices_M[torch.from_numpy(rng.permutation(len(indices_M)))]
