"""Which files of a folder are an encoder's: one rule for the weights, for every command and for open_clip.

open_clip takes some pickles before some safetensors. pinembed takes safetensors alone, and hands open_clip a folder
that holds nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinembed.errors import EncoderError

CONFIG_NAME = "open_clip_config.json"
MODEL_CONFIG = "config.json"  # transformers'
WEIGHTS_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
PICKLES = {".bin", ".pt", ".pth", ".ckpt"}
WEIGHTS = {".safetensors", *PICKLES}
SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")
TOKENIZER_PATTERNS = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", MODEL_CONFIG),
    *("*vocab*", "merges.txt", "bpe.codes", "dict.txt", "byte_maps.json", "emoji.json", "normalizer.json"),
    *("*.model", "*.spm", "*.tiktoken", "*.tokenizer", "word_shape.json", "word_pronunciation.json"),
)
"""The names that transformers' tokenizers read; config.json tells the kind of tokenizer where nothing else does."""


def weights_in(folder: Path) -> Path:
    """The weights: the first of WEIGHTS_NAMES, or the only safetensors file of another name.

    Raises:
        EncoderError: none, several of other names, shards, or an adapter.
    """
    named = next((folder / name for name in WEIGHTS_NAMES if (folder / name).is_file()), None)
    if named is not None:
        return named
    others = _safetensors_in(folder)
    whole = [path for path in others if not SHARD.search(path.name) and not _is_adapter(path)]
    if len(whole) == 1 and len(others) == 1:
        return whole[0]
    found, remedy = _instead(folder, others)
    raise EncoderError(f"Encoder folder {folder} holds {found}; wanted {WEIGHTS_NAMES[0]}.", remedy=remedy)


def _instead(folder: Path, others: list[Path]) -> tuple[str, str]:
    """What lies in a folder without weights that could be taken, and what to do about it."""
    names = ", ".join(path.name for path in others)
    if any(SHARD.search(path.name) for path in others) or any(folder.glob("*.safetensors.index.json")):
        return f"weights in shards ({names or 'an index alone'})", (
            f"Load the shards into one dictionary of tensors and save it with safetensors.torch.save_file as "
            f"{WEIGHTS_NAMES[0]}."
        )
    if any(map(_is_adapter, others)) or (folder / "adapter_config.json").is_file():
        return "an adapter without its base", "Merge the adapter into its base (peft: merge_and_unload), and save that."
    if others:
        return f"{len(others)} files of weights ({names})", f"Rename the one that is meant to {WEIGHTS_NAMES[0]}."
    if nested := [path for below in folder.iterdir() if below.is_dir() for path in _safetensors_in(below)]:
        return f"no weights but {nested[0].relative_to(folder)} in a folder of their own", (
            f"Move that file to {folder / WEIGHTS_NAMES[0]} if it is in open_clip's form."
        )
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    found = f"only pickled weights ({', '.join(pickles)}), which pinembed never opens" if pickles else "no weights"
    return found, "Save the weights with safetensors.torch.save_file under that name."


def _safetensors_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def instead_of_config(folder: Path) -> tuple[str, str]:
    """What a folder without CONFIG_NAME holds, and what to do about it."""
    below = sorted({*folder.glob(f"*/{CONFIG_NAME}"), *folder.glob(f"snapshots/*/{CONFIG_NAME}")})
    if below:
        return f"; found {below[0].relative_to(folder)}", f"Give {below[0].parent}."
    if kind := model_type(folder / MODEL_CONFIG):
        return f"; found a {kind} model in transformers' form", (
            "Give the same model in open_clip's form: NAME/PRETRAINED of its list, or hf-hub:OWNER/REPO of a "
            f"repository with {CONFIG_NAME}."
        )
    return "", "Give a folder in open_clip's local-dir layout, such as the one that `pinembed finetune` writes."


def model_type(path: Path) -> str:
    """The kind of model that transformers' configuration names; empty for none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("model_type") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _is_adapter(path: Path) -> bool:
    return path.name.startswith("adapter_")


def is_other_weights(path: Path, weights: Path) -> bool:
    """Whether a file beside the weights holds, or lists, weights too."""
    return path.name != weights.name and (path.suffix in WEIGHTS or path.name.endswith(".index.json"))


def tokenizer_files(model_cfg: Mapping[str, Any], folder: Path | None) -> tuple[Path, ...]:
    """Hugging Face's tokenizer of an encoder, sorted by name; empty where open_clip's own, which has no file, is used.

    The configuration of a text tower of transformers comes with it, also from a folder of its own.

    Args:
        model_cfg: open_clip's; its text_cfg.hf_tokenizer_name is a folder, or a repository on the hub.
        folder: of the encoder, which then holds the tokenizer's files; None to look where text_cfg says.

    Raises:
        EncoderError: the hub's are not in the local cache and cannot be fetched.
    """
    name = model_cfg.get("text_cfg", {}).get("hf_tokenizer_name")
    if not name:
        return ()
    found = _tokenizer_in(folder or Path(name)) if folder is not None or Path(name).is_dir() else _fetched(name)
    tower = model_cfg["text_cfg"].get("hf_model_name")
    if tower and Path(tower, MODEL_CONFIG).is_file() and MODEL_CONFIG not in {path.name for path in found}:
        found = tuple(sorted((*found, Path(tower, MODEL_CONFIG)), key=lambda path: path.name))
    return found


def _tokenizer_in(folder: Path) -> tuple[Path, ...]:
    found = {path.name: path for pattern in TOKENIZER_PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return tuple(found[name] for name in sorted(found))


def _fetched(repo: str) -> tuple[Path, ...]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = _tokenizer_in(Path(snapshot_download(repo, allow_patterns=list(TOKENIZER_PATTERNS))))
        if not {path.name for path in found} - {MODEL_CONFIG}:
            raise OSError("the cache holds other files of it")
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise EncoderError(
            f"The tokenizer {repo} is not in the local cache and cannot be fetched: {first_line(error)}",
            remedy=bring_by_hand(repo),
        ) from error
    return found


def bring_by_hand(repo: str) -> str:
    """What to do without a way to the hub."""
    return (
        f"On a machine with network, copy {CONFIG_NAME}, {WEIGHTS_NAMES[0]} and the tokenizer's files "
        f"({', '.join(TOKENIZER_PATTERNS[:2])}, vocabularies and so on, where there are some) from "
        f"https://huggingface.co/{repo} into a folder, bring that folder here and give its path as ENCODER; "
        "HF_HUB_OFFLINE must not be 1 for a download."
    )


def first_line(error: BaseException) -> str:
    """What went wrong, without the lines of advice that some libraries add."""
    return str(error).strip().split("\n", 1)[0]
