"""safetensors files, written as a stream and opened without reading more than the header.

Layout: 8 bytes header length (little-endian), the header as JSON, then the tensors one after another.
Source: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from typing import Any

from pinembed.errors import SourceError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1 << 20
ITEM_BYTES = {"F16": 2, "F32": 4, "U64": 8, "U8": 1}
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def header_bytes(tensors: dict[str, Tensor]) -> bytes:
    """The start of a file that holds these tensors in this order; the first tensor begins at a multiple of 8."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size_bytes
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def tensor_offsets(descriptor: int, wanted: dict[str, Tensor], *, file: str) -> dict[str, int]:
    """Check that an open file holds exactly these tensors, and say where each begins.

    Args:
        descriptor: of the open file; only the header is read.
        wanted: name to dtype and shape.
        file: the file's name, for messages.

    Raises:
        SourceError: the file is no safetensors file, is cut short, or holds something else.
    """
    size_bytes = os.fstat(descriptor).st_size
    start = os.pread(descriptor, LENGTH_BYTES, 0)
    if start.startswith(_PICKLE_STARTS):
        raise _damaged(file, "is a pickle or a zip archive, which pinembed never opens; wanted safetensors")
    length = struct.unpack("<Q", start)[0] if len(start) == LENGTH_BYTES else 0
    if not 0 < length <= min(MAX_HEADER_BYTES, size_bytes - LENGTH_BYTES):
        raise _damaged(file, "does not begin with a safetensors header")
    header = _parse(os.pread(descriptor, length, LENGTH_BYTES), file=file)
    if set(header) != set(wanted):
        raise _damaged(file, f"holds the tensors {sorted(header)}; wanted {sorted(wanted)}")
    data_start = LENGTH_BYTES + length
    offsets, end = {}, 0
    for name, tensor in wanted.items():
        found = header[name]
        expected = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.size_bytes],
        }
        if found != expected:
            raise _damaged(file, f"says {json.dumps(found)[:200]} of tensor {name}; wanted {json.dumps(expected)}")
        offsets[name] = data_start + end
        end += tensor.size_bytes
    if data_start + end != size_bytes:
        raise _damaged(file, f"has {size_bytes} bytes; its header tells of {data_start + end}")
    return offsets


def _parse(text: bytes, *, file: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, "has a safetensors header that is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(file, "has a safetensors header that is no JSON object")
    header.pop("__metadata__", None)
    return header


def _damaged(file: str, what: str) -> SourceError:
    return SourceError(
        f"{file} {what}.", remedy="Export the table again; `pinembed verify DIR` lists all that is wrong."
    )
