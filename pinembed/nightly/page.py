"""The report of a generation: one HTML page that needs no other file, and the same as Markdown and JSON.

Every figure in it is a row of the history; the page says which in `data-metric`. With the generation lies what the
history does not tell: what was new and what is found otherwise, the map, and small pictures, most of them shared with
the report before. The page is drawn when somebody asks for it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pinembed.disk import remove_tree
from pinembed.errors import GenerationError
from pinembed.generation.record import REPORT, Generation, read_record, table_in
from pinembed.nightly.atlas import Atlas, make_atlas, read_atlas, write_atlas
from pinembed.nightly.audit_step import FLAGS_FILE, FLAGS_PAGE
from pinembed.nightly.charts import Chart
from pinembed.nightly.history import History, HomeRun
from pinembed.nightly.pictures import Pictures
from pinembed.nightly.sample import NeighbourChange, SampleRow, held_ids, neighbour_changes, read_sample
from pinembed.nightly.steps import STEPS
from pinembed.nouns.failure import Failure
from pinembed.reports.refresh import MetricRow
from pinembed.table.address import parse_address
from pinembed.table.side_tables import FailureTable
from pinembed.templates import template

SHOWN = "shown.json"
KEPT = {STEPS, FLAGS_PAGE, FLAGS_FILE}
CELL_PX, THUMB_PX = 112, 56
SECOND = len("2026-01-31T23:59:59")
SHOWN_CHANGES, SHOWN_NEW, SHOWN_RUNS, SHOWN_FAILURES = 6, 24, 14, 10
TITLES = {
    "map": "mAP",
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "mrr": "MRR",
    "answers": "right answers",
    "golden": "golden searches that work",
    "flagged": "share of flagged rows",
    "flags": "flagged pictures",
    "search_p95_ms": "search, p95, ms",
    "lookup_p95_ms": "lookup of 64, p95, ms",
    "images_per_s": "encoded images/s",
    "rows": "rows",
    "failed": "failed images",
    "size_bytes": "size, MB",
    "seconds": "run, s",
    "cost": "cost of the run",
}
CHANGES = ("added", "updated", "duplicate", "removed", "unchanged", "failed", "rows")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An item with its picture inside of the page."""

    title: str
    id: str
    data: str


@dataclass(frozen=True, kw_only=True)
class ChangedItem:
    """An item that is found better or worse, with its nearest items before and after."""

    item: Picture
    old: tuple[Picture, ...]
    new: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of this generation beside that of the generation before it that has one."""

    title: str
    now: MetricRow
    before: MetricRow | None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the report shows.

    Attributes:
        changes: what happened to the items, by word.
        figures: with the ones before.
        charts: of figures that more than one generation may have.
        better: items that are found better than by the last generation; `worse` alike. Empty under the same encoder.
        new_items: pictures of items that the last generation did not have.
        failures: images without an embedding by reason.
        failed: some of them.
        runs: the latest first.
        atlas: the map; None where it was lost.
        thumbs: of its items.
        fresh: ids in it that the last generation did not have.
    """

    generation: Generation
    changes: Mapping[str, MetricRow]
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...]
    better: tuple[ChangedItem, ...]
    worse: tuple[ChangedItem, ...]
    new_items: tuple[Picture, ...]
    failures: tuple[MetricRow, ...]
    failed: tuple[Failure, ...]
    runs: tuple[HomeRun, ...]
    atlas: Atlas | None
    thumbs: tuple[str, ...]
    fresh: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        """The report without its pictures."""
        return {
            "generation": self.generation.number,
            "created_at": self.generation.created_at,
            "parent": self.generation.parent,
            "fingerprint": self.generation.fingerprint,
            "why": self.generation.why,
            "changes": {name: row.value for name, row in self.changes.items()},
            "figures": [
                {
                    "title": figure.title,
                    "key": figure.now.key,
                    "value": figure.now.value,
                    "low": figure.now.low,
                    "high": figure.now.high,
                    "before": figure.before and figure.before.value,
                }
                for figure in self.figures
            ],
            "better": [changed.item.id for changed in self.better],
            "worse": [changed.item.id for changed in self.worse],
            "new_items": [picture.id for picture in self.new_items],
            "failures": {row.slice: row.value for row in self.failures},
        }


