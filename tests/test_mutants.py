"""Metadata files with damage of every kind: a sentence or rows, never a traceback.

More of them: PINEMBED_MUTANTS=2000 pytest tests/test_mutants.py
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.inputs import find_inputs
from pinembed.errors import DataError
from pinembed.settings.encoding import EncodeSettings

MUTANTS = int(os.environ.get("PINEMBED_MUTANTS", "60"))
NAMES = ("a.png", "sub/b.png", "c d.png")
VALUES = ("0012", "10E5", "", "NaN", "2024-05-01", "2024-02-30", "1e400", "-0", "true", "ü\u0301", "\ufeff", '"', "a,b")
VALUES_OF_JSON = (None, True, 7, 2**70, 1.5, "x", "2024-05-01", [1, "a"], {"k": [1]}, [], {})
PIECES = (b"\x00", b"\xff\xfe", b'"', b",", b"\n", b"\r\n", b"{", b"]", b"null", b"file_name", b"PAR1", b"\xed\xa0\x80")


def csv_bytes(rng: np.random.Generator) -> bytes:
    columns = ["file_name", *rng.choice(["id", "split", "t", "price", "t", "", "_rowid", "a.b"], 3).tolist()]
    rows = [[name, *rng.choice(VALUES, 3).tolist()] for name in NAMES]
    return "\n".join(",".join(row) for row in [columns, *rows]).encode("utf-8", "surrogatepass")


def jsonl_bytes(rng: np.random.Generator) -> bytes:
    value_of = {name: VALUES_OF_JSON[int(rng.integers(len(VALUES_OF_JSON)))] for name in ("id", "split", "t", "price")}
    rows = []
    for index, name in enumerate(NAMES):
        odd = {"t": VALUES_OF_JSON[int(rng.integers(len(VALUES_OF_JSON)))]} if rng.random() < 0.2 else {}
        rows.append({"file_name": name, **value_of, "id": f"{value_of['id']}-{index}", **odd})
    return "\n".join(map(json.dumps, rows)).encode()


def parquet_bytes(rng: np.random.Generator) -> bytes:
    columns = [
        pa.array([1, 2, None]),
        pa.array(["x", None, "z"]).dictionary_encode(),
        pa.array(["x", "y", "z"], pa.string_view()),
        pa.array([1, 2, 3], pa.timestamp("ns")),
        pa.array([1, 2001, 3], pa.duration("ns")),
        pa.array([[1], [], None]),
        pa.array([{"k": 1}, None, {"k": 2}]),
        pa.array([b"a", None, b"\xff"]),
        pa.array([1.5, None, float("nan")], pa.float16()),
        pa.nulls(3),
    ]
    chosen = rng.choice(len(columns), 3, replace=False)
    names = rng.choice(["id", "split", "t", "u", "v"], 3, replace=False).tolist()
    table = pa.table([pa.array(NAMES), *(columns[k] for k in chosen)], names=["file_name", *names])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Up to three cuts, flips or insertions; a third of the files stay whole."""
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.67 else 0):
        at = int(rng.integers(0, len(content) + 1))
        piece = PIECES[int(rng.integers(len(PIECES)))]
        content = [content[:at], content[:at] + piece + content[at:], content[:at] + content[at + 3 :]][rng.integers(3)]
    return content


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_no_metadata_file_ends_in_a_traceback(kind: str, tmp_path: Path) -> None:
    write: dict[str, Callable[[np.random.Generator], bytes]] = {
        "csv": csv_bytes,
        "jsonl": jsonl_bytes,
        "parquet": parquet_bytes,
    }
    (tmp_path / "sub").mkdir()
    for index, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (index * 40, 0, 0)).save(tmp_path / name)
    outcomes = {"rows": 0, "refused": 0}
    for seed in range(MUTANTS):
        rng = np.random.default_rng(seed)
        (tmp_path / f"metadata.{kind}").write_bytes(mutated(write[kind](rng), rng))
        for reader in (read_catalogue, _read_as_encode_does):
            outcomes[outcome_of(reader, tmp_path, f"mutant {seed} of {kind}")] += 1
    assert min(outcomes.values()) > 0, outcomes  # else the mutants are too wild, or too tame


def outcome_of(reader: Callable[[Path], object], folder: Path, what: str) -> str:
    try:
        reader(folder)
    except DataError as error:
        return "refused" if error.message and error.remedy else "silent"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    return "rows"


def _read_as_encode_does(folder: Path) -> None:
    inputs = find_inputs(EncodeSettings(images=folder, table="t/t", encoder="e"))
    assert all(candidate.id for candidate in inputs.candidates)
