"""Encode a catalogue, search it and export it: python catalogue.py IMAGES ENCODER WORK."""

from __future__ import annotations

import sys
from pathlib import Path

import pinembed


def main(images: Path, encoder: str, work: Path) -> None:
    table = str(work / "catalog" / "items")
    counts = pinembed.encode(pinembed.EncodeSettings(images=images, table=table, encoder=encoder)).counts
    print(f"{counts.added} added, {counts.unchanged} unchanged, {counts.failed} failed")

    found = pinembed.search(pinembed.SearchSettings(table=table, text="a teal mug", k=3))
    for result in found.results:
        print(f"{result.score:.3f}  {result.id}")

    exported = pinembed.export(pinembed.ExportSettings(table=table, out=work / "source", overwrite=True))
    checked = pinembed.verify(pinembed.VerifySettings(folder=work / "source"))
    print(f"{exported.items} items exported, {len(checked.findings)} findings")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    except pinembed.PinembedError as error:
        sys.exit(f"{error.message} {error.remedy}")
