"""Architecture families and what was run with each; prints the table of docs/bases.md.

    python tests/benchmarks/bases_matrix.py [FAMILY ...]

Seeded random weights in small configurations of each family (tests/families.py), in the form in which it is published:
nothing is downloaded. Each folder is loaded, compared with stock open_clip, encoded into a table, tuned for one epoch,
and what was written is compared with stock open_clip again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pinembed.errors import PinembedError
from pinembed.jobs.encode import encode
from pinembed.jobs.finetune import finetune
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.training import FinetuneSettings
from tests.conftest import draw_item, write_catalogue
from tests.families import FAMILIES, write_family
from tests.stock import smallest_cosine

PICTURES = [draw_item(color, "circle", 0).resize((61, 48)) for color in ("red", "green", "blue")]
TEXTS = ["a red circle", "a blue square, yellow.", "A Mug"]


def tried(step: Callable[[], str]) -> str:
    """What the step says, or the first words of the error."""
    try:
        return step()
    except (PinembedError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        return f"**{type(error).__name__}: {' '.join(str(error).split())[:160]}**"


def row(name: str, work: Path) -> list[str]:
    """The cells of one family."""
    folder, out, data = work / "base", work / "out", write_catalogue(work / "data", views=5)
    base = FinetuneSettings(data=data, base=str(folder), out=out, group="color", epochs=1, random_init=False)

    def tuned() -> str:
        report = finetune(base)
        fitted = "fitted and tuned" if report.heads else "tuned"
        return fitted if report.stopped is None else report.stopped

    def low_rank() -> str:
        finetune(replace(base, lora=2, out=work / "low_rank"))
        return "yes"

    def encoded() -> str:
        report = encode(EncodeSettings(images=data, table=str(work / "db" / "t"), encoder=str(folder)))
        return f"{report.counts.added} of 40"

    made = tried(lambda: str(write_family(folder, FAMILIES[name]) and ""))
    if made:
        return [made, "", "", "", "", ""]
    return [
        tried(lambda: f"{smallest_cosine(folder, PICTURES, TEXTS):.6f}"),
        tried(encoded),
        tried(tuned),
        tried(low_rank),
        tried(lambda: f"{smallest_cosine(out, PICTURES, TEXTS):.6f}"),
    ]


HEADER = (
    "family",
    "loaded: cosine to open_clip",
    "encoded",
    "tuned, 1 epoch",
    "`--lora`",
    "written: cosine to open_clip",
)


def main() -> None:
    print("| " + " | ".join(HEADER) + " |")  # noqa: T201
    print("|---" * len(HEADER) + "|")  # noqa: T201
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as work:
            print("| " + " | ".join([name, *row(name, Path(work))]) + " |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
