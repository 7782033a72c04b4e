"""open_clip's models out of a weights file: both towers, or one of them alone; and texts without their padding.

A causal text tower that pools at the end of the text never looks at the padding behind it. Ten words fill a sixth of a
context of 77 places, so it is given only as many places as the texts need.

Shape legend: M texts, T context length, L places that are needed, W width, D embedding floats.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pinembed.encoder.files import CONFIG_NAME, MODEL_CONFIG, WEIGHTS_NAMES, model_type
from pinembed.encoder.locate import EncoderFiles, import_open_clip
from pinembed.errors import EncoderError
from pinembed.nouns.encoder_spec import Preprocessing

Tower = Literal["image", "text"]
# open_clip builds no tower alone. The one that nobody asked for is built this small and taken off: that holds for every
# kind of tower (open_clip's own, timm's, Hugging Face's), as all of them are described by the configuration.
SMALLEST: Mapping[Tower | None, Mapping[str, Any]] = {
    None: {},
    "image": {"text_cfg": {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}},
    "text": {"vision_cfg": {"image_size": 1, "patch_size": 1, "width": 1, "head_width": 1, "layers": 1}},
}
DRAWING = {"normal_", "uniform_", "erfinv_", "kaiming_normal_", "kaiming_uniform_"}
TEXT_TOWERS = {"bert", "roberta", "xlm-roberta", "mt5", "m2m_100"}  # open_clip's hf_configs.arch_dict
PLAIN = {"F64", "F32", "F16", "BF16", "I64", "I32", "BOOL"}
KNOWN_WRAPPERS = ("", "module.")  # open_clip takes the second off
POOLED_AT_THE_END = ("argmax", "eos")
PARTS = 2
"""Texts are taken shorter and longer ones apart; more parts would each be too small to fill the processor."""


def build_model(files: EncoderFiles, *, tower: Tower | None = None, seed: int = 0) -> nn.Module:
    """open_clip's model in fp32, with the weights of its file or with random ones.

    Where a tower is named, it alone is built and read; what remains computes the same bits.

    Raises:
        EncoderError: unreadable, or weights that do not fit the configuration, or no model of two towers.
        InstallationError: open_clip does not load.
    """
    with explained(files), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = None
        if files.weights is not None:
            _refuse_quantised(files, files.weights)
            model = _filled(files, files.weights, tower)
        if model is None and files.weights is not None:
            _refuse_other_names(files, files.weights)
        if model is None:  # its own loading knows older names and other shapes, but reads both towers at once
            model = _without_the_other(_created(files, load_weights=files.weights is not None), tower)
    return model.float()


def _filled(files: EncoderFiles, weights: Path, tower: Tower | None) -> nn.Module | None:
    """The model with the tensors of the file; None where names or shapes are not exactly the model's."""
    wanted = dataclasses.replace(files, weights=None, model_cfg={**files.model_cfg, **SMALLEST[tower]})
    with _NothingDrawn():
        model = _without_the_other(_created(wanted, load_weights=False), tower)
    return model if _fill(model, weights, tower) else None


def _refuse_quantised(files: EncoderFiles, weights: Path) -> None:
    """Copied into a model's floats as they are, they would be other weights; counters and places are whole numbers."""
    with safe_open(weights, framework="pt") as file:
        parts = ((name, file.get_slice(name)) for name in file.keys())  # noqa: SIM118
        odd = next((name for name, part in parts if part.get_dtype() not in PLAIN and len(part.get_shape()) > 1), None)
    if odd is not None:
        raise EncoderError(
            f"{files.reference}: {weights.name} holds quantised weights (see {odd}); wanted FP32, FP16 or BF16 ones.",
            remedy="Give the weights that they were made from; `encode` measures faster backends by itself.",
        )


