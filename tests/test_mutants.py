"""Metadata files and images with damage of every kind, through the whole command.

Never a traceback, and nothing lost without a word: an image is a row or a failure, and a value is stored or told.
More of them: PINEMBED_MUTANTS=2000 pytest tests/test_mutants.py
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.inputs import find_inputs
from pinembed.errors import DataError
from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
from tests.conftest import Said
from tests.encoding import failures_of, rows_of
from tests.metadata_oracle import rows_in, stands_for

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
    [inputs] = find_inputs(EncodeSettings(images=folder, table="t/t", encoder="e"))
    assert all(candidate.id for candidate in inputs.candidates)


# through the whole command

TOLD = re.compile(r"(\d+) value\(s\) of the metadata column (.*) are no ")
VALUES_OF_NAME = {
    "count": ("7", "-3", "12", "", "0012", "+5", "1.0"),
    "price": ("1.50", "2", "2.5", "", "007.5", "10E5", "9007199254740993"),
    "new": ("true", "False", "TRUE", "", "1", "yes"),
    "t": ("2024-05-01", "", "2024-05-03", "2024-05-02 10:00:00", "20240501", "2024-05-01 10:00:00.1234567"),
}
"""What mostly has one form and sometimes not, so that a column has a type on one night that the next night breaks."""
TABLES_OF = 12  # nights that one table sees, so that each meets the types that the last ones left


def plain_csv_bytes(rng: np.random.Generator) -> bytes:
    """With names that a table can have, so that most files have rows, and mostly with one form of value a name."""
    names = rng.choice(["id", "split", *VALUES_OF_NAME], 4, replace=False).tolist()
    pools = [VALUES_OF_NAME.get(name, VALUES) if rng.random() < 0.9 else VALUES for name in names]
    values = [[name, *(str(rng.choice(pool)) for pool in pools)] for name in NAMES]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["file_name", *names], *values])
    return text.getvalue().encode("utf-8", "surrogatepass")


WRITERS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "csv": plain_csv_bytes,
    "jsonl": jsonl_bytes,
    "parquet": parquet_bytes,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_value_of_a_metadata_file_is_stored_or_told(kind: str, tmp_path: Path, tiny_encoder: Path) -> None:
    folder = tmp_path / "x"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (index * 40, 0, 0)).save(folder / name)
    outcomes: Counter[str] = Counter()
    complaints = []
    for seed in range(max(1, MUTANTS // 3)):
        rng = np.random.default_rng(seed + 10_000)
        content = mutated(WRITERS[kind](rng), rng)
        (folder / f"metadata.{kind}").write_bytes(content)
        table = f"{tmp_path}/db{seed // TABLES_OF}/t"
        asked = EncodeSettings(
            images=folder, table=table, encoder=str(tiny_encoder), backend="torch", workers=1, prune=True, force=True
        )
        try:
            found = losses_of(asked, content, kind)
        except Exception as error:  # noqa: BLE001  (any is one that the command shows as a traceback)
            found = [f"{type(error).__name__}: {error}"]
        complaints += [f"mutant {seed} of {kind}: {loss}" for loss in found or []]
        outcomes["refused" if found is None else "rows"] += 1
    assert not complaints, "\n".join(complaints)
    assert outcomes["rows"], outcomes


def losses_of(asked: EncodeSettings, content: bytes, kind: str) -> list[str] | None:
    """What a run has lost of a metadata file without a word; None where it has refused the file with a sentence."""
    said = Said()
    try:
        report = encode(asked, progress=said)
    except DataError:
        return None
    stored = {row["file_name"]: row for row in rows_of(asked.table).values()}
    failed = {failure.file_name for failure in report.failed_images}
    losses = [f"{name} is neither a row nor a failure" for name in NAMES if name not in {*stored, *failed}]
    lost: Counter[str] = Counter()
    nothing: Counter[str] = Counter()  # {} in place of which nothing is stored: whether that is told is all one
    changed = []
    for row in rows_in(content, kind):
        written = str(row.pop("file_name"))
        name = posixpath.normpath(written.replace("\\", "/"))
        if name not in stored:
            losses += [] if {written, name} & failed else [f"the row of {written!r} is neither stored nor a failure"]
            continue
        row |= {"id": row.get("id") or name}
        for column, value in row.items():
            found = stored[name].get(column)
            if value == {} and found is None:
                nothing[column] += 1
            if not stands_for(found, value):
                lost[column] += 1
                changed.append(f"{column} of {name} is {value!r} in the file and {found!r} in the table")
    told = Counter({column: int(count) for count, column in TOLD.findall("\n".join(said.lines))})
    is_all_told = lost <= told <= lost + nothing
    return losses + ([] if is_all_told else [f"left out are {dict(lost)}, told are {dict(told)}", *changed])


FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")


def image_bytes(format_: str, rng: np.random.Generator) -> bytes:
    """A small picture with what its format may have beside it: EXIF, palettes, transparency, several frames."""
    pixels_HWC = rng.integers(0, 256, (int(rng.integers(1, 40)), int(rng.integers(1, 40)), 3), np.uint8)
    modes = {"JPEG": ("RGB", "L", "CMYK"), "BMP": ("RGB", "L", "P"), "GIF": ("P", "L"), "WEBP": ("RGB", "RGBA")}
    mode = str(rng.choice(modes.get(format_, ("RGB", "RGBA", "L", "P", "I;16", "1"))))
    image = Image.fromarray(pixels_HWC)
    image = Image.fromarray(pixels_HWC[:, :, 0].astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    options: dict[str, Any] = {}
    if format_ in {"JPEG", "PNG", "WEBP"} and rng.random() < 0.5:
        exif = Image.Exif()
        exif[0x112] = int(rng.integers(0, 10))
        options["exif"] = exif
    if format_ == "JPEG":
        options["progressive"] = bool(rng.random() < 0.3)
    if format_ in {"GIF", "TIFF"} and rng.random() < 0.3:
        options |= {"save_all": True, "append_images": [image.rotate(90)]}
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, an end cut off, or two pieces in each other's place; one in eight stays whole."""
    what, size = int(rng.integers(0, 8)), len(content)
    if what < 4:
        flipped = bytearray(content)
        for _ in range(int(rng.integers(1, 9))):  # most damage that matters is near the beginning
            at = int(rng.integers(0, size if what < 2 else min(size, 64)))
            flipped[at] ^= int(rng.integers(1, 256))
        return bytes(flipped)
    if what == 4:
        return content[: int(rng.integers(0, size))]
    if what < 7:
        a, b, c, d = sorted(int(at) for at in rng.integers(0, size + 1, 4))
        return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]
    return content


def test_every_image_is_a_row_or_a_failure(tmp_path: Path, tiny_encoder: Path) -> None:
    folder, table = tmp_path / "x", f"{tmp_path}/db/t"
    folder.mkdir()
    for seed in range(MUTANTS):
        rng = np.random.default_rng(seed)
        format_ = FORMATS[seed % len(FORMATS)]
        (folder / f"{seed:05}.{format_.lower()}").write_bytes(damaged(image_bytes(format_, rng), rng))
    asked = EncodeSettings(
        images=folder, table=table, encoder=str(tiny_encoder), backend="torch", workers=2, max_failure_rate=1
    )
    report = encode(asked)
    rows, failures = rows_of(table), failures_of(table)
    assert {*rows} | {*failures} == {path.name for path in folder.iterdir()}
    assert not {*rows} & {*failures}
    assert min(len(rows), len(failures)) > 0
    for row in rows.values():
        assert min(row["width_px"], row["height_px"]) > 0
        assert np.linalg.norm(np.array(row["vector"], np.float32)) == pytest.approx(1, abs=2e-3)
    assert report.counts.failed == len(failures)
    again = encode(asked).counts
    assert (again.unchanged, again.failed, again.added) == (len(rows), len(failures), 0)
