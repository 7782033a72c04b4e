"""What is stored as JSON and was edited, or comes from another version: refused in words, never in Python's."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from pinembed.assistant.act import Sort
from pinembed.assistant.condition import Condition
from pinembed.assistant.state import Moment, Search, State
from pinembed.encoder.fusion import read_fusion
from pinembed.errors import PinembedError
from pinembed.generation.record import Generation, read_record
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing, make_fusion
from pinembed.nouns.manifest import Hidden, Manifest, ManifestFile
from pinembed.source.manifest_file import parse_manifest
from pinembed.stored import lines_of
from pinembed.trimmed.projector import ProjectorConfig, load_projector

PYTHONS_WORDS = re.compile(
    r"argument|__init__|\w\(\)|object is not|indices must|NoneType|has no attribute|not subscriptable|Error\(|"
    r"invalid literal|could not convert|unpack|KeyError|TypeError|ValueError"
)
SPEC = EncoderSpec(
    architecture="tiny",
    config_sha256="c",
    weights_sha256="w",
    dim=8,
    preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    fusion=make_fusion({"image": 0.5, "title": 0.5}),
)
SHA256 = "0" * 64
MANIFEST = Manifest(
    format="pinembed-source",
    encoder=SPEC,
    count=2,
    dim=8,
    shards=(ManifestFile(file="a.safetensors", rows=2, size_bytes=1, sha256=SHA256),),
    index=(ManifestFile(file="a.bin", rows=2, size_bytes=1, sha256=SHA256),),
    hidden=Hidden(rows=1, states=("open",), checks={"blank": {"version": 1, "rows": 1}}),
)
GENERATION = Generation(
    number=1,
    created_at="2026-01-01",
    version="1",
    parent=None,
    fingerprint="f",
    rows=1,
    why="",
    files={"table/a": (1, SHA256)},
)
SEARCH = Search(filters=(Condition(column="price", op="<", values=(5.0,)),), sort=Sort(column="price"))
STATE = State(now=Moment(search=SEARCH), before=(Moment(),))
PROJECTOR = ProjectorConfig(dim=8, tokens=4, hidden=16, inner=16, output_rms=1.0, encoder_fingerprint="f")


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def read_manifest_of(folder: Path, stored: Any) -> None:
    parse_manifest(json.dumps(stored).encode(), folder=folder)


def read_generation_of(folder: Path, stored: Any) -> None:
    (folder / "generation.json").write_text(json.dumps(stored))
    read_record(folder)


def read_fusion_of(folder: Path, stored: Any) -> None:
    (folder / "pinembed_fusion.json").write_text(json.dumps(stored))
    read_fusion(folder)


def read_state_of(_: Path, stored: Any) -> None:
    State.from_json(stored, origin="--state chat.json")


def read_projector_of(folder: Path, stored: Any) -> None:
    save_file({}, folder / "projector.safetensors")
    (folder / "projector_config.json").write_text(json.dumps(stored))
    load_projector(folder)


READERS: dict[str, tuple[Any, Callable[[Path, Any], None]]] = {
    "manifest": (plain(MANIFEST.to_json()), read_manifest_of),
    "generation": (plain(GENERATION.to_json()), read_generation_of),
    "fusion": (plain(SPEC.to_json()["fusion"]), read_fusion_of),
    "state": (plain(STATE.to_json()), read_state_of),
    "projector": ({"format": 1, **plain(dataclasses.asdict(PROJECTOR))}, read_projector_of),
}


def edits(stored: Any) -> Iterator[tuple[str, Any]]:
    """The object with each of its values replaced, taken out, or joined by an unknown one, at every depth."""
    for odd in (None, 7, "text", [], {}, [[]]):
        yield f"is {odd!r}", odd
    if isinstance(stored, dict):
        yield "has more", {**stored, "later": 1}
        for name, value in stored.items():
            yield f"has no {name}", {other: held for other, held in stored.items() if other != name}
            for told, edited in edits(value):
                yield f"{name} {told}", {**stored, name: edited}
    elif isinstance(stored, list) and stored:
        for told, edited in edits(stored[0]):
            yield f"first {told}", [edited, *stored[1:]]


def refusal(read: Callable[[Path, Any], None], folder: Path, stored: Any) -> str:
    """What is said of it; empty where it is taken."""
    try:
        read(folder, stored)
    except PinembedError as error:
        return error.message
    return ""


@pytest.mark.parametrize("kind", READERS)
def test_what_is_wrong_with_a_stored_object_is_told_in_words(kind: str, tmp_path: Path) -> None:
    stored, read = READERS[kind]
    assert kind == "projector" or not refusal(read, tmp_path, stored)  # whose weights are not there
    refusals = {told: refusal(read, tmp_path, edited) for told, edited in edits(stored)}
    assert not {told: words for told, words in refusals.items() if PYTHONS_WORDS.search(words)}
    assert sum(map(bool, refusals.values())) > len(refusals) / 2


def test_an_index_as_one_object_as_older_sources_had_it_is_told(tmp_path: Path) -> None:
    stored = plain(MANIFEST.to_json())
    stored["index"] = stored["index"][0]
    with pytest.raises(PinembedError, match=r"manifest\.json cannot be used: index is .*; wanted a list"):
        read_manifest_of(tmp_path, stored)


def test_json_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"a{end}b"}, ensure_ascii=False) for end in "\u2028\u2029\x85"]
    (tmp_path / "q.jsonl").write_bytes("\r\n".join([*lines, ""]).encode())
    assert lines_of(tmp_path / "q.jsonl") == [*lines, ""]
