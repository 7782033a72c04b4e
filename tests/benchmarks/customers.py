"""What `align --events` learns of simulated shoppers, on drawn vectors in ten planted groups and with a tiny model.

python -m tests.benchmarks.customers --shoppers 100 --epochs 14
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from pinembed.jobs.align import align
from pinembed.jobs.export import export
from pinembed.jobs.trim import trim
from pinembed.nouns.item import Item
from pinembed.settings.model import AlignSettings, TrimSettings
from pinembed.settings.source import ExportSettings
from pinembed.taste.shoppers import simulate, write_events
from pinembed.trimmed.customers import KEEP
from pinembed.trimmed.questions import QuestionMaker
from pinembed.trimmed.tiny import TinyShape, write_tiny_qwen3vl
from tests.taste_material import GROUPS, make_table
from tests.test_customers import write_catalogue

SHAPE = TinyShape(hidden=64, layers=2, heads=4, vision_layers=1, vocabulary=512)


def main() -> None:
    """Print the report on customers as JSON-like text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shoppers", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=14)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, shop = make_table(folder), simulate(GROUPS, shoppers=given.shoppers)
        write_events(shop.events, folder / "log.csv")
        export(ExportSettings(table=table, out=folder / "source"))
        items = [Item(id=group, file_name="", path=Path(), fields={"kind": group}) for group in GROUPS]
        texts = [
            *QuestionMaker(items, ["kind"]).texts(),
            KEEP,
            *(f"{group}: {group} yes, {group} no; no" for group in GROUPS),
        ]
        (folder / "full").mkdir()
        write_tiny_qwen3vl(folder / "full", texts=texts, shape=SHAPE)
        trim(TrimSettings(model=str(folder / "full"), out=folder / "trimmed"))
        report = align(
            AlignSettings(
                data=write_catalogue(folder / "data"),
                model=folder / "trimmed",
                source=folder / "source",
                out=folder / "aligned",
                events=folder / "log.csv",
                fields=("kind",),
                epochs=given.epochs,
                tokens=1,
                noise=0.1,
                language_lr=2e-3,
            )
        )
    assert report.customers is not None
    print(asdict(report.customers), f"{report.seconds:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