def write_report(report: Path, *, generation: Generation, folder: Path, last: Path | None, group: str | None) -> None:
    """Fill a generation's report folder.

    Args:
        report: the folder.
        generation: what it is.
        folder: of it, not sealed yet.
        last: of the one that it was begun from; None for a first one, or where that is gone.
        group: column of a product or kind.
    """
    _clear(report)
    sample = read_sample(folder, group=group)
    last_report = None if last is None else last / REPORT
    pictures = Pictures(last_report)
    for row in sample.rows:
        pictures.make(row, THUMB_PX)
    changes: list[NeighbourChange] = []
    fresh: list[SampleRow] = []
    if last is not None:
        if read_record(last).fingerprint != generation.fingerprint:
            changes = neighbour_changes(read_sample(last, group=group), sample)
        before = held_ids(last, [row.id for row in sample.rows])
        fresh = [row for row in sample.rows if row.id not in before]
    failures = FailureTable(parse_address(table_in(folder))).known()

    def told(row: SampleRow) -> dict[str, str]:
        pictures.make(row, CELL_PX)
        return {"id": row.id, "title": row.title, "content": row.content}

    def changed(found: NeighbourChange) -> dict[str, Any]:
        return {"item": told(found.item), "old": [*map(told, found.old)], "new": [*map(told, found.new)]}

    stored = {
        "better": [changed(found) for found in reversed(changes[-SHOWN_CHANGES:]) if found.change > 0],
        "worse": [changed(found) for found in changes[:SHOWN_CHANGES] if found.change < 0],
        "new_items": [told(row) for row in fresh[:SHOWN_NEW]],
        "failed": [dataclasses.asdict(failure) for failure in list(failures.values())[:SHOWN_FAILURES]],
        "fresh": [row.id for row in fresh],
    }
    (report / SHOWN).write_text(json.dumps(stored, ensure_ascii=False) + "\n", encoding="utf-8")
    last_atlas = None if last_report is None else read_atlas(last_report)
    write_atlas(make_atlas(sample, generation.fingerprint, last_atlas), report, last=last_report)
    pictures.write(report)


def _clear(report: Path) -> None:
    """Take out what a run left that was killed here; what the steps put there stays."""
    report.mkdir(parents=True, exist_ok=True)
    for path in report.iterdir():
        if path.name not in KEPT:
            remove_tree(path) if path.is_dir() else path.unlink()


