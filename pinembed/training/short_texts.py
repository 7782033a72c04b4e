"""Text towers on as many places as the texts need, where nothing behind a text's end reaches its embedding.

A causal tower that pools at the end-of-text token never looks at the padding behind it. Ten words fill a sixth of a
context of 77 places.

Shape legend: M texts, T context length, L places that are needed, W width,
D embedding floats.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from open_clip.model import CLIP
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

POOLED_AT_THE_END = ("argmax", "eos")
PARTS = 2


def encode_texts(model: nn.Module, tokens_MT: Tensor) -> Tensor:
    """What the model's own `encode_text` gives, (M, D), without the padding where that makes no difference."""
    if not can_cut(model) or len(tokens_MT) == 0:
        return cast(Tensor, cast(Any, model).encode_text(tokens_MT))
    clip = cast(Any, model)
    length_M = _lengths(clip, tokens_MT)
    order_M = torch.argsort(length_M, stable=True)
    hidden_MTW = clip.token_embedding(tokens_MT[:, : int(length_M.max())])  # once: its gradient is as large as it is
    features = [
        _encode(clip, tokens_MT[part], hidden_MTW[part], int(length_M[part[-1]]))
        for part in torch.tensor_split(order_M, PARTS)
        if len(part)
    ]
    return torch.cat(features)[torch.argsort(order_M)]


def can_cut(model: nn.Module) -> bool:
    """A text tower of open_clip's plain CLIP, causal, and pooled at the end of the text."""
    return type(model) is CLIP and model.attn_mask is not None and model.text_pool_type in POOLED_AT_THE_END


def _lengths(model: Any, tokens_MT: Tensor) -> Tensor:
    if model.text_pool_type == "eos":
        tokens_MT = (tokens_MT == model.text_eos_id).int()
    return tokens_MT.argmax(dim=1) + 1


def _encode(clip: Any, tokens_MT: Tensor, hidden_MTW: Tensor, places: int) -> Tensor:
    """`CLIP.encode_text` of open_clip on the first places."""
    hidden_MLW = hidden_MTW[:, :places] + clip.positional_embedding[:places]
    hidden_MLW = clip.transformer(hidden_MLW, attn_mask=clip.attn_mask[:places, :places])
    pooled = text_global_pool(
        clip.ln_final(hidden_MLW),
        tokens_MT[:, :places],
        clip.text_pool_type,
        eos_token_id=getattr(clip, "text_eos_id", None),
    )
    if clip.text_projection is None:
        return cast(Tensor, pooled)
    if isinstance(clip.text_projection, nn.Linear):
        return cast(Tensor, clip.text_projection(pooled))
    return cast(Tensor, pooled @ clip.text_projection)
