"""A checkpoint folder on disk: its config, and which file holds which tensor where.

Only headers are read here. Layout: config.json; model.safetensors, or shards with model.safetensors.index.json.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pinembed.errors import InstallationError, MissingExtraError, ModelError
from pinembed.trimmed.families import FAMILIES, Family, family_of, has_stub
from pinembed.trimmed.quantised import check_quantisation, quantisation
from pinembed.trimmed.shards import EXPERT, FLOAT_BYTES, Shard, StoredTensor, read_shard


def import_transformers(feature: str) -> ModuleType:
    """Transformers, or a sentence that says how to get it.

    Args:
        feature: what the user asked for, as the start of a sentence.

    Raises:
        MissingExtraError: the extra `vlm` is not installed.
        InstallationError: it is installed and does not load, or is too old to know Qwen3-VL.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError(feature, extra="vlm", package="transformers")
    try:
        transformers = importlib.import_module("transformers")
        getattr(transformers, "Qwen3VLForConditionalGeneration")  # noqa: B009  (loads the lazy module here)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InstallationError(
            f"transformers does not load with Qwen3-VL: {str(error).splitlines()[0]}",
            remedy='Run `pinembed doctor`, then: pip install --upgrade "pinembed[vlm]"',
        ) from error
    return transformers


@contextmanager
def without_bars(transformers: ModuleType) -> Iterator[None]:
    """Without transformers' own bars and advice: pinembed shows its own progress, and --quiet is quiet."""
    logging = transformers.utils.logging
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


PREFIX = "hf-hub:"
WANTED_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.md", "*.model", "LICENSE*", "NOTICE*")


def locate_checkpoint(reference: str) -> Path:
    """A folder as it is, or the local copy of `hf-hub:OWNER/REPO`, fetched where it is not in the cache.

    Raises:
        ModelError: the hub copy is not in the cache and cannot be fetched.
    """
    if not reference.startswith(PREFIX):
        return Path(reference)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference.removeprefix(PREFIX), allow_patterns=list(WANTED_FILES)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"{reference} is not in the local cache and cannot be fetched: {str(error).strip().splitlines()[0]}",
            remedy="Bring the checkpoint's folder by hand and give its path.",
        ) from error


SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
TEXT_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
VISION_SIZES = (
    "depth",
    "hidden_size",
    "in_channels",
    "intermediate_size",
    "num_heads",
    "out_hidden_size",
    "patch_size",
    "spatial_merge_size",
    "temporal_patch_size",
)
LARGEST_SIZE = 1_000_000
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint, weights still on disk."""

    folder: Path
    family: Family
    config: dict[str, Any]
    shards: tuple[Shard, ...]

    @property
    def tensors(self) -> tuple[StoredTensor, ...]:
        return tuple(tensor for shard in self.shards for tensor in shard.tensors)

    @property
    def is_trimmed(self) -> bool:
        return has_stub(self.config["vision_config"])

    @property
    def is_quantised(self) -> bool:
        return quantisation(self.config) is not None

    @property
    def size_bytes(self) -> int:
        return sum(shard.path.stat().st_size for shard in self.shards)

    @property
    def token_dtype(self) -> str:
        """Type of the token embeddings: quantised checkpoints keep those in a floating-point type.

        Raises:
            ModelError: there are none.
        """
        for tensor in self.tensors:
            if tensor.name.endswith("embed_tokens.weight") and tensor.dtype in FLOAT_BYTES:
                return tensor.dtype
        raise ModelError(
            f"{self.folder} has no floating-point embed_tokens.weight; wanted a language model beside the tower.",
            remedy=WHOLE,
        )

    @property
    def dtype(self) -> str:
        """Torch's name of the type that the model runs in by default: config.json's, or the token embeddings'."""
        for part in (self.config, self.config["text_config"]):
            stored = part.get("dtype") or part.get("torch_dtype")
            if stored in TORCH_DTYPES.values():
                return str(stored)
        return TORCH_DTYPES[self.token_dtype]


TORCH_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
WHOLE = "Give the whole checkpoint as it is published."


