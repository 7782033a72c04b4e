"""A linear probe: what an embedding tells about a field when one linear layer may read it. The yardstick of `align`.

Shape legend: N items, D floats of one embedding, C values of the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

PENALTIES = (1e-3, 1e-2, 1e-1)
STEPS = 100
MIN_STD = 1e-6


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A multinomial logistic regression of one field on standardised embeddings.

    Attributes:
        names: the field's values in training, sorted.
        mean_D: of the training items.
        std_D: of the training items.
        weight_CD: of the standardised embedding.
        bias_C: of each value.
    """

    names: tuple[str, ...]
    mean_D: Tensor
    std_D: Tensor
    weight_CD: Tensor
    bias_C: Tensor

    def read(self, embeddings_ND: Tensor) -> list[str]:
        """The likeliest value of each item."""
        standard_ND = (embeddings_ND.float() - self.mean_D) / self.std_D
        places = F.linear(standard_ND, self.weight_CD, self.bias_C).argmax(dim=1).tolist()
        return [self.names[place] for place in places]

    def accuracy(self, embeddings_ND: Tensor, values: Sequence[str]) -> float:
        """Share of the items with a value that are read right; 0 where none has one."""
        kept = [row for row, value in enumerate(values) if value]
        read = self.read(embeddings_ND[kept]) if kept else []
        return sum(values[row] == said for row, said in zip(kept, read, strict=True)) / max(len(kept), 1)


def fit_probe(train_ND: Tensor, train_values: Sequence[str], select_ND: Tensor, select_values: Sequence[str]) -> Probe:
    """The probe of the penalty that is best on the selection items. Items with an empty value are left out.

    Source: Alain and Bengio 2017, arXiv:1610.01644.
    """
    names = tuple(sorted({value for value in train_values if value}))
    place_of = {name: place for place, name in enumerate(names)}
    mean_D, std_D = train_ND.float().mean(0), train_ND.float().std(0, correction=0).clamp_min(MIN_STD)
    kept = [row for row, value in enumerate(train_values) if value]
    labels_N = torch.tensor([place_of[train_values[row]] for row in kept], dtype=torch.int64)
    standard_ND = (train_ND[kept].float() - mean_D) / std_D
    fits = [_fit(standard_ND, labels_N, classes=len(names), penalty=penalty) for penalty in PENALTIES]
    probes = [
        Probe(names=names, mean_D=mean_D, std_D=std_D, weight_CD=weight_CD, bias_C=bias_C) for weight_CD, bias_C in fits
    ]
    return max(probes, key=lambda probe: probe.accuracy(select_ND, select_values))


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
