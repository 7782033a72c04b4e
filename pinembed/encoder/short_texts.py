"""Text towers on as many places as the texts need, where nothing behind a text's end reaches its embedding.

A causal tower that pools at the end of the text never looks at the padding behind it. Ten words fill a sixth of a
context of 77 places.

Shape legend: M texts, T context length, L places that are needed, W width, D embedding floats.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer, text_global_pool
from torch import Tensor, nn

POOLED_AT_THE_END = ("argmax", "eos")
PARTS = 2
"""Texts are taken shorter and longer ones apart; more parts would each be too small to fill the processor."""


def encode_texts(model: nn.Module, tokens_MT: Tensor) -> Tensor:
    """What the model's own `encode_text` gives, (M, D), without the padding where that makes no difference.

    Gradients flow as through the model's own.

    Args:
        model: an open_clip model.
        tokens_MT: token ids, padded behind the end of the text.
    """
    tower: Any = getattr(model, "text", model)
    if not _reads_no_padding(tower) or len(tokens_MT) == 0:
        return cast(Tensor, cast(Any, model).encode_text(tokens_MT))
    length_M = _end(tower, tokens_MT) + 1
    order_M = torch.argsort(length_M, stable=True)
    hidden_MTW = tower.token_embedding(tokens_MT[:, : int(length_M.max())])  # once: its gradient is as large as it is
    features = [
        _encode(tower, tokens_MT[part], hidden_MTW[part], int(length_M[part[-1]]))
        for part in torch.tensor_split(order_M, PARTS)
        if len(part)
    ]
    return torch.cat(features)[torch.argsort(order_M)]


def _reads_no_padding(tower: Any) -> bool:
    """One of open_clip's own, causal, without a token appended after the text, read at the text's end."""
    return (
        type(tower) in (CLIP, TextTransformer)
        and tower.attn_mask is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
        and not getattr(tower, "output_tokens", False)
        and _pool(tower) in POOLED_AT_THE_END
    )


def _pool(tower: Any) -> str:
    return cast(str, tower.text_pool_type if isinstance(tower, CLIP) else tower.pool_type)


def _eos_id(tower: Any) -> int | None:
    return cast("int | None", getattr(tower, "text_eos_id" if isinstance(tower, CLIP) else "eos_id", None))


def _end(tower: Any, tokens_MT: Tensor) -> Tensor:
    """The place that each text is read at."""
    if _pool(tower) == "eos":
        tokens_MT = torch.eq(tokens_MT, cast(int, _eos_id(tower))).int()
    return tokens_MT.argmax(dim=1)


def _encode(tower: Any, tokens_MT: Tensor, hidden_MTW: Tensor, positions: int) -> Tensor:
    """open_clip's text tower on the first places."""
    dtype = tower.transformer.get_cast_dtype()
    hidden_MLW = hidden_MTW[:, :positions].to(dtype) + tower.positional_embedding[:positions].to(dtype)
    hidden_MLW = tower.transformer(hidden_MLW, attn_mask=tower.attn_mask[:positions, :positions])
    pooled = text_global_pool(
        tower.ln_final(hidden_MLW), tokens_MT[:, :positions], _pool(tower), eos_token_id=_eos_id(tower)
    )
    if tower.text_projection is None:
        return cast(Tensor, pooled)
    if isinstance(tower.text_projection, nn.Linear):
        return cast(Tensor, tower.text_projection(pooled))
    return cast(Tensor, pooled @ tower.text_projection)