def read_checkpoint(folder: Path) -> Checkpoint:
    """Find and check a checkpoint of one of the FAMILIES, trimmed or not.

    Raises:
        ModelError: no folder, no or another model's config, an adapter, pickled or quantised weights, a missing,
            damaged or foreign shard, no vision tower, no head, or experts in a layout that is not read.
    """
    config = _read_config(folder)
    family = family_of(config)
    if family is None:
        raise ModelError(
            f"{folder / 'config.json'} describes a {config.get('model_type') or 'nameless'} model; wanted "
            f"{' or '.join(one.model_type for one in FAMILIES)}.",
            remedy="Give a checkpoint of Qwen3-VL or Qwen3.5; other families have other vision towers and positions.",
        )
    _check_parts(config, folder / "config.json")
    config["vision_config"].setdefault("deepstack_visual_indexes", list(family.deepstack))
    _check_sizes(config, folder / "config.json")
    shards = tuple(read_shard(path) for path in _weight_files(folder))
    checkpoint = Checkpoint(folder=folder, family=family, config=config, shards=shards)
    _check_once(checkpoint)
    check_quantisation(config, checkpoint.tensors, folder)
    if not any(tensor.is_vision for tensor in checkpoint.tensors):
        raise ModelError(
            f"{folder} holds {len(checkpoint.tensors)} tensors and none of a vision tower; "
            "wanted keys that begin with model.visual.",
            remedy=WHOLE,
        )
    _check_head(checkpoint)
    _check_experts(checkpoint)
    return checkpoint


def _check_once(checkpoint: Checkpoint) -> None:
    """Refuse a tensor that lies in two files: which one counts would depend on the tool."""
    place: dict[str, str] = {}
    for shard in checkpoint.shards:
        for tensor in shard.tensors:
            if tensor.name in place:
                raise ModelError(
                    f"{checkpoint.folder} holds {tensor.name} in {place[tensor.name]} and in {shard.path.name}.",
                    remedy=WHOLE,
                )
            place[tensor.name] = shard.path.name


def _check_experts(checkpoint: Checkpoint) -> None:
    """Refuse experts in a layout that transformers does not read for the family: it would draw random ones."""
    found = next((tensor.name for tensor in checkpoint.tensors if EXPERT.fullmatch(tensor.name)), None)
    if found is not None and not checkpoint.family.reads_single_experts:
        raise ModelError(
            f"{checkpoint.folder} holds {checkpoint.family.name}'s experts one by one ({found}); wanted all of a layer "
            "in one tensor, as they are published.",
            remedy="Give the checkpoint as it is published in BF16.",
        )


def _check_head(checkpoint: Checkpoint) -> None:
    """Refuse a model that cannot speak: untied, and without an output head, as embedding models may be."""
    tied = checkpoint.config.get("tie_word_embeddings", checkpoint.config["text_config"].get("tie_word_embeddings"))
    if not tied and not any(tensor.name.endswith("lm_head.weight") for tensor in checkpoint.tensors):
        raise ModelError(
            f"{checkpoint.folder} has no lm_head.weight and does not tie it to the token embeddings: "
            "an embedding model, which answers nothing.",
            remedy="Give the Instruct or Thinking checkpoint of the same size.",
        )


def file_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a folder's safetensors files: whether they are still those of a stopped run."""
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.safetensors"))]


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise ModelError(
            f"{folder} {state}; wanted a folder with a Qwen3-VL or Qwen3.5 checkpoint.",
            remedy="Check the path; `pinembed trim` also takes hf-hub:Qwen/Qwen3-VL-2B-Instruct.",
        )
    _check_no_adapter(folder)
    path = folder / "config.json"
    if not path.is_file():
        names = sorted(found.name for found in folder.iterdir())
        shown = (", ".join(names[:3]) or "nothing") + (" ..." if len(names) > 3 else "")
        raise ModelError(
            f"{folder} has no config.json; found {shown}; wanted a Qwen3-VL or Qwen3.5 checkpoint.",
            remedy="Check the path; an encoder's folder is no language model.",
        )
    return read_json(path, wanted="a checkpoint's config.json")


def _check_no_adapter(folder: Path) -> None:
    """Refuse a LoRA adapter, alone or beside weights: transformers would put it on top of them, other tools not."""
    path = folder / "adapter_config.json"
    if path.is_file():
        base = read_json(path, wanted="an adapter's config").get("base_model_name_or_path")
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json), of {base or 'a base that it does not name'}; "
            "wanted a checkpoint with all of its weights.",
            remedy="Merge it into its base first: peft's merge_and_unload, then save_pretrained.",
        )


def _check_parts(config: dict[str, Any], path: Path) -> None:
    for part in ("text_config", "vision_config"):
        if not isinstance(config.get(part), dict):
            raise ModelError(
                f"{path} has no {part}; wanted a whole config of both.", remedy="Download the checkpoint again."
            )


