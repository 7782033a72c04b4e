"""The encoder in use: measured at the gate beside the base, and handed back file for file where it keeps its place."""

from __future__ import annotations

import shutil
from pathlib import Path

from pinembed.encoder.encoder import Encoder
from pinembed.encoder.locate import encoder_spec, locate_encoder
from pinembed.encoder.save import copy_encoder
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.outfolder import MARKER

ORIGIN = "champion"
"""Folder for the papers of the run that made the champion, beside those of the run that it survived."""
PAPERS = ("README.md", "run.json", "curves.png", "gate.png")


def keep_champion(folder: Path, champion: Encoder) -> EncoderSpec:
    """Fill the output folder with the champion's files; its fingerprint, which tables carry, stays what it was."""
    copy_encoder(champion, folder, without=(MARKER, *PAPERS))
    held = champion.files.folder
    papers = [held / name for name in PAPERS if (held / name).is_file()] if held is not None else []
    if papers and not (folder / ORIGIN).is_dir():
        (folder / ORIGIN).mkdir()
        for paper in papers:
            shutil.copyfile(paper, folder / ORIGIN / paper.name)
    return encoder_spec(locate_encoder(str(folder)))