def read_page(generation: Generation, folder: Path, history: History) -> Page:
    """The report of a sealed generation, with its figures out of the history.

    Raises:
        GenerationError: its report cannot be read.
    """
    report = folder / REPORT
    try:
        stored = json.loads((report / SHOWN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise GenerationError(
            f"Generation {generation.number} has no report that can be read: {report / SHOWN}: {reason}.",
            remedy="Take the report of another generation with --generation N.",
        ) from error
    rows = [row for row in history.metrics() if row.generation <= generation.number]
    now = [row for row in rows if row.generation == generation.number]
    counted = {row.name: row for row in now if row.value or row.name == "rows"}
    pictures, atlas = Pictures(report), read_atlas(report)

    def picture(told: Mapping[str, str]) -> Picture:
        return Picture(title=told["title"], id=told["id"], data=pictures.get(told["content"], CELL_PX))

    def changed(told: Mapping[str, Any]) -> ChangedItem:
        old, new = (tuple(map(picture, told[side])) for side in ("old", "new"))
        return ChangedItem(item=picture(told["item"]), old=old, new=new)

    return Page(
        generation=generation,
        changes={name: counted[name] for name in CHANGES if name in counted},
        figures=_figures(rows, now),
        charts=_charts(rows, now),
        better=tuple(map(changed, stored["better"])),
        worse=tuple(map(changed, stored["worse"])),
        new_items=tuple(map(picture, stored["new_items"])),
        failures=tuple(row for row in now if row.name == "failures"),
        failed=tuple(Failure(**failure) for failure in stored["failed"]),
        runs=_runs(history, until=generation.created_at),
        atlas=atlas,
        thumbs=() if atlas is None else tuple(pictures.get(content, THUMB_PX) for content in atlas.contents),
        fresh=frozenset(stored["fresh"]),
    )


def _runs(history: History, *, until: str) -> tuple[HomeRun, ...]:
    """The last runs that had begun by a second, the latest first."""
    begun = [run for run in history.runs() if run.started_at[:SECOND] <= until[:SECOND]]
    return tuple(reversed(begun[-SHOWN_RUNS:]))


def shown(row: MetricRow, value: float | None = None) -> str:
    """A figure as the page writes it."""
    value = row.value if value is None else value
    if row.name == "size_bytes":
        return f"{value / 1e6:,.1f}"
    if row.name in CHANGES or row.name in {"failures", "flags"}:
        return f"{value:,.0f}"
    if row.name == "cost":
        return f"{value:.4f}"
    if row.name == "flagged":
        return f"{value:.2%}"
    return f"{value:.1f}" if row.name in {"seconds", "images_per_s"} or row.name.endswith("_ms") else f"{value:.3f}"


def title_of(row: MetricRow) -> str:
    """What a figure is called, with its direction, its slice and what it was measured on."""
    where = [row.direction.replace("_to_", " → ").replace("_", " "), row.slice, row.data and f"on {row.data}"]
    return ", ".join(filter(None, [TITLES.get(row.name, row.name), *where]))


def html_of(page: Page) -> str:
    """One page: style, drawings, pictures and the script of the map are inside of it."""
    return template("pinembed.nightly", "page.html").render(
        page=page, fig=_span, title_of=title_of, points=_points(page), thumbs=_script(page.thumbs)
    )


def markdown_of(page: Page) -> str:
    """The same for a mail: without pictures."""
    made = page.generation
    lines = [f"# Generation {made.number}", "", f"{made.why}. Encoder {made.fingerprint}, made {made.created_at}.", ""]
    told = ", ".join(f"{name} {shown(row)}" for name, row in page.changes.items())
    lines += [f"Items: {told}.", "", "| figure | now | 95 % | before |", "| --- | ---: | ---: | ---: |"]
    for figure in page.figures:
        row, before = figure.now, figure.before
        interval = "" if row.low is None or row.high is None else f"{shown(row, row.low)} to {shown(row, row.high)}"
        lines.append(f"| {figure.title} | {shown(row)} | {interval} | {shown(before) if before else ''} |")
    if page.failures:
        lines += ["", "Failed: " + ", ".join(f"{row.slice} {shown(row)}" for row in page.failures) + "."]
    if page.new_items:
        lines += [
            "",
            "New, some of them: " + ", ".join(picture.title for picture in page.new_items[:SHOWN_CHANGES]) + ".",
        ]
    for word, found in (("better", page.better), ("worse", page.worse)):
        if found:
            lines += ["", f"Found {word}: " + ", ".join(changed.item.title for changed in found) + "."]
    return "\n".join(lines) + "\n"


def _figures(rows: Sequence[MetricRow], now: Sequence[MetricRow]) -> tuple[Figure, ...]:
    before: dict[tuple[str, str, str, str], MetricRow] = {}
    for row in rows:  # ascending by generation
        if not now or row.generation < now[0].generation:
            before[row.series] = row
    order = list(TITLES)
    wanted = [row for row in now if row.name in TITLES]
    ranked = sorted(wanted, key=lambda row: (bool(row.slice), order.index(row.name), row.direction, row.slice))
    return tuple(Figure(title=title_of(row), now=row, before=before.get(row.series)) for row in ranked)


def _charts(rows: Sequence[MetricRow], now: Sequence[MetricRow]) -> tuple[Chart, ...]:
    """Trends of what people look at first: mAP by direction, answers, latency, rows, size."""
    names = (
        *("map", "answers", "golden", "flagged", "search_p95_ms", "lookup_p95_ms", "images_per_s", "rows"),
        *("size_bytes", "cost"),
    )
    wanted = {row.series for row in rows if row.name in names and not row.slice}
    found = []
    for series in sorted(wanted, key=lambda series: (names.index(series[0]), *series[1:])):
        points = tuple(row for row in rows if row.series == series)
        found.append(Chart(title=title_of(points[-1]), points=points))
    return tuple(found)


def _span(row: MetricRow, end: str = "") -> Markup:
    """A figure, or an end of its interval, that says which row of the history it is."""
    value = getattr(row, end) if end else row.value
    marked = f"{row.key}#{end or 'value'}"
    return Markup('<span data-metric="{}">{}</span>').format(marked, shown(row, value))


MAP_PX, MARGIN_PX = 1000, 24


def _points(page: Page) -> list[dict[str, Any]]:
    """Where each item stands in the drawing, a square that holds them all."""
    atlas = page.atlas
    if atlas is None or not atlas.ids:
        return []
    low = atlas.place_N2.min(axis=0)
    span = float((atlas.place_N2.max(axis=0) - low).max()) or 1.0
    place_N2 = MARGIN_PX + (atlas.place_N2 - low) / span * (MAP_PX - 2 * MARGIN_PX)
    return [
        {"x": round(float(x), 1), "y": round(float(y), 1), "title": title, "fresh": item in page.fresh}
        for (x, y), title, item in zip(place_N2, atlas.titles, atlas.ids, strict=True)
    ]


def _script(values: Sequence[str]) -> Markup:
    """A list for the page's script; `<` is written so that no text can end the script."""
    return Markup(json.dumps(list(values)).replace("<", "\\u003c"))
