"""Whether embeddings still tell things apart.

Shape legend: N embeddings, D floats of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_ROWS = 2048
LOWEST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class EffectiveRank:
    """How a set of embeddings fills its space.

    Attributes:
        effective_rank: exp of the entropy of the singular values' shares; 1 for one direction, D for all alike.
        mean_cosine: mean cosine of two different embeddings.
    """

    effective_rank: float
    mean_cosine: float

    def __str__(self) -> str:
        return f"effective rank {self.effective_rank:.1f}, mean cosine {self.mean_cosine:.3f}"

    def has_collapsed(self, base: EffectiveRank) -> bool:
        """Little is left of the base's directions, or of the angles between its embeddings."""
        return self.effective_rank < LOWEST_SHARE * base.effective_rank or 1 - self.mean_cosine < LOWEST_SHARE * (
            1 - base.mean_cosine
        )


def effective_rank(embedding_ND: Tensor) -> EffectiveRank:
    """Measure unit rows; of many rows every n-th.

    Source: Roy and Vetterli 2007, The effective rank, EUSIPCO.
    """
    rows_ND = embedding_ND[:: max(1, len(embedding_ND) // MOST_ROWS)].double()
    values_D = torch.linalg.svdvals(rows_ND)
    share_D = values_D / values_D.sum()
    entropy = -(share_D * share_D.clamp_min(1e-12).log()).sum()
    count = len(rows_ND)
    summed = rows_ND.sum(dim=0)
    pairs = max(count * (count - 1), 1)
    mean_cosine = (float(summed @ summed) - float((rows_ND * rows_ND).sum())) / pairs
    return EffectiveRank(effective_rank=float(entropy.exp()), mean_cosine=mean_cosine)
