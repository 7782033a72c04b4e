"""What a server would take on trust, looked at before it is sent: one wrong item ends vLLM's engine for everybody.

Shape legend: m soft tokens of one item, W width that the server takes.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import ModelError
from pinembed.trimmed.soft_tokens import size_of

AGAIN = "Export the table again with --format vllm or sglang."


def from_base64(text: str) -> NDArray[Any]:
    """The inverse of `to_base64`.

    Raises:
        ModelError: not base64 of an .npy file, or one that holds a pickle.
    """
    try:
        array: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)
    except (TypeError, ValueError, EOFError, OSError, binascii.Error) as error:
        raise ModelError(
            f"The embedding does not hold base64 of an .npy array: {str(error)[:100]}",
            remedy="Export the table again with --format vllm or sglang.",
        ) from error
    return array


def checked_rows(stored: Any, grid: Any, *, width: int | None) -> NDArray[Any]:
    """The soft tokens of one item, where a server can take them.

    Args:
        stored: base64 of an .npy.
        grid: image_grid_thw of the item.
        width: W; None where any will do.

    Returns:
        (m, W) float16.

    Raises:
        ModelError: no such array, NaN or inf in it, another width, or a grid of another number of tokens.
    """
    soft_mW = from_base64(stored)
    grid_3 = np.asarray(grid)
    whole = grid_3.shape == (3,) and grid_3.dtype.kind == "i" and bool((grid_3 > 0).all())
    even = whole and not (grid_3[1:] % 2).any()  # patches merge 2 x 2
    tokens = math.prod(grid_3.tolist()) // 4 if even else 0
    if soft_mW.ndim != 2 or soft_mW.dtype != np.float16 or not bool(np.isfinite(soft_mW).all()):
        raise ModelError(
            f"An item's soft tokens are {soft_mW.dtype} of shape {soft_mW.shape}, or not finite; "
            "wanted finite float16 of (m, W).",
            remedy=AGAIN,
        )
    if width is not None and soft_mW.shape[1] != width:
        raise ModelError(
            f"An item's soft tokens are {soft_mW.shape[1]} wide, the server takes {width}; it would end for everybody.",
            remedy="Export the table again with the model and the --deepstack-levels of this server.",
        )
    if tokens != len(soft_mW):
        raise ModelError(
            f"An item has {len(soft_mW)} soft token(s) and a grid of {tokens} ({grid_3.tolist()}); "
            "the server would end for everybody.",
            remedy=AGAIN,
        )
    return soft_mW


def checked_part(part: Mapping[str, Any], *, width: int | None) -> NDArray[Any]:
    """The soft tokens of a content part that vLLM can take; arguments, shape and errors as for `checked_rows`.

    Its uuid has to tell its size: vLLM puts what it remembers of a uuid in the place of the rows that came with it.
    """
    embeds = part.get("image_embeds") or {}
    soft_mW = checked_rows(embeds.get("image_embeds", ""), from_base64(embeds.get("image_grid_thw", "")), width=width)
    size, uuid = size_of(*soft_mW.shape), str(part.get("uuid"))
    if not uuid.endswith(size):
        raise ModelError(
            f"An item's uuid {uuid[-100:]!r} does not end in {size}, the size of its soft tokens; the server "
            "would take what it remembers of another item.",
            remedy=AGAIN,
        )
    return soft_mW
