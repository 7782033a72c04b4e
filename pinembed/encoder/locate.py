"""ENCODER reference to files on disk, without loading torch for a local folder.

Four forms: a folder in open_clip's `local-dir` layout, `NAME/PRETRAINED` of open_clip's list, `hf-hub:OWNER/REPO`, and
a bare architecture name, which has random weights and must be asked for by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pinembed.encoder.files import (
    CONFIG_NAME,
    WEIGHTS_NAMES,
    bring_by_hand,
    first_line,
    instead_of_config,
    tokenizer_files,
    weights_in,
)
from pinembed.encoder.fusion import read_fusion
from pinembed.errors import EncoderError, InstallationError, UsageError
from pinembed.generation.reading import hold
from pinembed.generation.record import ENCODER
from pinembed.machine import recall, remember
from pinembed.nouns.encoder_spec import EncoderSpec, Fusion, Preprocessing
from pinembed.stores.fetch import local_copy

MEMORY = "weights"
KEPT = 64
SETTLED_S = 3.0  # a file that was written later than this may be written again within one tick of its clock


def sha256_of_weights(path: Path) -> str:
    """Of the file's bytes.

    A remembered one is taken where the file has the same path, inode, size and times. Its ctime is among them, which no
    program can set back; a file that was copied over with its old date has another one.

    Raises:
        EncoderError: the file cannot be read.
    """
    try:
        state = path.stat()
        key = f"{path.resolve()} {state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
        known = recall(MEMORY).get(key)
        if known is not None:
            return known
        found = _sha256(path)
    except OSError as error:
        raise EncoderError(f"{path} cannot be read: {error}.", remedy="Check the file and its permissions.") from error
    if time.time() - max(state.st_mtime, state.st_ctime) > SETTLED_S:
        remember(MEMORY, key, found, at_most=KEPT)
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


OWN_ARCHITECTURES = Path(__file__).parent / "architectures"
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
INTERPOLATIONS = ("bicubic", "bilinear", "random")
RESIZE_MODES = ("shortest", "longest", "squash")


@dataclass(frozen=True, kw_only=True)
class EncoderFiles:
    """Where an encoder lies.

    Attributes:
        reference: what the user wrote.
        architecture: a short name for people.
        model_cfg: open_clip's model_cfg.
        preprocess_cfg: open_clip's preprocess_cfg; keys that are missing take open_clip's defaults.
        weights: the safetensors file; None for an architecture without weights.
        tokenizer: files of Hugging Face's tokenizer; empty where open_clip's own is used.
        folder: the local-dir folder; None when the files lie in a download cache.
        fusion: metadata that is part of an item's vector; None where the image alone makes it.
        kept_dims: how many of an embedding's floats are kept, the first ones; None keeps all.
    """

    reference: str
    architecture: str
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any]
    weights: Path | None = None
    tokenizer: tuple[Path, ...] = ()
    folder: Path | None = None
    fusion: Fusion | None = None
    kept_dims: int | None = None

    @property
    def tower_dim(self) -> int:
        """Floats that the towers give."""
        return int(self.model_cfg["embed_dim"])

    @property
    def dim(self) -> int:
        """D, floats of one embedding."""
        return self.kept_dims or self.tower_dim


def with_absolute_paths(files: EncoderFiles) -> EncoderFiles:
    """The same files, as another process finds them that works in another folder."""
    return dataclasses.replace(
        files,
        weights=None if files.weights is None else files.weights.absolute(),
        tokenizer=tuple(path.absolute() for path in files.tokenizer),
        folder=None if files.folder is None else files.folder.absolute(),
    )


def keep_dims(files: EncoderFiles, dims: int | None) -> EncoderFiles:
    """The encoder whose embeddings are the first `dims` floats, of norm 1 again; None keeps all.

    Raises:
        UsageError: the towers give fewer.
    """
    if dims is None or dims == files.tower_dim:
        return dataclasses.replace(files, kept_dims=None)
    if not 0 < dims < files.tower_dim:
        raise UsageError(
            f"--dims {dims} cannot be kept: {files.architecture} gives {files.tower_dim} floats.",
            remedy=f"Give 1 to {files.tower_dim}; `pinembed evaluate --storage-formats` tells what fewer cost.",
        )
    return dataclasses.replace(files, kept_dims=dims)


def locate_encoder(reference: str, *, random_init: bool = False) -> EncoderFiles:
    """Find an encoder's configuration and weights.

    Args:
        reference: a folder or its address, a home of generations, `NAME/PRETRAINED`, `hf-hub:OWNER/REPO`, or an
            architecture name with random_init.
        random_init: allow an architecture without weights; the caller seeds it.

    Raises:
        EncoderError: nothing is found, or what is found cannot be read.
        UsageError: a bare architecture without random_init, or a reference with weights and random_init.
    """
    held = hold(reference)
    folder = local_copy(reference) if held is None else held.part(ENCODER)
    if folder.is_dir():
        files = _in_folder(folder, reference)
    elif reference.startswith("hf-hub:"):
        files = _on_hub(reference)
    elif "/" in reference and not folder.exists():
        files = _in_open_clip_list(reference)
    else:
        return _architecture(reference, random_init)
    if random_init:
        raise UsageError(
            f"--random-init was given with {reference}, which has weights.",
            remedy="Leave --random-init out, or name a bare architecture such as ViT-B-32.",
        )
    return files


def encoder_spec(files: EncoderFiles) -> EncoderSpec:
    """The identity of the encoder that these files hold; loads nothing, and reads weights that it does not know yet.

    Raises:
        EncoderError: the files have no weights, or a weights file cannot be read.
    """
    if files.weights is None:
        raise EncoderError(
            f"{files.reference} is an architecture without weights; embeddings need a fixed encoder.",
            remedy="Make one first: pinembed finetune DATA --base ARCHITECTURE --random-init --out DIR",
        )
    return EncoderSpec(
        architecture=files.architecture,
        config_sha256=hashlib.sha256(json.dumps(files.model_cfg, sort_keys=True).encode()).hexdigest(),
        weights_sha256=sha256_of_weights(files.weights),
        dim=files.dim,
        preprocessing=preprocessing_of(files),
        fusion=files.fusion,
        tokenizer_sha256=_sha256_of_tokenizer(files.tokenizer),
    )


def written_spec(folder: Path, out: Path) -> EncoderSpec:
    """The identity of an encoder that was written to a folder which is yet to be renamed to `out`."""
    spec = encoder_spec(locate_encoder(str(folder)))
    return dataclasses.replace(spec, architecture=out.resolve().name)


def _sha256_of_tokenizer(files: tuple[Path, ...]) -> str:
    """Of the names and contents of its files; empty for none."""
    found = [[path.name, sha256_of_weights(path)] for path in files]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else ""


def preprocessing_of(files: EncoderFiles) -> Preprocessing:
    """open_clip's preprocess_cfg with its defaults filled in.

    The side is the image tower's, as open_clip has it: what preprocess_cfg says of it is not looked at.

    Raises:
        EncoderError: the image side is not square, or a value has the wrong form.
    """
    cfg = files.preprocess_cfg
    try:
        side = files.model_cfg["vision_cfg"].get("image_size", 224)
        sides = set(side) if isinstance(side, list | tuple) else {side}
        if len(sides) != 1:
            raise ValueError(f"image side {side} is not square")
        return Preprocessing(
            image_px=int(sides.pop()),
            mean=_channelwise(cfg.get("mean") or OPENAI_MEAN),
            std=_channelwise(cfg.get("std") or OPENAI_STD),
            interpolation=_one_of(INTERPOLATIONS, cfg.get("interpolation")),
            resize_mode=_one_of(RESIZE_MODES, cfg.get("resize_mode")),
            fill_color=int(cfg.get("fill_color") or 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EncoderError(
            f"The configuration of {files.reference} cannot be used: {error}.",
            remedy=f"Give an encoder whose {CONFIG_NAME} has open_clip's model_cfg and preprocess_cfg.",
        ) from error


def _channelwise(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values if isinstance(values, list | tuple) else (values,) * 3)
    return red, green, blue


def _one_of(known: tuple[str, ...], found: Any) -> str:
    if found and found not in known:
        raise ValueError(f"{found} is none of {', '.join(known)}")
    return str(found or known[0])


def _in_folder(folder: Path, reference: str) -> EncoderFiles:
    config = _read_config(folder / CONFIG_NAME, reference)
    return EncoderFiles(
        reference=reference,
        architecture=folder.resolve().name,
        model_cfg=config["model_cfg"],
        preprocess_cfg=config.get("preprocess_cfg") or {},
        weights=weights_in(folder),
        tokenizer=tokenizer_files(config["model_cfg"], folder),
        folder=folder,
        fusion=read_fusion(folder),
    )


def _read_config(path: Path, reference: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config["model_cfg"]["embed_dim"], int):
            raise TypeError("embed_dim is not a whole number")
    except FileNotFoundError as error:
        found, remedy = instead_of_config(path.parent)
        raise EncoderError(f"Encoder folder {reference} has no {CONFIG_NAME}{found}.", remedy=remedy) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{path} is not an open_clip configuration: {type(error).__name__}: {error}.",
            remedy='It needs {"model_cfg": {"embed_dim": ..., "vision_cfg": ..., "text_cfg": ...}}.',
        ) from error
    return dict(config)


def _on_hub(reference: str) -> EncoderFiles:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo = reference.removeprefix("hf-hub:")
    try:
        config_path = Path(hf_hub_download(repo, CONFIG_NAME))
        weights = _weights_on_hub(repo)
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise EncoderError(
            f"{reference} is not in the local cache and cannot be fetched: {first_line(error)}",
            remedy=bring_by_hand(repo),
        ) from error
    config = _read_config(config_path, reference)
    return EncoderFiles(
        reference=reference,
        architecture=reference,
        model_cfg=config["model_cfg"],
        preprocess_cfg=config.get("preprocess_cfg") or {},
        weights=weights,
        tokenizer=tokenizer_files(config["model_cfg"], None),
    )


def _weights_on_hub(repo: str) -> Path:
    """The first of WEIGHTS_NAMES; the last is taken from the cache alone, as it is mostly in transformers' form."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    *named, last = WEIGHTS_NAMES
    for name in named:
        with suppress(EntryNotFoundError):
            return Path(hf_hub_download(repo, name))
    with suppress(EntryNotFoundError):
        return Path(hf_hub_download(repo, last, local_files_only=True))
    return Path(hf_hub_download(repo, WEIGHTS_NAMES[0]))


