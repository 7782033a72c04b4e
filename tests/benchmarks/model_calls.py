"""Can a model make the acts of `chat`? `python model_calls.py DATA TABLE SOURCE WORK`.

A Qwen3-VL of a million parameters, from random weights, its vocabulary that of questions, wishes and calls about DATA;
`align --calls-by-heart`, whose judgement of held-out wordings is printed; then `evaluate-chat` of TABLE, which has the
acts of rules and model side by side. TABLE holds DATA's images, and SOURCE is exported from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pinembed
from pinembed.assistant.call_talks import CallMaker
from pinembed.catalogue.folder import read_catalogue
from pinembed.settings.assistant import EvaluateChatSettings
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.trimmed.model import load_parts
from pinembed.trimmed.questions import QuestionMaker, choose_fields
from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl

WISHES_READ = 3000


def write_model(data: Path, folder: Path, *, shape: TinyShape, seed: int) -> None:
    """Twice, because calls are in the form of a checkpoint, whose vocabulary is to know them."""
    items = read_catalogue(data).items
    texts = QuestionMaker(items, choose_fields(items, items, wanted=(), origin=data)).texts()
    for name in ("first", "full"):
        (folder / name).mkdir(parents=True)
        write_tiny_qwen3vl(folder / name, texts=texts, shape=shape, seed=seed)
        wishes = CallMaker(items, items, load_parts(folder / name)[1], by_heart=True).draw("vocabulary", WISHES_READ)
        texts += [f"{wish.question}\n{wish.answer}" for wish in wishes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("table")
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=1500)
    parser.add_argument("--talks", type=float, default=0.9)
    parser.add_argument("--calls", type=float, default=0.9)
    parser.add_argument("--group", default="product")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_model(given.data, given.work, shape=TinyShape(vocabulary=given.vocabulary), seed=given.seed)
    pinembed.trim(TrimSettings(model=str(given.work / "full"), out=given.work / "trimmed"))
    report = pinembed.align(
        AlignSettings(
            data=given.data,
            model=given.work / "trimmed",
            source=given.source,
            out=given.work / "aligned",
            epochs=given.epochs,
            talks=given.talks,
            calls=given.calls,
            calls_by_heart=True,
            seed=given.seed,
        )
    )
    print(f"{report.trained_parameters:,} parameters, {report.seconds:.0f} s; calls {report.calls}", flush=True)  # noqa: T201
    chat = pinembed.evaluate_chat(
        EvaluateChatSettings(
            table=given.table, group=given.group, model=given.work / "aligned", source=given.source, queries=0
        )
    )
    for figures in chat.figures:
        acts, whole, meant = figures.acts_held_out, figures.whole_acts_held_out, figures.references_held_out
        print(f"{figures.name}: held-out wordings {acts}; with arguments {whole}; items {meant}")  # noqa: T201


if __name__ == "__main__":
    main()
