"""Batch norms of several processes that train together, with the statistics of the whole batch.

`torch.nn.SyncBatchNorm` computes on GPUs only, and does not stand for timm's batch norms with an activation. Here
`F.batch_norm` itself is taken over while a tower runs, so every module that calls it is served, and none is exchanged.

Shape legend: R rows of this process, C channels, P processes, S all axes but the channels'.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(F.batch_norm)


class SharedBatchNorm(TorchFunctionMode):
    """Inside, a batch norm in training takes mean and variance over the rows of all processes.

    All of them have to run the same tower, on at least one row each.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        call = _SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        return _shared(**call.arguments) if call.arguments["training"] else func(*args, **kwargs)


def _shared(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """As `F.batch_norm` in training."""
    normalised, mean_C, var_C, count = cast(Any, _Normalise).apply(input, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean_C.to(running_mean.dtype), momentum)
            unbiased_C = var_C * (count / (count - 1).clamp_min(1))
            running_var.lerp_(unbiased_C.to(running_var.dtype), momentum)
    return cast(Tensor, normalised)


class _Normalise(torch.autograd.Function):
    """Source: Ioffe and Szegedy 2015, Batch normalization, arXiv:1502.03167, with sums over all processes."""

    @staticmethod
    def forward(
        ctx: Any, input_RCS: Tensor, weight_C: Tensor | None, bias_C: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [axis for axis in range(input_RCS.dim()) if axis != 1]
        var_C, mean_C = torch.var_mean(input_RCS.float(), axes, correction=0)
        rows = mean_C.new_tensor([input_RCS.numel() / input_RCS.shape[1]])
        mean_PC, var_PC, count_P1 = torch.split(_gathered(torch.cat([mean_C, var_C, rows])), [len(mean_C)] * 2 + [1], 1)
        count = count_P1.sum()
        share_P1 = count_P1 / count
        mean_C = (share_P1 * mean_PC).sum(dim=0)
        var_C = (share_P1 * (var_PC + (mean_PC - mean_C).square())).sum(dim=0)
        ctx.save_for_backward(input_RCS, weight_C, mean_C, (var_C + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean_C, var_C, count)
        normalised = F.batch_norm(input_RCS, mean_C, var_C, weight_C, bias_C, training=False, eps=eps)
        return normalised, mean_C, var_C, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        """The weights' gradients are this process's part, as those of all other weights are."""
        input_RCS, weight_C, mean_C, scale_C, count = ctx.saved_tensors
        gradient_RCS = gradients[0].float()
        axes = [axis for axis in range(input_RCS.dim()) if axis != 1]
        unit_RCS = (input_RCS.float() - _wide(mean_C, input_RCS)) * _wide(scale_C, input_RCS)
        bias_gradient_C = gradient_RCS.sum(axes)
        weight_gradient_C = (gradient_RCS * unit_RCS).sum(axes)
        sums_2C = torch.stack([bias_gradient_C, weight_gradient_C])
        distributed.all_reduce(sums_2C)
        plain_C, along_C = sums_2C / count
        factor_C = scale_C if weight_C is None else scale_C * weight_C
        input_gradient_RCS = _wide(factor_C, input_RCS) * (
            gradient_RCS - _wide(plain_C, input_RCS) - unit_RCS * _wide(along_C, input_RCS)
        )
        return (
            input_gradient_RCS.to(input_RCS.dtype),
            weight_gradient_C if ctx.needs_input_grad[1] else None,
            bias_gradient_C if ctx.needs_input_grad[2] else None,
            None,
        )


def _wide(values_C: Tensor, like_RCS: Tensor) -> Tensor:
    """One value for each channel, in the shape that goes along the channels."""
    return values_C.view(1, -1, *[1] * (like_RCS.dim() - 2))


def _gathered(own: Tensor) -> Tensor:
    """(P, ...) of all processes."""
    everyones = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(everyones, own)
    return torch.stack(everyones)
