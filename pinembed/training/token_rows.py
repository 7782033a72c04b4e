"""The rows of a token embedding that a run has met: they learn, and the table of all tokens is kept up to date.

A vocabulary has some fifty thousand tokens and the texts of a catalogue a few hundred of them. A table that learns as a
whole has its gradient, its moments and its average written anew in every step, a tenth of the time of a small encoder;
and weight decay shrinks the rows of words that no text has, which the base alone knows.

Shape legend: V tokens of the vocabulary, S tokens that were met, W width, M texts, T context length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.training.optimiser import IMAGE_PREFIX


class TokenRows:
    """The learning rows of a model's token embedding, from its first step to `close`.

    In training a token that was met is read from the rows, so that gradients reach them alone. Everything else, as
    evaluation and the state dict, reads the table, which `write_back` brings up to date after each step.

    Attributes:
        name: of the table in the model's state dict.
        rows_SW: what the optimiser changes.
        token_S: the tokens of the rows.

    Args:
        name: of the embedding among the model's modules.
    """

    def __init__(self, name: str, embedding: nn.Embedding) -> None:
        self.name = f"{name}.weight"
        self._embedding = embedding
        table_VW = embedding.weight.requires_grad_(False)
        self.token_S = torch.empty(0, dtype=torch.int64, device=table_VW.device)
        self.rows_SW = nn.Parameter(table_VW[:0].clone())
        self._place_V = torch.full((len(table_VW),), -1, device=table_VW.device)
        self._hook = embedding.register_forward_hook(self._from_rows)

    @torch.no_grad()
    def unmet(self, tokens: Tensor) -> Tensor:
        """The tokens of a batch that have no row yet, each once and in order; padding that never learns is none."""
        found: Tensor = torch.unique(tokens[self._place_V[tokens] < 0])
        padding = self._embedding.padding_idx
        return found if padding is None else found[found != padding]

    @torch.no_grad()
    def meet(self, tokens: Tensor) -> nn.Parameter:
        """Give more tokens rows, with the table's values; returns all rows, another parameter from here on."""
        self._place_V[tokens] = torch.arange(len(self.token_S), len(self.token_S) + len(tokens), device=tokens.device)
        self.token_S = torch.cat([self.token_S, tokens])
        self.rows_SW = nn.Parameter(torch.cat([self.rows_SW.detach(), self._embedding.weight[tokens]]))
        return self.rows_SW

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring the table up to date."""
        self._embedding.weight.index_copy_(0, self.token_S, self.rows_SW)

    @torch.no_grad()
    def average(self, average_VW: Tensor, share: float) -> None:
        """Move the average of the table by a share towards what it holds; rows that were not met have not changed."""
        average_VW.index_copy_(0, self.token_S, average_VW[self.token_S].lerp_(self.rows_SW, share))

    def close(self) -> None:
        """Leave the plain embedding."""
        self._hook.remove()

    def _from_rows(self, module: nn.Module, inputs: tuple[Tensor, ...], read: Tensor) -> Tensor:
        if not (module.training and torch.is_grad_enabled()):
            return read
        place = self._place_V[inputs[0]]
        rows = F.embedding(place.clamp(min=0), self.rows_SW)
        return torch.where((place >= 0).unsqueeze(-1), rows, read)


def token_rows(model: nn.Module) -> TokenRows | None:
    """The rows of a model's largest embedding outside the image tower; None where it has none that learns whole."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) and not name.startswith(IMAGE_PREFIX)
    ]
    if not found:
        return None
    name, embedding = max(found, key=lambda one: one[1].num_embeddings)
    return TokenRows(name, embedding) if _learns_alone(model, embedding) else None


def _learns_alone(model: nn.Module, embedding: nn.Embedding) -> bool:
    """No other layer shares the table, and it is no more than what its input says."""
    holders: list[Any] = [
        module for module in model.modules() if any(own is embedding.weight for own in module.parameters(recurse=False))
    ]
    is_plain = embedding.max_norm is None and not embedding.sparse and not embedding.scale_grad_by_freq
    return embedding.weight.requires_grad and is_plain and len(holders) == 1