def _refuse_other_names(files: EncoderFiles, weights: Path) -> None:
    """Snapshots of the hub hold the model twice, in open_clip's form often as a pickle alone; wrappers add to names."""
    with safe_open(weights, framework="pt") as file:
        names = list(file.keys())
    if any(name.startswith(("text_model.", "vision_model.")) for name in names):
        raise EncoderError(
            f"{files.reference}: {weights.name} holds the model in transformers' form; wanted open_clip's.",
            remedy=f"Bring {WEIGHTS_NAMES[0]} of the same model, or save open_clip's pickle under that name with "
            "safetensors.torch.save_file, in a place where you trust it.",
        )
    before = next((name.partition("visual.")[0] for name in names if "visual." in name), "")
    if before not in KNOWN_WRAPPERS and all(name.startswith(before) for name in names):
        raise EncoderError(
            f"{files.reference}: the names of all tensors in {weights.name} begin with {before}, as torch.compile and "
            "other wrappers add it; wanted open_clip's names.",
            remedy="Save the state dict of the model inside of the wrapper, or take the beginning off each name.",
        )


def _created(files: EncoderFiles, **options: bool) -> nn.Module:
    with as_local_dir(files) as local_dir:
        # never a language model's weights from elsewhere: all weights are the file's, or are random
        options = {**options, "pretrained_text": False}
        model: nn.Module = import_open_clip().create_model(f"local-dir:{local_dir}", **options)
    if not hasattr(model, "logit_scale"):
        raise EncoderError(
            f"{files.reference} is a {type(model).__name__}; pinembed takes models of two towers.",
            remedy="Give a CLIP or SigLIP model.",
        )
    return model


def _fill(model: nn.Module, path: Path, tower: Tower | None) -> bool:
    """Copy the tensors of a safetensors file, those of one tower or all, to their places."""
    targets = {name: tensor for name, tensor in model.state_dict().items() if _is_in(tower, name)}
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if _is_in(tower, name)]  # noqa: SIM118
        found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    if found != {name: tuple(tensor.shape) for name, tensor in targets.items()}:
        return False
    for name, tensor in targets.items():
        # opened anew each time: what was read stays mapped, and so resident, for as long as the file is open
        with safe_open(path, framework="pt") as file, torch.no_grad():
            tensor.copy_(file.get_tensor(name))
    return True


def _is_in(tower: Tower | None, name: str) -> bool:
    """Whether a child or tensor of that name is the tower's; what is no tower's own, as the logit scale, is text's."""
    return tower is None or (name.partition(".")[0] == "visual") is (tower == "image")


def _without_the_other(model: nn.Module, tower: Tower | None) -> nn.Module:
    for name in [name for name, _ in model.named_children() if not _is_in(tower, name)]:
        delattr(model, name)
    return model


class _NothingDrawn(TorchFunctionMode):
    """Leaves new weights as they lie in memory: drawing 150 million random numbers takes longer than reading them."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") in DRAWING:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


_LOAD_ERRORS = (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, SafetensorError)


@contextmanager
def explained(files: EncoderFiles) -> Iterator[None]:
    """What goes wrong while open_clip loads becomes an EncoderError; what it warns about is not shown.

    It warns through the root logger about what pinembed has already decided or turned into an error.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except _LOAD_ERRORS as error:
        raise EncoderError(
            f"open_clip cannot load {files.reference}: {_shortened(error)}",
            remedy=f"Check that {CONFIG_NAME} and the weights belong together and that both files are whole.",
        ) from error
    finally:
        logging.disable(previous)


