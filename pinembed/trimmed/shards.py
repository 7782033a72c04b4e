"""Safetensors files read and written tensor by tensor: headers alone are parsed, bytes are copied in blocks.

File format: https://github.com/huggingface/safetensors (8 bytes of header length, JSON header, tensor bytes).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pinembed.errors import ModelError

COPY_BYTES = 16 << 20
FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number, by safetensors' name of its type; weights of any other type are quantised."""
EXPERT = re.compile(r"(?P<experts>.*\.experts)\.(?P<number>\d+)\.(?P<part>gate_proj|up_proj|down_proj)\.weight")
"""Name of one expert's weight, in checkpoints that do not have all of a layer in one tensor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """One tensor of a safetensors file.

    Attributes:
        dtype: safetensors' name of the type: BF16, F16, F32 ...
        start: place of its first byte in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size_bytes: int

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    @property
    def is_vision(self) -> bool:
        return self.name.startswith(("model.visual.", "visual."))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One safetensors file; its tensors stand in the order of their bytes."""

    path: Path
    tensors: tuple[StoredTensor, ...]


def read_shard(path: Path) -> Shard:
    """Read the header.

    Raises:
        ModelError: not a whole safetensors file.
    """
    try:
        with safe_open(path, framework="np"):  # checks every offset against the file's size
            pass
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is no whole safetensors file: {str(error).splitlines()[0]}", remedy="Download the file again."
        ) from error
    header.pop("__metadata__", None)
    tensors = [
        StoredTensor(
            name=name,
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
            start=8 + header_bytes + entry["data_offsets"][0],
            size_bytes=entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in header.items()
    ]
    return Shard(path=path, tensors=tuple(sorted(tensors, key=lambda tensor: tensor.start)))


def write_shard(
    path: Path, tensors: Sequence[StoredTensor], content: Callable[[StoredTensor], Iterable[bytes]]
) -> None:
    """Write a safetensors file of these names, types and shapes; `content` gives the bytes of each, in blocks."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        span = [end, end + tensor.size_bytes]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": span}
        end += tensor.size_bytes
    header_bytes = json.dumps(header, separators=(",", ":")).encode()
    header_bytes += b" " * (-len(header_bytes) % 8)  # the format aligns the tensors to 8 bytes
    with path.open("wb") as file:
        file.write(len(header_bytes).to_bytes(8, "little") + header_bytes)
        for tensor in tensors:
            file.writelines(content(tensor))


def stored_bytes(path: Path, tensor: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor, COPY_BYTES at most in a block.

    Raises:
        ModelError: the file ended inside of it.
    """
    with path.open("rb") as file:
        file.seek(tensor.start)
        left = tensor.size_bytes
        while left:
            block = file.read(min(left, COPY_BYTES))
            if not block:
                raise ModelError(f"{path} ended inside {tensor.name}.", remedy="Download the file again.")
            yield block
            left -= len(block)
