"""What an embedding space still tells apart, without a query: its effective rank, and a linear probe.

Shape legend: N embeddings, D floats of each, C values of a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

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


PENALTIES = (1e-3, 1e-2, 1e-1)
STEPS = 100
MIN_STD = 1e-6


def probe_accuracy(
    train_ND: Tensor,
    train_values: Sequence[str],
    select_ND: Tensor,
    select_values: Sequence[str],
    held_out_ND: Tensor,
    held_out_values: Sequence[str],
) -> float:
    """Share of held-out items whose value a multinomial logistic regression names.

    Items with an empty value are left out. The penalty that is best on the selection items is taken.

    Source: Alain and Bengio 2017, arXiv:1610.01644.
    """
    names = sorted({value for value in train_values if value})
    index_of = {name: index for index, name in enumerate(names)}
    mean_D, std_D = train_ND.float().mean(0), train_ND.float().std(0, correction=0).clamp_min(MIN_STD)

    def labelled(embeddings_ND: Tensor, values: Sequence[str]) -> tuple[Tensor, Tensor]:
        kept = [row for row, value in enumerate(values) if value]
        labels_N = torch.tensor([index_of.get(values[row], -1) for row in kept], dtype=torch.int64)
        return (embeddings_ND[kept].float() - mean_D) / std_D, labels_N

    train, select = labelled(train_ND, train_values), labelled(select_ND, select_values)
    held_out = labelled(held_out_ND, held_out_values)
    fits = [_fit(*train, classes=len(names), penalty=penalty) for penalty in PENALTIES]
    best = max(fits, key=lambda fit: _accuracy(fit, *select))
    return _accuracy(best, *held_out)


def _fit(standard_ND: Tensor, labels_N: Tensor, *, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    weight_CD = torch.zeros(classes, standard_ND.shape[1], requires_grad=True)
    bias_C = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight_CD, bias_C], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(F.linear(standard_ND, weight_CD, bias_C), labels_N)
        loss = loss + penalty / 2 * weight_CD.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    return weight_CD.detach(), bias_C.detach()


def _accuracy(fit: tuple[Tensor, Tensor], standard_ND: Tensor, labels_N: Tensor) -> float:
    if not len(labels_N):
        return 0.0
    return float((F.linear(standard_ND, *fit).argmax(dim=1) == labels_N).float().mean())
