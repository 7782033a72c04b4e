"""One seeded ViT-B-32 in the formats of every peer: open_clip folder, Hugging Face folder, ONNX folder, torch file.

    python tests/benchmarks/encode_weights.py OUT

Speed does not depend on what the weights have learnt, so random ones are fair, and no download is needed.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import open_clip
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.save import save_encoder

BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def hugging_face_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's names to transformers' names; the fused query, key and value are taken apart."""
    renamed = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    for kind in ("weight", "bias"):
        renamed[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        renamed[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        renamed[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
        for prefix, model in (("visual.transformer", "vision_model"), ("transformer", "text_model")):
            for layer in range(12):
                block, theirs = f"{prefix}.resblocks.{layer}", f"{model}.encoder.layers.{layer}"
                for old, new in BLOCK.items():
                    renamed[f"{theirs}.{new}.{kind}"] = state[f"{block}.{old}.{kind}"]
                parts = state[f"{block}.attn.in_proj_{kind}"].chunk(3)
                for name, part in zip("qkv", parts, strict=True):
                    renamed[f"{theirs}.self_attn.{name}_proj.{kind}"] = part
    return {name: tensor.contiguous() for name, tensor in renamed.items()}


def make_hugging_face(model: Any, folder: Path) -> CLIPModel:
    """A CLIPModel folder with processor and tokenizer."""
    config = CLIPConfig(
        projection_dim=512,
        vision_config={"hidden_act": "gelu", "patch_size": 32, "projection_dim": 512},
        text_config={"hidden_act": "gelu", "vocab_size": 49408, "projection_dim": 512},
    )
    clip = CLIPModel(config).eval()
    missing, unexpected = clip.load_state_dict(hugging_face_state(model.state_dict()), strict=False)
    wrong = [name for name in (*missing, *unexpected) if not name.endswith("position_ids")]
    if wrong:
        raise SystemExit(f"the conversion lacks or invents {wrong[:5]}")
    clip.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    bpe = open_clip.tokenizer.SimpleTokenizer()
    (folder / "vocab.json").write_text(json.dumps(bpe.encoder), encoding="utf-8")
    merges = sorted(bpe.bpe_ranks, key=lambda pair: bpe.bpe_ranks[pair])
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return clip


class VisionTower(torch.nn.Module):
    """Pixels to image embeddings, under the names that fastembed's model has."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = clip.vision_model, clip.visual_projection

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = self.visual_projection(self.vision_model(pixel_values).pooler_output)
        return embeds


def make_onnx(clip: CLIPModel, folder: Path, processor: Path) -> None:
    """model.onnx with a free batch size, and the processor's settings beside it."""
    folder.mkdir()
    torch.onnx.export(
        VisionTower(clip).eval(),
        (torch.zeros(2, 3, 224, 224),),
        str(folder / "model.onnx"),
        input_names=["pixel_values"],
        output_names=["image_embeds"],
        dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
        dynamo=True,
        external_data=False,
    )
    for name in ("preprocessor_config.json", "config.json"):
        if (processor / name).is_file():
            shutil.copyfile(processor / name, folder / name)


def main(out: Path) -> None:
    """Write OUT/open_clip, OUT/hugging_face, OUT/onnx and OUT/w.pt, and check that they agree."""
    out.mkdir(parents=True)
    encoder = load_encoder("ViT-B-32", random_init=True, seed=0)
    (out / "open_clip").mkdir()
    save_encoder(encoder, out / "open_clip")
    torch.save(encoder.model.state_dict(), out / "w.pt")
    clip = make_hugging_face(encoder.model, out / "hugging_face")
    pixels = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = encoder.model.encode_image(pixels)  # type: ignore[operator]
        theirs = VisionTower(clip)(pixels)
    cosine = float(torch.nn.functional.cosine_similarity(ours, theirs).min())
    sys.stdout.write(f"cosine of the converted weights: {cosine:.7f}\n")
    if cosine < 0.9999:
        raise SystemExit("the conversion is wrong")
    with torch.no_grad():
        make_onnx(clip, out / "onnx", out / "hugging_face")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
