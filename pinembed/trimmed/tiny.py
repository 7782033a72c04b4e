"""A tiny Qwen3-VL whose vocabulary fits a catalogue: to try every step without a download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pinembed.catalogue.folder import read_catalogue
from pinembed.outfolder import staged_folder
from pinembed.trimmed.checkpoint import import_transformers, without_bars
from pinembed.trimmed.questions import QuestionMaker, choose_fields

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TOOL_TOKENS = ("<tool_call>", "</tool_call>")
HALVES = (0.5, 0.5, 0.5)
MIN_PIXELS = 32 * 32
CHAT_TEMPLATE = (Path(__file__).parent / "tiny_chat_template.jinja").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class TinyShape:
    """Sizes of a tiny model; the defaults give about a million parameters.

    Attributes:
        layers: of the language model.
        heads: attention heads; half as many for keys and values.
        vision_layers: of the tower.
        experts: 0 for a dense model.
        tied: input and output embeddings are one.
    """

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    vision_layers: int = 3
    experts: int = 0
    tied: bool = True
    vocabulary: int = 1024


def write_tiny_qwen3vl(
    folder: Path, *, texts: Sequence[str], seed: int = 0, shape: TinyShape | None = None, max_shard: str = "5GB"
) -> None:
    """Write a whole Qwen3-VL checkpoint with seeded random weights.

    Args:
        folder: an existing folder.
        texts: what the vocabulary is trained on; any text can still be written, byte by byte.
        seed: of the weights.
        shape: sizes.
        max_shard: greatest file, as transformers' max_shard_size; small values give a sharded checkpoint.

    Raises:
        MissingExtraError: the extra `vlm` is missing.
    """
    transformers = import_transformers("Making a tiny Qwen3-VL")
    shape = shape or TinyShape()
    tokenizer = train_tokenizer(transformers, texts, shape.vocabulary)
    config = _config(transformers, shape, tokenizer)
    architecture = "Qwen3VLMoeForConditionalGeneration" if shape.experts else "Qwen3VLForConditionalGeneration"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, architecture)(config)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    with without_bars(transformers):
        model.save_pretrained(folder, max_shard_size=max_shard)
    tokenizer.save_pretrained(folder)
    vision = config.vision_config
    with without_bars(transformers):
        transformers.Qwen2VLImageProcessor(
            patch_size=vision.patch_size,
            temporal_patch_size=vision.temporal_patch_size,
            merge_size=vision.spatial_merge_size,
            image_mean=list(HALVES),
            image_std=list(HALVES),
            min_pixels=MIN_PIXELS,
        ).save_pretrained(folder)


def train_tokenizer(transformers: Any, texts: Sequence[str], vocabulary: int) -> Any:
    """Transformers' tokenizer with Qwen's special tokens and a byte-level vocabulary of this size from the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(TOOL_TOKENS),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, "system user assistant\n"], trainer)
    return with_chat_tokens(transformers, tokenizer)


def with_chat_tokens(transformers: Any, tokenizer: Any) -> Any:
    """Transformers' tokenizer of one that `tokenizers` trained, with Qwen's special tokens and those of tools."""
    from tokenizers import AddedToken

    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in TOOL_TOKENS])  # as Qwen has them
    return made


def _config(transformers: Any, shape: TinyShape, tokenizer: Any) -> Any:
    head = shape.hidden // shape.heads
    eighth = head // 8
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden,
        "intermediate_size": 3 * shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads // 2,
        "head_dim": head,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [head // 2 - 2 * eighth, eighth, eighth],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": shape.tied,
    }
    if shape.experts:
        text |= {
            "num_experts": shape.experts,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": shape.hidden,
            "decoder_sparse_step": 1,
        }
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": shape.hidden,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": list(range(min(3, shape.vision_layers))),
    }
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image": "<|image_pad|>",
            "video": "<|video_pad|>",
            "vision_start": "<|vision_start|>",
            "vision_end": "<|vision_end|>",
        }.items()
    }
    kind = transformers.Qwen3VLMoeConfig if shape.experts else transformers.Qwen3VLConfig
    return kind(text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **ids)


def write_scratch_model(
    *,
    data: Path,
    out: Path,
    fields: Sequence[str] = (),
    seed: int = 0,
    shape: TinyShape | None = None,
) -> None:
    """Write a Qwen3-VL checkpoint with seeded random weights, its tokenizer trained on the questions about DATA.

    Args:
        data: DATA folder with metadata.
        out: folder to write; `trim` takes it next.
        fields: metadata columns to ask about; by default those of short values that repeat.
        seed: of the weights.
        shape: sizes.

    Raises:
        DataError: no metadata, or no field to ask about.
        UsageError: an unknown field.
        OutputExistsError: as for `staged_folder`.
        MissingExtraError: the extra `vlm` is missing.
    """
    catalogue = read_catalogue(data)
    chosen = choose_fields(catalogue.items, catalogue.items, wanted=fields, origin=data)
    texts = QuestionMaker(catalogue.items, chosen).texts()
    with staged_folder(out, kind="tiny Qwen3-VL") as folder:
        write_tiny_qwen3vl(folder, texts=texts, seed=seed, shape=shape)
