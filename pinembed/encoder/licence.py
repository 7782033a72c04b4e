"""The licence of an encoder, as far as its folder or the place that it came from states one.

What is written here about places is what the model cards on https://huggingface.co said; docs/bases.md names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pinembed.encoder.imports import import_open_clip
from pinembed.encoder.locate import EncoderFiles

LICENCE_NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "NOTICE", "NOTICE.txt")
CARD_NAME = "README.md"
PLACES: Mapping[str, str] = {
    r"laion/": "mit",
    r"timm/ViT-.*-SigLIP": "apache-2.0",
    r"apple/": "apple-amlr",
    r"Marqo/marqo-ecommerce-embeddings-": "apache-2.0",
}
"""Start of OWNER/REPO to the licence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Licence:
    """What is known about the terms of an encoder.

    Attributes:
        name: as Hugging Face abbreviates it, `mit` or `apache-2.0`; None where nothing states it.
        source: who says so.
        files: licence files in the encoder's folder.
    """

    name: str | None
    source: str
    files: tuple[Path, ...] = ()


def licence_of(files: EncoderFiles) -> Licence:
    """Look into the encoder's folder, or tell by the place on the hub."""
    if files.folder is not None:
        found = tuple(files.folder / name for name in LICENCE_NAMES if (files.folder / name).is_file())
        stated = _stated_in_card(files.folder / CARD_NAME)
        source = (
            f"the card of {files.reference}" if stated else f"{found[0].name} of {files.reference}" if found else ""
        )
        return Licence(name=stated, source=source, files=found)
    repo = hub_repo(files.reference)
    name = next((name for start, name in PLACES.items() if re.match(start, repo or "")), None)
    return Licence(name=name, source=f"https://huggingface.co/{repo}" if name else "")


def hub_repo(reference: str) -> str | None:
    """OWNER/REPO on the hub where `hf-hub:...` or NAME/PRETRAINED is fetched from; None for anything else."""
    if reference.startswith("hf-hub:"):
        return reference.removeprefix("hf-hub:")
    name, slash, tag = reference.partition("/")
    if not slash:
        return None
    cfg = import_open_clip().pretrained.get_pretrained_cfg(name, tag) or {}
    return str(cfg.get("hf_hub") or "").strip("/") or None


def _stated_in_card(card: Path) -> str | None:
    """`license:` of the header that Hugging Face reads."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return None
    header = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    stated = re.search(r"^license:\s*[\"']?([\w.\-]+)", header.group(1), re.MULTILINE) if header else None
    return stated.group(1) if stated else None
