"""An encoder to a folder in open_clip's local-dir layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.encoder.fusion import write_fusion
from pinembed.encoder.locate import CONFIG_NAME, TOKENIZER_FILES, WEIGHTS_NAMES
from pinembed.nouns.fusion import Fusion


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
    _save_tokenizer(encoder, folder)


def copy_encoder(encoder: Encoder, folder: Path, *, without: Collection[str] = ()) -> None:
    """The encoder as it was loaded, its fusion included: file for file where it lies in a folder, else written anew.

    Args:
        encoder: with the weights of its files.
        folder: exists; files of the same names are replaced.
        without: names of files that stay behind.
    """
    held = encoder.files.folder
    if held is None:
        save_encoder(encoder, folder, fusion=encoder.files.fusion)
        return
    left = set(without)
    shutil.copytree(held, folder, ignore=lambda inside, _: left if Path(inside) == held else set(), dirs_exist_ok=True)


def _save_tokenizer(encoder: Encoder, folder: Path) -> None:
    """A Hugging Face tokenizer travels with its encoder; open_clip's own needs no file."""
    base = encoder.files.folder
    if base is not None:
        for name in TOKENIZER_FILES:
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)
    elif hasattr(encoder.tokenizer, "tokenizer"):
        cast(Any, encoder.tokenizer).tokenizer.save_pretrained(folder)
