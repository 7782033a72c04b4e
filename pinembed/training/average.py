"""The running average of weights in training: what is validated and kept in place of the last step's.

Source: Izmailov et al. 2018, Averaging weights leads to wider optima, arXiv:1803.05407; as an exponential average.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

EARLY = 0.2
"""Share of the steps so far that the window spans at most: early weights are forgotten."""


def lean(step: int, total_steps: float, share: float) -> float:
    """How far an average moves towards the weights after a step: one part in a window of `share` of the run."""
    return 1 / max(1.0, min(EARLY * step, share * total_steps))


class WeightAverage:
    """An average beside weights that go on learning.

    Attributes:
        weights: the average, by name.

    Args:
        current: the weights of the moment by name, not copies of them; what is no float is the last, not an average.
    """

    def __init__(self, current: Callable[[], Mapping[str, Tensor]]) -> None:
        self._current = current
        self.weights = {name: tensor.detach().clone() for name, tensor in current().items()}

    @torch.no_grad()
    def update(self, share: float, *, without: Collection[str] = ()) -> None:
        """Move by a share towards the weights of the moment; those named are left to the caller."""
        current = {name: tensor.detach() for name, tensor in self._current().items() if name not in without}
        floating = [name for name, tensor in current.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.weights[name] for name in floating], [current[name] for name in floating], share)
        for name in current.keys() - set(floating):
            self.weights[name].copy_(current[name])

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take up an average that was stored."""
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the model holds the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self._current().items():
            held = tensor.clone()
            tensor.copy_(self.weights[name])
            self.weights[name].copy_(held)
