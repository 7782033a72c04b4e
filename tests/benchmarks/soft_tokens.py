"""Models trained with 1, 2, 4 and 8 soft tokens, beside one of 8 asked with fewer: `python soft_tokens.py DATA`.

    --source SOURCE [--tokens 1,2,4,8] [--fields COLUMN,...] [--epochs N] [--seeds 1]

A tiny Qwen3-VL is made from nothing for DATA, trimmed, and aligned once for each number and seed, with everything else
at its defaults. Prints a Markdown table as the runs end: positives of each field and their mean, what the largest
model gives when it is asked with so many tokens, the rows shuffled, and a linear probe on the same embeddings.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from pinembed.jobs.align import align
from pinembed.jobs.trim import trim
from pinembed.reports.trimmed import AlignReport
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.trimmed.tiny import write_scratch_model


def aligned(asked: argparse.Namespace, fields: Sequence[str], tokens: int, seed: int) -> AlignReport:
    """One run from nothing, thrown away when it is judged."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_scratch_model(data=asked.data, out=folder / "full", fields=fields, seed=seed)
        trim(TrimSettings(model=folder / "full", out=folder / "trimmed"))
        return align(
            AlignSettings(
                data=asked.data,
                model=folder / "trimmed",
                source=asked.source,
                out=folder / "aligned",
                fields=fields,
                tokens=tokens,
                epochs=asked.epochs,
                seed=seed,
            )
        )


def mean(values: Iterable[float]) -> float:
    held = list(values)
    return sum(held) / len(held)


def row(name: str, figures: Iterable[float]) -> str:
    return f"| {name} | " + " | ".join(f"{figure:.1%}" for figure in figures) + " |"


def show(reports: dict[int, list[AlignReport]]) -> None:
    """The table of all runs, means over the seeds."""
    fields = [score.field for score in reports[max(reports)][0].fields]
    print(f"| K | {' | '.join(fields)} | mean | largest model asked with K | rows shuffled | linear probe |")  # noqa: T201
    print("| --- " * (len(fields) + 5) + "|")  # noqa: T201
    elastic = {
        tokens: mean(
            score.accuracy for report in reports[max(reports)] for score in report.by_tokens if score.tokens == tokens
        )
        for tokens in (score.tokens for score in reports[max(reports)][0].by_tokens)
    }
    for tokens, runs in sorted(reports.items()):
        by_field = [mean(report.fields[index].accuracy for report in runs) for index in range(len(fields))]
        shuffled = mean(score.shuffled for report in runs for score in report.fields)
        probe = mean(report.probe for report in runs)
        figures = [*by_field, mean(by_field), elastic.get(tokens, float("nan")), shuffled, probe]
        print(row(str(tokens), figures), flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--tokens", default="1,2,4,8")
    parser.add_argument("--fields", default="label,coarse_label,department")
    parser.add_argument("--epochs", type=int, help="by default as many as align takes")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    reports: dict[int, list[AlignReport]] = {}
    for tokens in sorted({int(count) for count in asked.tokens.split(",")}, reverse=True):
        for seed in range(asked.seeds):
            report = aligned(asked, asked.fields.split(","), tokens, seed)
            reports.setdefault(tokens, []).append(report)
            told = f"K {tokens}, seed {seed}: {report.accuracy:.1%} (probe {report.probe:.1%}), {report.seconds:.0f} s"
            print(told, flush=True)  # noqa: T201
    show(reports)


if __name__ == "__main__":
    main()
