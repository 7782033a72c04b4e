"""Batch norms with fixed statistics, folded into the convolutions before them while an image tower runs.

With the mean and variance of a data set a batch norm is a scale and a shift for each channel, and a pass over all
activations that a convolution could give in the first place. The weights of the model stay as they are, and gradients
reach them through the folded ones.

Shape legend: O output channels, B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

Forward: TypeAlias = Callable[[Tensor], Tensor]

TOLERANCE = 1e-3
"""Largest difference of a feature, as a share of the largest feature; rounding alone gives some 1e-6."""


class Folding:
    """Runs one image tower, with the features and gradients that it has anyway, up to rounding.

    A MobileNetV2 on a CPU takes .7 of the time with gradients and without, and keeps .35 of the memory for them
    (docs/experiments/finetune.md).

    Args:
        tower: its batch norms in training mode take part in no folding.
    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2, for inference.
    """

    def __init__(self, tower: nn.Module) -> None:
        self._tower = tower
        self._norms = [module for module in tower.modules() if _is_foldable(module)]
        self._lock = threading.Lock()  # a module has one forward for all threads
        self._forwards: dict[nn.Module, Forward] | None = None

    def run(self, encode: Callable[[Tensor], Any], input_BCHW: Tensor) -> Any:
        """What `encode`, which goes through the tower once, gives for the input."""
        if not self._norms or any(norm.training for norm in self._norms):
            return encode(input_BCHW)
        with self._lock:
            if self._forwards is None:
                self._forwards = self._found(encode, input_BCHW[:1])
            with _replaced(self._forwards):
                return encode(input_BCHW)

    @torch.no_grad()
    def _found(self, encode: Callable[[Tensor], Any], input_1CHW: Tensor) -> dict[nn.Module, Forward]:
        """What modules do in place of their own forward; nothing where that does not give the tower's features."""
        with _evaluating(self._tower), torch.autocast(input_1CHW.device.type, enabled=False):
            pairs, wanted_1D = self._pairs(encode, input_1CHW)
            forwards: dict[nn.Module, Forward] = {}
            for convolution, norm in pairs:
                forwards[convolution] = _FoldedConvolution(convolution, norm)
                forwards[norm] = _after(norm)
            for module in self._tower.modules():
                if isinstance(module, nn.ReLU6) and module.inplace:
                    forwards[module] = _clamped_in_place
            with _replaced(forwards):
                found_1D = encode(input_1CHW)
        same = isinstance(wanted_1D, Tensor) and (found_1D - wanted_1D).abs().max() <= TOLERANCE * wanted_1D.abs().max()
        return forwards if same else {}

    def _pairs(
        self, encode: Callable[[Tensor], Any], input_1CHW: Tensor
    ) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], Any]:
        """Each convolution whose output a batch norm takes, each of them called once; and the features."""
        made_by: dict[int, tuple[nn.Conv2d, Tensor]] = {}
        met: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
        calls: Counter[nn.Module] = Counter()

        def convolved(module: nn.Module, _: Any, output: Tensor) -> None:
            calls[module] += 1
            made_by[id(output)] = (cast(nn.Conv2d, module), output)

        def normalises(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            calls[module] += 1
            if id(inputs[0]) in made_by:
                met.append((made_by[id(inputs[0])][0], cast(nn.BatchNorm2d, module)))

        convolutions = [module for module in self._tower.modules() if type(module) is nn.Conv2d]
        hooks = [
            *(module.register_forward_hook(convolved) for module in convolutions),
            *(module.register_forward_pre_hook(normalises) for module in self._norms),
        ]
        try:
            features = encode(input_1CHW)
        finally:
            for hook in hooks:
                hook.remove()
        return [pair for pair in met if all(calls[module] == 1 for module in pair)], features


class _FoldedConvolution:
    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        self._convolution, self._norm = convolution, norm

    def __call__(self, input_BCHW: Tensor) -> Tensor:
        norm, own_O = self._norm, self._convolution.bias
        scale_O = norm.weight * torch.rsqrt(cast(Tensor, norm.running_var) + norm.eps)
        mean_O = cast(Tensor, norm.running_mean)
        shift_O = norm.bias + ((0 if own_O is None else own_O) - mean_O) * scale_O
        weight = self._convolution.weight * scale_O[:, None, None, None]
        return cast(Tensor, cast(Any, self._convolution)._conv_forward(input_BCHW, weight, shift_O))


class _ClampInPlace(torch.autograd.Function):
    """ReLU6 whose gradient asks its output, where torch's keeps a copy of its input beside it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values.clamp_(0.0, 6.0)
        ctx.mark_dirty(values)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return cast(Tensor, torch.ops.aten.hardtanh_backward(gradients[0], values, 0.0, 6.0))


def _clamped_in_place(values: Tensor) -> Tensor:
    return cast(Tensor, _ClampInPlace.apply(values))


def _is_foldable(module: nn.Module) -> bool:
    """A batch norm with fixed statistics to come, alone or with timm's activation behind it."""
    if not isinstance(module, nn.BatchNorm2d) or not module.track_running_stats or not module.affine:
        return False
    return type(module) is nn.BatchNorm2d or type(module).__name__ == "BatchNormAct2d"


def _after(norm: nn.BatchNorm2d) -> Forward:
    """What is left of a folded batch norm."""
    if type(norm) is nn.BatchNorm2d:
        return _unchanged
    return nn.Sequential(cast(nn.Module, norm.drop), cast(nn.Module, norm.act))


def _unchanged(values: Tensor) -> Tensor:
    return values


@contextmanager
def _replaced(forwards: dict[nn.Module, Forward]) -> Iterator[None]:
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module in forwards:
            module.__dict__.pop("forward", None)


@contextmanager
def _evaluating(tower: nn.Module) -> Iterator[None]:
    """Without dropout, which would draw random numbers of the training."""
    was_training = [module for module in tower.modules() if module.training]
    tower.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True
