"""A linear map from a new encoder's embeddings to an old one's, so that a projector survives a change of encoder.

Shape legend: N items that both sources hold, D floats of a new embedding, E floats of an old one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.errors import DataError

RIDGE = 1e-3
MIN_ITEMS = 16


class LinearAdapter(nn.Module):
    """x W' + b, brought to norm 1 as every embedding is.

    Args:
        dim: D.
        old_dim: E.
    """

    def __init__(self, dim: int, old_dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, old_dim)

    def forward(self, embeddings_ND: Tensor) -> Tensor:
        """(N, E) of norm 1."""
        return F.normalize(self.map(embeddings_ND), dim=1)


def fit_adapter(new_ND: Tensor, old_NE: Tensor) -> LinearAdapter:
    """The ridge regression of the old embeddings on the new ones, of the same items in the same order.

    Raises:
        DataError: too few items for a map.
    """
    if len(new_ND) < MIN_ITEMS:
        raise DataError(
            f"The two sources share {len(new_ND)} training item(s); a map between encoders needs {MIN_ITEMS} or more.",
            remedy="Give the old source of the same catalogue, or train a new projector without --old-source.",
        )
    new_ND, old_NE = new_ND.double(), old_NE.double()
    mean_D, mean_E = new_ND.mean(dim=0), old_NE.mean(dim=0)
    centred_ND = new_ND - mean_D
    gram_DD = centred_ND.T @ centred_ND
    penalty = RIDGE * float(gram_DD.diagonal().mean())
    solved_DE = torch.linalg.solve(
        gram_DD + penalty * torch.eye(len(gram_DD), dtype=torch.float64), centred_ND.T @ (old_NE - mean_E)
    )
    adapter = LinearAdapter(new_ND.shape[1], old_NE.shape[1])
    with torch.no_grad():
        adapter.map.weight.copy_(solved_DE.T)
        adapter.map.bias.copy_(mean_E - mean_D @ solved_DE)
    return adapter


@torch.inference_mode()
def mean_cosine(adapter: LinearAdapter, new_ND: Tensor, old_NE: Tensor) -> float:
    """How near the mapped embeddings come to the old ones; 1 is equal."""
    return float(F.cosine_similarity(adapter(new_ND.float()), old_NE.float(), dim=1).mean())
