"""How often the gate errs between two encoders that are equally good: `python gate_false_alarms.py [RUNS]`.

Both encoders see the same drawn products; each adds noise of its own, so that their figures differ by luck alone.
Writes for several sizes of the gate split how often the challenger is promoted, how often a direction and how often a
large slice is called worse.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.nn import functional as F

from pinembed.metrics.split_metrics import SplitEmbeddings, SplitScores, measure_split
from pinembed.metrics.verdict import decide, split_parts
from pinembed.nouns.scores import Slice

DIM = 32
KINDS = 6
SIZES = ((6, 10), (10, 4), (40, 1), (40, 5), (200, 1), (100, 5))


def measured(group_N: Tensor, shared: tuple[Tensor, Tensor], random: torch.Generator) -> SplitScores:
    """One of the encoders: the products' places, moved a little for each product and each picture."""
    products = int(group_N.max()) + 1
    image_GD, text_GD = (of + 0.5 * torch.randn(products, DIM, generator=random) for of in shared)
    image_ND = image_GD[group_N] + 0.9 * torch.randn(len(group_N), DIM, generator=random)
    return measure_split(
        SplitEmbeddings(
            image_ND=F.normalize(image_ND, dim=1),
            text_TD=F.normalize(text_GD, dim=1),
            text_of_N=group_N,
            group_of_N=group_N,
        )
    )


def main(runs: int) -> None:
    """Write a line for each size of the gate split."""
    sys.stdout.write("products  views  promoted  a direction worse  a large slice worse\n")
    for products, views in SIZES:
        group_N = torch.arange(products).repeat_interleave(views)
        kind_N = group_N % KINDS
        slices = [
            Slice(name=str(kind), indices=tuple((kind_N == kind).nonzero().squeeze(1).tolist()))
            for kind in range(min(KINDS, products))
        ]
        parts = split_parts(slices, group_N, products)
        promoted = direction = sliced = 0
        for run in range(runs):
            random = torch.Generator().manual_seed(run)
            image_GD = torch.randn(products, DIM, generator=random)
            shared = (image_GD, image_GD + 0.5 * torch.randn(products, DIM, generator=random))
            verdict = decide(measured(group_N, shared, random), measured(group_N, shared, random), parts, seed=run)
            promoted += verdict.promoted
            direction += any(found.high < 0 for found in verdict.directions.values())
            sliced += any(found.worse for found in verdict.slices)
        shares = "  ".join(f"{count / runs:8.3f}" for count in (promoted, direction, sliced))
        sys.stdout.write(f"{products:8}  {views:5}  {shares}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
