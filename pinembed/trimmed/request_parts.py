"""Soft tokens in the request formats of vLLM and SGLang.

Shape legend: I items, m soft tokens of one item, H language-model width, W = H x (1 + levels) width that the server
takes: a server that runs a trimmed checkpoint, or leaves the tower out, takes H; one that has loaded a tower with
DeepStack levels takes the levels behind the soft token, which are zero here.

Source: vLLM 0.33, renderers/chat_utils and multimodal/media/image.py; SGLang 0.5.23, multimodal/processors.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinembed.errors import ModelError, UsageError

SGLANG_FORMAT = "precomputed_embedding"
# SGLang's documented entry puts the embedding under `feature`, which its Qwen3-VL of 0.5.23 hands to the vision tower;
# what a `processor_output` entry has under `precomputed_embeddings` goes past the tower.
SGLANG_FORMS = {"processor_output": "precomputed_embeddings", SGLANG_FORMAT: "feature"}


def grid_thw(tokens: int) -> list[int]:
    """The patch grid that both servers read as m tokens in one row: 1 x 2 x 2m patches, merged 2 x 2."""
    return [1, 2, 2 * tokens]


def widened(soft_ImH: Tensor, levels: int) -> Tensor:
    """(I, m, W): the soft tokens with `levels` zero DeepStack levels behind each."""
    zeros = soft_ImH.new_zeros(*soft_ImH.shape[:2], levels * soft_ImH.shape[2])
    return torch.cat([soft_ImH, zeros], dim=2)


def to_base64(array: NDArray[np.generic]) -> str:
    """An array as base64 of an .npy file, without pickles."""
    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    return base64.b64encode(written.getvalue()).decode()


def from_base64(text: str) -> NDArray[Any]:
    """The inverse of `to_base64`.

    Raises:
        ModelError: not base64 of an .npy file, or one that holds a pickle.
    """
    try:
        array: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)
    except (ValueError, EOFError, OSError, binascii.Error) as error:
        raise ModelError(
            f"The embedding does not hold base64 of an .npy array: {str(error)[:100]}",
            remedy="Export the table again with --format vllm or sglang.",
        ) from error
    return array


def vllm_part(soft_mW: NDArray[np.float16], uuid: str) -> dict[str, Any]:
    """One item as a content part of a chat message.

    Args:
        soft_mW: the item's soft tokens.
        uuid: the server's cache key; must differ whenever the soft tokens do.
    """
    grid = np.array(grid_thw(len(soft_mW)), np.int64)
    embeds = {"image_embeds": to_base64(soft_mW), "image_grid_thw": to_base64(grid)}
    return {"type": "image_embeds", "image_embeds": embeds, "uuid": uuid}


def vllm_request(parts: Sequence[dict[str, Any]], question: str, *, model: str) -> dict[str, Any]:
    """The body of a POST to /v1/chat/completions: the items, then the question, answered greedily."""
    content = [*parts, {"type": "text", "text": question}]
    return {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0}


def sglang_line(soft_mW: NDArray[np.float16]) -> dict[str, Any]:
    """One item as JSON; `sglang_image_data` makes of several what the engine takes."""
    return {"format": SGLANG_FORMAT, "feature": to_base64(soft_mW), "image_grid_thw": grid_thw(len(soft_mW))}


def sglang_image_data(lines: Sequence[dict[str, Any]], *, form: str = "processor_output") -> list[dict[str, Any]]:
    """`image_data` of Engine.generate: SGLang takes one entry a modality, so all items stand in it one after another.

    Args:
        lines: of the items, in the order in which the prompt has their pads.
        form: one of SGLANG_FORMS.

    Returns:
        One entry: the soft tokens (sum of m, W) float16, and image_grid_thw (I, 3) int64.

    Raises:
        UsageError: an unknown form.
        ModelError: a line of another format or width.
    """
    if form not in SGLANG_FORMS:
        raise UsageError(f"The form {form!r} is none of {', '.join(SGLANG_FORMS)}.", remedy="Give one of these.")
    features = [from_base64(line["feature"]) for line in lines if line.get("format") == SGLANG_FORMAT]
    if len(features) != len(lines) or not lines or len({feature.shape[1:] for feature in features}) != 1:
        raise ModelError(
            f"{len(lines)} line(s) make no SGLang entry; wanted {SGLANG_FORMAT} lines of one width.",
            remedy="Take the lines of one `pinembed export --format sglang`.",
        )
    grid_I3 = torch.tensor([line["image_grid_thw"] for line in lines], dtype=torch.int64)
    soft_TW = torch.from_numpy(np.concatenate(features))
    return [{"format": form, SGLANG_FORMS[form]: soft_TW, "image_grid_thw": grid_I3}]


def json_line(item_id: str, content: dict[str, Any]) -> bytes:
    """A line of an exported file: the id, and what the server takes."""
    return (json.dumps({"id": item_id, **content}, ensure_ascii=False) + "\n").encode()
