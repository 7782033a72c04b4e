"""Colour profiles of wide gamut, as cameras and editors embed them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

# red, green and blue in XYZ under D50
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
D50 = (0.9642, 1.0, 0.8249)


def display_p3() -> bytes:
    """P3's primaries with the curve of sRGB."""
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    curve = struct.pack(">4s4xI", b"curv", len(x)) + np.rint(linear * 65535).astype(">u2").tobytes()
    return _profile(P3, curve)


def adobe_rgb() -> bytes:
    """Adobe RGB (1998), gamma 563/256."""
    return _profile(ADOBE, struct.pack(">4s4xIH2x", b"curv", 1, 563))


def _profile(primaries: Sequence[Sequence[float]], curve: bytes) -> bytes:
    """A matrix profile of ICC version 2.1: https://www.color.org/icc32.pdf"""
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(79)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50)}
    tags |= {name: _xyz(primary) for name, primary in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start, table, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(content), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _numbers(D50) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + content


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + _numbers(values)


def _numbers(values: Sequence[float]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
