"""How well a small model learns to call the tools of `chat`: `python -m tests.benchmarks.align_calls DEMO --work WORK`.

    [--data sample_images] [--talks 0.5] [--calls 0.7] [--epochs 12] [--together 64] [--seed 0]

DEMO is a folder that `pinembed demo` wrote, whose source is read. The demo's model has never seen the letters of a
call, and writes some 4,750 tokens for the tools that stand before each wish; here the same small Qwen3-VL is made anew
with a vocabulary that is trained on such prompts too, as published tokenizers are on JSON. The last line is JSON: the
share of wishes about held-out items, in held-out wordings, that become the right call to the letter, and the turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import pinembed.jobs.align as align_job
from pinembed.assistant.call_talks import CallMaker
from pinembed.catalogue.folder import read_catalogue
from pinembed.jobs.align import align
from pinembed.jobs.trim import trim
from pinembed.machine import set_wait_policy
from pinembed.nouns.progress import SILENT
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.trimmed import align_evaluator, align_loop
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.questions import QuestionMaker
from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl

FIELDS = ("category", "color", "pattern")
READ = 2000
JUDGED = 300


def make_model(folder: Path, data: Path, demo: Path, shape: TinyShape) -> Path:
    """A trimmed small model of random weights whose vocabulary is that of questions and calls about a catalogue."""
    trimmed = folder / "trimmed"
    if trimmed.exists():
        return trimmed
    items = read_catalogue(data, progress=SILENT).items
    writer = TrimmedModel.load(demo / "trimmed").writer
    calls = CallMaker([item for item in items if item.split == "train"], items, writer).draw("vocabulary", READ)
    texts = [*QuestionMaker(items, FIELDS).texts(), *(text for call in calls for text in (call.question, call.answer))]
    frame = calls[0].frame
    assert frame is not None
    tools = [json.dumps(tool) for tool in frame.tools]
    whole = folder / "whole"
    whole.mkdir(parents=True, exist_ok=True)
    write_tiny_qwen3vl(whole, texts=[*texts, *[frame.system, *tools] * 20], shape=shape)
    trim(TrimSettings(model=str(whole), out=trimmed))
    return trimmed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("sample_images"))
    parser.add_argument("--talks", type=float, default=0.5)
    parser.add_argument("--calls", type=float, default=0.7)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--together", type=int, default=align_evaluator.CALLS_TOGETHER)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    set_wait_policy()
    align_evaluator.CALLS_TOGETHER = align_loop.CALLS_TOGETHER = given.together
    align_job.JUDGED_CALLS = JUDGED
    shape = TinyShape(layers=given.layers, hidden=given.hidden, vocabulary=2048)
    model = make_model(given.work / f"{given.layers}-{given.hidden}", given.data, given.demo, shape)
    began = time.perf_counter()
    report = align(
        AlignSettings(
            data=given.data,
            model=model,
            source=given.demo / "source",
            out=given.work / f"aligned-{given.seed}",
            fields=FIELDS,
            epochs=given.epochs,
            talks=given.talks,
            calls=given.calls,
            seed=given.seed,
            overwrite=True,
        )
    )
    assert report.calls is not None
    found = {
        "calls": report.calls.right,
        "judged": report.calls.turns,
        "single": report.accuracy,
        "probe": report.probe,
        "turns": [(turn.right, turn.alone) for turn in report.turns],
        "seconds": time.perf_counter() - began,
        "losses": [round(epoch.loss, 3) for epoch in report.epochs],
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