def _in_open_clip_list(reference: str) -> EncoderFiles:
    name, _, tag = reference.partition("/")
    open_clip = import_open_clip()
    cfg = open_clip.pretrained.get_pretrained_cfg(name, tag)
    if not cfg:
        raise EncoderError(
            f"{reference} is neither a folder nor NAME/PRETRAINED of open_clip's list.",
            remedy="Check the path, or print open_clip.list_pretrained() in Python for the names.",
        )
    try:
        weights = Path(open_clip.pretrained.download_pretrained(cfg))
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(
            f"The weights of {reference} are not in the local cache and cannot be fetched: {first_line(error)}",
            remedy=bring_by_hand(str(cfg.get("hf_hub") or "").strip("/")),
        ) from error
    if weights.suffix != ".safetensors":
        raise EncoderError(
            f"The weights of {reference} come as {weights.name}, a pickle, which pinembed never opens.",
            remedy="Pick a pretrained tag that is published as safetensors, or convert it in a place you trust.",
        )
    model_cfg = open_clip.get_model_config(name)
    if cfg.get("quick_gelu"):  # NAME alone may say another activation than the weights were trained with
        model_cfg = {**model_cfg, "quick_gelu": True}
    return EncoderFiles(
        reference=reference,
        architecture=reference,
        model_cfg=model_cfg,
        preprocess_cfg={key: value for key, value in cfg.items() if value is not None},
        weights=weights,
        tokenizer=tokenizer_files(model_cfg, None),
    )


