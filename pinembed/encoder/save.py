"""Writes an encoder in open_clip's local-dir layout, with the licence of the base it came from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.encoder.files import CONFIG_NAME, WEIGHTS_NAMES, is_other_weights
from pinembed.encoder.fusion import write_fusion
from pinembed.encoder.locate import EncoderFiles, import_open_clip
from pinembed.nouns.encoder_spec import Fusion

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


def save_encoder(
    encoder: Encoder, folder: Path, *, weights: Mapping[str, Tensor] | None = None, fusion: Fusion | None = None
) -> None:
    """Write configuration, weights and tokenizer files; `open_clip.create_model("local-dir:...")` loads the folder.

    Args:
        encoder: gives the configuration, and the weights where none are handed over.
        folder: exists; files of the same names are replaced.
        weights: a state dict of the encoder's model to store instead, such as the best checkpoint's.
        fusion: metadata that is part of an item's vector; None where the image alone makes it.
    """
    state = encoder.model.state_dict() if weights is None else weights
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, folder / WEIGHTS_NAMES[0])
    preprocessing = encoder.preprocessing
    config = {
        "model_cfg": encoder.files.model_cfg,
        "preprocess_cfg": {
            "size": preprocessing.image_px,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "interpolation": preprocessing.interpolation,
            "resize_mode": preprocessing.resize_mode,
            "fill_color": preprocessing.fill_color,
        },
    }
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    write_fusion(folder, fusion)
    for path in encoder.files.tokenizer:
        shutil.copyfile(path, folder / path.name)


def copy_encoder(encoder: Encoder, folder: Path, *, without: Collection[str] = ()) -> None:
    """The encoder as it was loaded, its fusion included: file for file where it lies in a folder, else written anew.

    Of several files of weights the one that was loaded is copied, so that open_clip cannot take another.

    Args:
        encoder: with the weights of its files.
        folder: exists; files of the same names are replaced.
        without: names of files that stay behind.
    """
    held = encoder.files.folder
    if held is None:
        save_encoder(encoder, folder, fusion=encoder.files.fusion)
        return
    weights = encoder.files.weights
    assert weights is not None  # a folder without is refused
    left = {*without, *(path.name for path in held.iterdir() if is_other_weights(path, weights))}
    shutil.copytree(held, folder, ignore=lambda inside, _: left if Path(inside) == held else set(), dirs_exist_ok=True)
    for path in encoder.files.tokenizer:
        if path.parent != held:
            shutil.copyfile(path, folder / path.name)
