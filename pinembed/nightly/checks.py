"""Checks of a new generation before it serves: rows, golden searches, and how fast it is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pinembed.errors import ConfigError, DataError
from pinembed.generation.record import ENCODER, SOURCE, Generation, table_in
from pinembed.nightly.config import Checks
from pinembed.reports.refresh import CheckResult
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.stored import lines_of, value_in
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.schema import VECTOR

TIMED, LOOKED_UP = 50, 64
FEWEST_TIMED, MOST_MS = 5, 250.0
K = 10
WANTED = 'wanted {"text": ..., "ids": [...]}'


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSearch:
    """A text, and items of which one has to be found by it."""

    text: str
    ids: frozenset[str]


def read_golden(path: Path) -> list[GoldenSearch]:
    """A file of JSON lines, {"text", "ids"}.

    Raises:
        ConfigError: it cannot be read, or a line of it is something else.
    """
    try:
        lines = enumerate(lines_of(path), start=1)
        return [_golden(line, f"{path}, line {number}") for number, line in lines if line.strip()]
    except DataError as error:
        raise ConfigError(f"[checks] golden: {error.message}", remedy=error.remedy) from error


def _golden(line: str, place: str) -> GoldenSearch:
    stored = value_in(line, origin=place, wanted=WANTED)
    try:
        if isinstance(stored["ids"], str) or not stored["ids"]:
            raise TypeError("ids is no list")
        return GoldenSearch(text=str(stored["text"]), ids=frozenset(map(str, stored["ids"])))
    except (KeyError, TypeError) as error:
        raise DataError(f"{place} is no golden search: {error}; {WANTED}.", remedy="Mend the line.") from error


def run_checks(folder: Path, wanted: Checks, *, last: Generation | None) -> tuple[CheckResult, ...]:
    """Measure a generation that is not sealed yet, and compare it with what is wanted and with the last one."""
    table = EmbeddingTable.open(table_in(folder))
    rows = table.count_rows()
    results = [] if last is None else [_at_least("rows", rows, wanted.rows * last.rows)]
    if wanted.golden is not None:
        share = golden_share(table, folder / ENCODER, read_golden(wanted.golden), k=wanted.golden_k)
        results.append(_at_least("golden", share, wanted.golden_share))
    vectors = _sample(table, rows)
    search_ms = p95_ms([lambda v=vector: table.nearest(v, K) for vector in vectors])  # type: ignore[misc]
    results.append(_at_most("search_p95_ms", search_ms, wanted.search_p95_ms))
    with EmbeddingSource.open(folder / SOURCE) as source:
        drawn = np.random.default_rng(0).integers(0, len(source), (TIMED, LOOKED_UP)).tolist()
        asked = [[source.ids[row] for row in row_M] for row_M in drawn]
        lookup_ms = p95_ms([lambda i=ids: source.get(i) for ids in asked])  # type: ignore[misc]
    results.append(_at_most("lookup_p95_ms", lookup_ms, wanted.lookup_p95_ms))
    return tuple(results)


def metrics_of(results: tuple[CheckResult, ...]) -> dict[str, float]:
    """The measured figures by name."""
    return {result.name: result.found for result in results}


def golden_share(table: EmbeddingTable, encoder: Path, searches: list[GoldenSearch], *, k: int) -> float:
    """Share of the searches that find one of their items among the first k."""
    from pinembed.encoder.encoder import build_encoder
    from pinembed.encoder.locate import keep_dims, locate_encoder

    files = keep_dims(locate_encoder(str(encoder)), table.spec.dim)
    text_TD = build_encoder(files, tower="text").embed_texts([search.text for search in searches])
    hits = 0
    for search, text_D in zip(searches, text_TD, strict=True):
        found = table.nearest([float(value) for value in text_D], k)["id"].to_pylist()
        hits += bool(search.ids & set(found))
    return hits / len(searches) if searches else 1.0


def p95_ms(calls: list[Callable[[], object]]) -> float:
    """95th percentile of the calls' durations, of as many as fit into the time, the first one not counted.

    The first call opens files; a search of a large table without an index takes so long that a few must do.
    """
    for call in calls[:1]:
        call()
    times: list[float] = []
    for call in calls:
        if len(times) >= FEWEST_TIMED and sum(times) >= MOST_MS:
            break
        started_s = time.perf_counter()
        call()
        times.append((time.perf_counter() - started_s) * 1000)
    return float(np.percentile(times, 95)) if times else 0.0


def _sample(table: EmbeddingTable, rows: int) -> list[list[float]]:
    drawn = sorted(np.random.default_rng(0).integers(0, rows, min(TIMED, rows)).tolist()) if rows else []
    taken = table.dataset.take(drawn, columns=[VECTOR])[VECTOR].to_pylist() if drawn else []
    return [[float(value) for value in vector] for vector in taken]


def _at_least(name: str, found: float, wanted: float) -> CheckResult:
    return CheckResult(name=name, found=float(found), wanted=f"at least {wanted:g}", passed=found >= wanted)


def _at_most(name: str, found: float, wanted: float | None) -> CheckResult:
    if wanted is None:
        return CheckResult(name=name, found=found, wanted="", passed=True)
    return CheckResult(name=name, found=found, wanted=f"at most {wanted:g}", passed=found <= wanted)
