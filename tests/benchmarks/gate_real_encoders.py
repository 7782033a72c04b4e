"""How often the gate promotes what is no better, on real encoders: `python gate_real_encoders.py DATA A B`.

    [--group COLUMN] [--text COLUMN,...] [--every 1] [--runs 400]

A and B are two encoders of equal worth, such as two runs of finetune with different seeds. Both answer the same queries
of the test split. Written are: A against itself, A against B and B against A as they are; and of RUNS drawn gate splits
how often a challenger is promoted that is A in some groups and B in the others, by the toss of a coin, against its
opposite. Groups are drawn with replacement; by construction, neither of the two is better than the other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from pinembed.catalogue.captions import make_captioner
from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.split_words import TEST
from pinembed.catalogue.splits import decide_splits
from pinembed.encoder.encoder import load_encoder
from pinembed.evaluation.questions import Questions, ask, make_questions
from pinembed.metrics.retrieval import QueryScores
from pinembed.metrics.split_metrics import SplitScores
from pinembed.metrics.verdict import decide
from pinembed.nouns.progress import SILENT
from pinembed.nouns.scores import DIRECTIONS


def answered(reference: str, questions: Questions) -> SplitScores:
    """What an encoder gets for the questions."""
    sys.stdout.write(f"asking {reference}\n")
    sys.stdout.flush()
    return ask(load_encoder(reference), questions, split=TEST, progress=SILENT).retrieval


def drawn(first: QueryScores, second: QueryScores, group_D: Tensor, swapped_D: Tensor) -> QueryScores:
    """Answers to the queries of drawn groups: the second encoder's where swapped, else the first's."""
    values, clusters = [], []
    for index, (group, swapped) in enumerate(zip(group_D.tolist(), swapped_D.tolist(), strict=True)):
        is_asked_Q = first.cluster_Q == group
        values.append((second if swapped else first).values_QM[is_asked_Q])
        clusters.append(torch.full((int(is_asked_Q.sum()),), index))
    cluster_Q = torch.cat(clusters)
    return QueryScores(
        values_QM=torch.cat(values), cluster_Q=cluster_Q, index_Q=torch.arange(len(cluster_Q)), gallery=first.gallery
    )


def exchanged(first: SplitScores, second: SplitScores, group_D: Tensor, swapped_D: Tensor) -> SplitScores:
    """The same in every direction."""
    pairs = zip(DIRECTIONS, first.directions, second.directions, strict=True)
    return SplitScores(**{name: drawn(ours, theirs, group_D, swapped_D) for name, ours, theirs in pairs})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoders", nargs=2)
    parser.add_argument("--group", default="label")
    parser.add_argument("--text", default="label,description")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th test image")
    parser.add_argument("--runs", type=int, default=400)
    asked = parser.parse_args()
    catalogue = read_catalogue(asked.data)
    items = decide_splits(catalogue, group=asked.group).items[TEST][:: asked.every]
    captioner = make_captioner(catalogue, asked.text.split(","))
    questions = make_questions(items, (), captioner, group=asked.group, split=TEST)
    first, second = (answered(reference, questions) for reference in asked.encoders)
    groups = torch.unique(first.image_to_image.cluster_Q)
    sys.stdout.write(f"{len(items)} images of {len(groups)} groups\n")
    for name, ours, theirs in (
        ("A against A", first, first),
        ("A against B", first, second),
        ("B against A", second, first),
    ):
        verdict = decide(ours, theirs)
        sys.stdout.write(f"{name}: {'promoted' if verdict.promoted else 'not promoted'}. {verdict.reason}\n")
    promoted = 0
    for run in range(asked.runs):
        random = torch.Generator().manual_seed(run)
        group_D = groups[torch.randint(len(groups), (len(groups),), generator=random)]
        swapped_D = torch.rand(len(groups), generator=random) < 0.5
        challenger = exchanged(first, second, group_D, swapped_D)
        promoted += decide(challenger, exchanged(first, second, group_D, ~swapped_D), seed=run).promoted
    sys.stdout.write(f"of equal worth by construction: promoted in {promoted} of {asked.runs}\n")


if __name__ == "__main__":
    main()
