"""What a teacher said, on disk: for every place of an answer its likeliest tokens and how likely they are.

Shape legend: A tokens of one answer, the end of the turn included; S tokens of all answers of a file; k likeliest ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pinembed.errors import DataError

PART_PATTERN = "part-*.safetensors"


@dataclass(frozen=True, kw_only=True)
class Taught:
    """One question about one item, an answer, and the teacher's view of every token of it.

    Attributes:
        item: id.
        question: text.
        answer: the item's value, or the teacher's own words.
        token_A: int32, the answer as the teacher's tokenizer writes it.
        top_Ak: int32, likeliest tokens of each place, the likeliest first.
        log_prob_Ak: float16, natural logarithms of their probabilities.
    """

    item: str
    question: str
    answer: str
    token_A: Tensor
    top_Ak: Tensor
    log_prob_Ak: Tensor


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one file holds.

    Attributes:
        taught: in the order of the items.
        looked: ids of all items that were looked at, those whose image cannot be read among them.
    """

    taught: tuple[Taught, ...]
    looked: tuple[str, ...]


def write_part(path: Path, part: Part, *, key: str) -> None:
    """Write beside the place, then rename.

    Args:
        path: of the file.
        part: with at least one answer.
        key: of the run; a part of another run is not taken over.
    """
    taught = part.taught
    tensors = {
        "token_S": torch.cat([one.token_A for one in taught]),
        "top_Sk": torch.cat([one.top_Ak for one in taught]),
        "log_prob_Sk": torch.cat([one.log_prob_Ak for one in taught]),
        "length": torch.tensor([len(one.token_A) for one in taught], dtype=torch.int32),
    }
    dialogues = [{"item": one.item, "question": one.question, "answer": one.answer} for one in taught]
    partial = path.with_name(path.name + ".partial")
    told = {"dialogues": json.dumps(dialogues, ensure_ascii=False), "looked": json.dumps(part.looked)}
    save_file(tensors, partial, metadata={"key": key, **told})
    partial.replace(path)


def read_part(path: Path, *, key: str | None = None) -> Part | None:
    """What one file holds; None where it was written by a run of another key.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            if key is not None and metadata.get("key") != key:
                return None
            dialogues, looked = json.loads(metadata["dialogues"]), json.loads(metadata["looked"])
            token_S, top_Sk, log_prob_Sk, length = (
                stored.get_tensor(name) for name in ("token_S", "top_Sk", "log_prob_Sk", "length")
            )
        sizes = length.tolist()
        if not len(token_S) == len(top_Sk) == len(log_prob_Sk) == sum(sizes) or top_Sk.shape != log_prob_Sk.shape:
            raise ValueError("its tensors do not fit each other")
        if not bool(torch.isfinite(log_prob_Sk).all()):
            raise ValueError("it holds NaN or inf")
        taught = tuple(
            Taught(
                item=str(dialogue["item"]),
                question=str(dialogue["question"]),
                answer=str(dialogue["answer"]),
                token_A=token_A,
                top_Ak=top_Ak,
                log_prob_Ak=log_prob_Ak,
            )
            for dialogue, token_A, top_Ak, log_prob_Ak in zip(
                dialogues,
                torch.split(token_S, sizes),
                torch.split(top_Sk, sizes),
                torch.split(log_prob_Sk, sizes),
                strict=True,
            )
        )
        return Part(taught=taught, looked=tuple(map(str, looked)))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path} is not what `pinembed teach` wrote: {str(error).splitlines()[0]}",
            remedy="Run `pinembed teach` again.",
        ) from error


def read_taught(folder: Path) -> list[Taught]:
    """Everything in a folder that `teach` wrote, in its order.

    Raises:
        DataError: no such folder, nothing in it, or a damaged file.
    """
    parts = sorted(folder.glob(PART_PATTERN)) if folder.is_dir() else []
    if not parts:
        raise DataError(
            f"{folder} holds no {PART_PATTERN}; wanted a folder that `pinembed teach` wrote.",
            remedy="Make one: pinembed teach DATA --model MODEL --out DIR",
        )
    return [taught for path in parts if (part := read_part(path)) is not None for taught in part.taught]