def _architecture(reference: str, random_init: bool) -> EncoderFiles:
    own = OWN_ARCHITECTURES / f"{reference}.json"
    if own.is_file():
        config = json.loads(own.read_text(encoding="utf-8"))
        model_cfg, preprocess_cfg = config["model_cfg"], config["preprocess_cfg"]
    else:
        model_cfg, preprocess_cfg = import_open_clip().get_model_config(reference), {}
    if model_cfg is None:
        raise EncoderError(
            f"There is no encoder {reference}: no such folder, and no architecture of that name.",
            remedy="Give a folder, NAME/PRETRAINED, hf-hub:OWNER/REPO, or an architecture with --random-init.",
        )
    if not random_init:
        raise UsageError(
            f"{reference} is an architecture without weights; its embeddings would be random.",
            remedy="Add --random-init to train it from scratch"
            + ("." if own.is_file() else f", or give {reference}/PRETRAINED of open_clip's list."),
        )
    return EncoderFiles(
        reference=reference,
        architecture=reference,
        model_cfg=model_cfg,
        preprocess_cfg=preprocess_cfg,
        tokenizer=tokenizer_files(model_cfg, None),
    )


def import_open_clip() -> ModuleType:
    """open_clip, or a sentence that says why it does not load.

    Raises:
        InstallationError: torch and torchvision are not a pair, or a package is missing.
    """
    try:
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InstallationError(
            f"open_clip does not load: {error}",
            remedy="torch and torchvision must be one pair, e.g. torch==2.15.0 with torchvision==0.29.2; "
            "run `pinembed doctor`, then install both in one pip command.",
        ) from error