def _check_sizes(config: dict[str, Any], path: Path) -> None:
    """Refuse sizes that no model has, before anything is counted or made with them."""
    text, vision = config["text_config"], config["vision_config"]
    sizes = {f"text_config.{name}": text.get(name) for name in TEXT_SIZES}
    sizes |= {f"vision_config.{name}": vision[name] for name in VISION_SIZES if name in vision}
    for name, size in sizes.items():
        lowest = 0 if name == "vision_config.depth" else 1
        if not isinstance(size, int) or isinstance(size, bool) or not lowest <= size <= LARGEST_SIZE:
            raise ModelError(
                f"{path} gives {name} as {size!r}; wanted a number from {lowest} to {LARGEST_SIZE}.",
                remedy="Bring config.json back from where the checkpoint came from.",
            )
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    lists = {
        "vision_config.deepstack_visual_indexes": vision.get("deepstack_visual_indexes", []),
        "text_config's mrope_section": rope.get("mrope_section", [0] * 3) if isinstance(rope, dict) else rope,
    }
    for name, numbers in lists.items():
        wanted = len(numbers) if name.startswith("vision") and isinstance(numbers, list) else 3
        if not isinstance(numbers, list) or [type(number) for number in numbers] != [int] * wanted:
            raise ModelError(
                f"{path} gives {name} as {numbers!r}; wanted a list of whole numbers.",
                remedy="Bring config.json back from where the checkpoint came from.",
            )


def read_json(path: Path, *, wanted: str) -> dict[str, Any]:
    """A JSON object from a file of the model folder.

    Raises:
        ModelError: missing, not JSON, or not an object.
    """
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing; wanted {wanted}.", remedy="Check the path.") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {str(error).splitlines()[0]}; wanted {wanted}.",
            remedy="Restore the file from where the folder came from.",
        ) from error
    if not isinstance(parsed, dict):
        raise ModelError(f"{path} holds no JSON object; wanted {wanted}.", remedy="Restore the file.")
    return parsed


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_index(folder: Path, shards: Sequence[Shard]) -> None:
    """Say which file holds which tensor, also where it is one file.

    vLLM loads every safetensors file of a folder without an index, the projector's too, and dies of it.
    """
    places = {tensor.name: shard.path.name for shard in shards for tensor in shard.tensors}
    total = sum(tensor.size_bytes for shard in shards for tensor in shard.tensors)
    write_json(folder / INDEX_NAME, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that belong to the checkpoint, and no other that may lie beside them."""
    index = folder / INDEX_NAME
    if index.is_file():
        weight_map = read_json(index, wanted="an index of safetensors shards").get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelError(f"{index} has no weight_map.", remedy="Download the checkpoint again.")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            _check_shard_name(folder, name, index)
        if SINGLE_NAME not in names and (folder / SINGLE_NAME).is_file():
            raise ModelError(
                f"{folder} holds its weights twice: {SINGLE_NAME}, which transformers reads, and {names[0]} and so on "
                f"by {INDEX_NAME}, which other tools read.",
                remedy="Move the one that is not meant away.",
            )
        return [folder / name for name in names]
    if (folder / SINGLE_NAME).is_file():
        return [folder / SINGLE_NAME]
    pickled = sorted(path.name for pattern in PICKLE_PATTERNS for path in folder.glob(pattern))
    if pickled:
        raise ModelError(
            f"{folder} holds pickled weights only ({', '.join(pickled[:3])}); wanted {SINGLE_NAME}. "
            "Reading a pickle can run code, so pinembed never does.",
            remedy="Give the checkpoint in safetensors, as Qwen publishes it.",
        )
    converted = sorted(path.name for path in folder.glob("*.gguf"))
    if converted:
        raise ModelError(
            f"{folder} holds weights in GGUF only ({', '.join(converted[:3])}); wanted {SINGLE_NAME}.",
            remedy="Give the checkpoint that they were converted from, in safetensors.",
        )
    raise ModelError(f"{folder} holds no weights; wanted {SINGLE_NAME} or {INDEX_NAME}.", remedy="Check the path.")


def _check_shard_name(folder: Path, name: str, index: Path) -> None:
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise ModelError(
            f"{index} names {name!r}; wanted safetensors files in the same folder.",
            remedy="Do not use this checkpoint; its index points outside of it.",
        )
    if not (folder / name).is_file():
        raise ModelError(f"{index} names {name}, which is missing.", remedy="Download the checkpoint again.")