def _shortened(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 240 else text[:240] + " ..."


@contextmanager
def as_local_dir(files: EncoderFiles) -> Iterator[Path]:
    """A folder in open_clip's local-dir layout that links to these files and to no other, so that none is mistaken."""
    with tempfile.TemporaryDirectory(prefix="pinembed-") as made:
        folder = Path(made)
        config = {"model_cfg": _with_own_text_tower(files, folder), "preprocess_cfg": files.preprocess_cfg}
        (folder / CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
        if files.weights is not None:
            (folder / WEIGHTS_NAMES[0]).symlink_to(files.weights.absolute())
        for path in files.tokenizer:
            (folder / path.name).symlink_to(path.absolute())
        yield folder


def _with_own_text_tower(files: EncoderFiles, folder: Path) -> dict[str, Any]:
    """model_cfg that finds the configuration of transformers' text tower beside the weights, not where it once lay.

    Raises:
        EncoderError: it is neither there nor here.
    """
    text_cfg = files.model_cfg.get("text_cfg", {})
    name = text_cfg.get("hf_model_name")
    own = next((path for path in files.tokenizer if path.name == MODEL_CONFIG), None)
    if name and own is not None and model_type(own) in TEXT_TOWERS:
        return {**files.model_cfg, "text_cfg": {**text_cfg, "hf_model_name": str(folder)}}
    if name and Path(name).is_absolute() and not Path(name).exists():
        raise EncoderError(
            f"{files.reference} has its text tower's configuration in {name}, which does not exist.",
            remedy=f"Put the {MODEL_CONFIG} of that text tower into the encoder's folder.",
        )
    return files.model_cfg


def encode_texts(model: nn.Module, tokens_MT: Tensor) -> Tensor:
    """What the model's own `encode_text` gives, (M, D), without the padding where that makes no difference.

    Gradients flow as through the model's own. Token ids are padded behind the end of the text.
    """
    tower: Any = getattr(model, "text", model)
    if not _reads_no_padding(tower) or len(tokens_MT) == 0:
        return cast(Tensor, cast(Any, model).encode_text(tokens_MT))
    length_M = _end(tower, tokens_MT) + 1
    order_M = torch.argsort(length_M, stable=True)
    hidden_MTW = tower.token_embedding(tokens_MT[:, : int(length_M.max())])  # once: its gradient is as large as it is
    features = [
        _encode(tower, tokens_MT[part], hidden_MTW[part], int(length_M[part[-1]]))
        for part in torch.tensor_split(order_M, PARTS)
        if len(part)
    ]
    return torch.cat(features)[torch.argsort(order_M)]


def _reads_no_padding(tower: Any) -> bool:
    """One of open_clip's own, causal, without a token appended after the text, read at the text's end."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer

    return (
        type(tower) in (CLIP, TextTransformer)
        and tower.attn_mask is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
        and not getattr(tower, "output_tokens", False)
        and _pool(tower) in POOLED_AT_THE_END
    )


def _pool(tower: Any) -> str:
    return cast(str, tower.text_pool_type if hasattr(tower, "text_pool_type") else tower.pool_type)


def _eos_id(tower: Any) -> int | None:
    return cast("int | None", getattr(tower, "text_eos_id", getattr(tower, "eos_id", None)))


def _end(tower: Any, tokens_MT: Tensor) -> Tensor:
    """The place that each text is read at."""
    if _pool(tower) == "eos":
        tokens_MT = torch.eq(tokens_MT, cast(int, _eos_id(tower))).int()
    return tokens_MT.argmax(dim=1)


def _encode(tower: Any, tokens_MT: Tensor, hidden_MTW: Tensor, positions: int) -> Tensor:
    """open_clip's text tower on the first places."""
    from open_clip.transformer import text_global_pool

    dtype = tower.transformer.get_cast_dtype()
    hidden_MLW = hidden_MTW[:, :positions].to(dtype) + tower.positional_embedding[:positions].to(dtype)
    hidden_MLW = tower.transformer(hidden_MLW, attn_mask=tower.attn_mask[:positions, :positions])
    pooled = text_global_pool(
        tower.ln_final(hidden_MLW), tokens_MT[:, :positions], _pool(tower), eos_token_id=_eos_id(tower)
    )
    if tower.text_projection is None:
        return cast(Tensor, pooled)
    if isinstance(tower.text_projection, nn.Linear):
        return cast(Tensor, tower.text_projection(pooled))
    return cast(Tensor, pooled @ tower.text_projection)


def standardisation(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift, (1, 3, 1, 1) each, with which pixels * scale - shift is (pixels / 255 - mean) / std."""
    std_C = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)
    mean_C = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
    return 1 / (255 * std_C), mean_C / std_C
