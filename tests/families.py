"""Small seeded encoders of the architecture families that people bring, in the form in which they are published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinembed.encoder.encoder import build_encoder
from pinembed.encoder.locate import EncoderFiles, locate_encoder
from pinembed.encoder.save import save_encoder

WORDS = ("a", "red", "green", "blue", "yellow", "circle", "square", "mug", ".", ",")
CLIP_TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 64, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}


def write_bert_tokenizer(folder: Path) -> None:
    """vocab.txt and tokenizer_config.json alone, as older repositories hold it."""
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_gemma_tokenizer(folder: Path) -> None:
    """tokenizer.json of byte pairs, tokenizer_config.json and special_tokens_map.json, as SigLIP 2 brings it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Replace("▁", " ")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = dict(zip(("pad_token", "eos_token", "bos_token", "unk_token"), special, strict=True))
    config = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": False, "add_eos_token": True, **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens), encoding="utf-8")


def write_bert(folder: Path) -> None:
    """The tokenizer, and the configuration of the text tower."""
    write_bert_tokenizer(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = {"model_type": "bert", "vocab_size": 5 + len(WORDS), "max_position_embeddings": 32, **shape}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def timm_tower(name: str, **how: Any) -> dict[str, Any]:
    return {"timm_model_name": name, "timm_model_pretrained": False, "image_size": 64, **how}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture, small.

    Attributes:
        model_cfg: open_clip's; `{folder}` in a name stands for the place of the tokenizer and text tower.
        preprocess_cfg: open_clip's.
        write: writes what the text side needs into that place.
    """

    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any] = field(default_factory=dict)
    write: Callable[[Path], None] | None = None


def clip(vision: Mapping[str, Any], text: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"embed_dim": 32, "vision_cfg": dict(vision), "text_cfg": {**CLIP_TEXT, **(text or {})}, **more}


HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
SIGLIP_TEXT = {
    "hf_tokenizer_name": "{folder}",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
FAMILIES: Mapping[str, Family] = {
    "ViT": Family(model_cfg=clip(VIT)),
    "ViT, projection of texts with a bias": Family(model_cfg=clip(VIT, {"proj_bias": True})),
    "ViT, QuickGELU": Family(model_cfg=clip(VIT, quick_gelu=True)),
    "RN50, QuickGELU": Family(
        model_cfg=clip({"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64}, quick_gelu=True)
    ),
    "ConvNeXt (timm)": Family(model_cfg=clip(timm_tower("test_convnext", timm_pool="", timm_proj="linear"))),
    "MobileNetV2 (timm)": Family(model_cfg=clip(timm_tower("mobilenetv2_035", timm_pool="avg", timm_proj="linear"))),
    "SigLIP": Family(
        model_cfg=clip(
            timm_tower("test_vit3", timm_pool="map", timm_proj="linear", image_size=160),
            {**SIGLIP_TEXT, "act_kwargs": {}},
            custom_text=True,
            init_logit_bias=-10,
        ),
        preprocess_cfg={**HALF, "interpolation": "bicubic", "resize_mode": "squash"},
        write=write_bert_tokenizer,
    ),
    "SigLIP 2 (Gemma's tokenizer)": Family(
        model_cfg=clip(
            timm_tower("test_vit3", timm_pool="map", timm_proj="linear", image_size=160),
            {**SIGLIP_TEXT, "act_kwargs": {"approximate": "tanh"}},
            custom_text=True,
            init_logit_bias=-10,
        ),
        preprocess_cfg={**HALF, "interpolation": "bicubic", "resize_mode": "squash"},
        write=write_gemma_tokenizer,
    ),
    "CoCa": Family(
        model_cfg=clip(
            {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
            {"embed_cls": True, "output_tokens": True},
            custom_text=True,
            multimodal_cfg={**CLIP_TEXT, "attn_pooler_heads": 2},
        )
    ),
    "EVA-02 (timm)": Family(
        model_cfg=clip(
            timm_tower("eva02_tiny_patch14_224", timm_pool="token", timm_proj=None, image_size=224), custom_text=True
        )
    ),
    "PE Core (timm)": Family(
        model_cfg=clip(
            timm_tower("vit_pe_core_tiny_patch16_384", timm_pool="map", timm_proj=None, image_size=384),
            custom_text=True,
        ),
        preprocess_cfg={**HALF, "interpolation": "bilinear", "resize_mode": "squash"},
    ),
    "MobileCLIP 2 (timm)": Family(
        model_cfg=clip(
            timm_tower("fastvit_mci0", timm_pool="avg", timm_proj=None), {"no_causal_mask": True}, custom_text=True
        ),
        preprocess_cfg={"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "interpolation": "bilinear"},
    ),
    "text tower of transformers (BERT)": Family(
        model_cfg={
            "embed_dim": 32,
            "vision_cfg": VIT,
            "text_cfg": {
                "context_length": 24,
                "hf_model_name": "{folder}",
                "hf_tokenizer_name": "{folder}",
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
            },
        },
        write=write_bert,
    ),
}


def write_family(folder: Path, family: Family, *, seed: int = 0) -> Path:
    """A folder as the hub has it: configuration, seeded weights, and the tokenizer's files."""
    source = folder.with_name(f"{folder.name}-text")
    source.mkdir(parents=True)
    if family.write is not None:
        family.write(source)
    model_cfg = json.loads(json.dumps(family.model_cfg).replace("{folder}", str(source)))
    folder.mkdir()
    config = {"model_cfg": model_cfg, "preprocess_cfg": dict(family.preprocess_cfg)}
    files = EncoderFiles(
        reference=folder.name,
        architecture=folder.name,
        model_cfg=model_cfg,
        preprocess_cfg=dict(family.preprocess_cfg),
        tokenizer=tuple(sorted(source.iterdir())),
    )
    save_encoder(build_encoder(files, seed=seed), folder)
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert locate_encoder(str(folder)).tokenizer or family.write is None
    return folder
