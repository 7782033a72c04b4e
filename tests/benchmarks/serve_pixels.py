"""The time to the first token with 8 pictures, as pixels and as stored embeddings, of one server and one model."""

from __future__ import annotations

import base64
import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import transformers
from PIL import Image

from pinembed.jobs.trim import trim
from pinembed.settings.model import TrimSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.projector import new_projector, save_projector
from pinembed.trimmed.serving import ServingRequests
from tests.benchmarks.vllm_server import serving

TEXT = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 8, "num_attention_heads": 8}
TEXT |= {"num_key_value_heads": 4, "head_dim": 128, "max_position_embeddings": 8192}
ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
VISION = {"hidden_size": 512, "intermediate_size": 2048, "depth": 8, "num_heads": 8, "out_hidden_size": 1024}
DEEPSTACK = [2, 4, 6]
IMAGES, IMAGE_PX, TOKENS, TIMES = 8, 512, 4, 3
FLAGS = ("--enable-mm-embeds", "--limit-mm-per-prompt", '{"image": 8, "video": 0}', "--max-model-len", "4096")
FLAGS += ("--no-enable-prefix-caching", "--mm-processor-cache-gb", "0", "--max-num-batched-tokens", "4096")


def make_models(folder: Path, demo: Path) -> tuple[Path, Path]:
    """A whole Qwen3-VL of random weights, half as wide as the 2B one, 8 layers deep; and it without tower."""
    spec = EmbeddingSource.open(demo / "source").spec
    full, trimmed = folder / "full", folder / f"trimmed-{spec.fingerprint}"
    if not full.exists():
        config = json.loads((demo / "qwen3-vl-tiny/config.json").read_text())
        config["text_config"] = {**config["text_config"], **TEXT, "rope_parameters": ROPE}
        config["vision_config"] = {
            **config["vision_config"],
            **VISION,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": DEEPSTACK,
        }
        shutil.copytree(demo / "qwen3-vl-tiny", full, ignore=shutil.ignore_patterns("*.safetensors", "pinembed.json"))
        (full / "config.json").write_text(json.dumps(config))
        torch.manual_seed(0)
        made = transformers.Qwen3VLForConditionalGeneration(transformers.AutoConfig.from_pretrained(full))
        made.save_pretrained(full)
    if not trimmed.exists():
        trim(TrimSettings(model=str(full), out=trimmed))
        table_VH = TrimmedModel.load(trimmed).token_embeddings_VH
        projector = new_projector(
            dim=spec.dim, tokens=TOKENS, token_embeddings_VH=table_VH, encoder_fingerprint=spec.fingerprint, seed=0
        )
        save_projector(projector, trimmed)
    return full, trimmed


def picture(rng: np.random.Generator) -> dict[str, Any]:
    """A content part of a smooth drawn picture, which no cache has seen."""
    small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    written = io.BytesIO()
    small.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC).save(written, "JPEG", quality=90)
    url = f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def first_tokens(python: Path, work: Path, demo: Path) -> dict[str, Any]:
    """Seconds of requests that want one token, by turns of both kinds, each with 8 items of its own."""
    from tests.benchmarks.serve_vllm import post

    full, trimmed = make_models(work / "pixels", demo)
    requests = ServingRequests.open(model=trimmed, source=demo / "source", deepstack_levels=len(DEEPSTACK))
    rng, ids = np.random.default_rng(0), requests.source.ids[:]
    seconds: dict[str, list[float]] = {"pixels": [], "stored": []}
    cpu_seconds: dict[str, list[float]] = {"pixels": [], "stored": []}
    prompts: dict[str, int] = {}
    with serving(python, full, work / "vllm-pixels.log", *FLAGS) as url:
        for number in range(TIMES + 1):
            chosen = ids[number * IMAGES : (number + 1) * IMAGES]
            for kind, parts in (
                ("pixels", [picture(rng) for _ in range(IMAGES)]),
                ("stored", requests.vllm_parts(chosen)),
            ):
                content = [*parts, {"type": "text", "text": "Which of these is blue?"}]
                body = {"model": "shop", "messages": [{"role": "user", "content": content}], "temperature": 0}
                began_s, used_s = time.perf_counter(), _cpu_s()
                answer = post(url, {**body, "max_tokens": 1})
                seconds[kind].append(time.perf_counter() - began_s)
                cpu_seconds[kind].append(_cpu_s() - used_s)
                prompts[kind] = answer["usage"]["prompt_tokens"]
    medians = {kind: float(np.median(measured[1:])) for kind, measured in seconds.items()}
    return {
        "images": IMAGES,
        "image_px": IMAGE_PX,
        "prompt_tokens": prompts,
        "median_s": medians,
        "all_s": {kind: [round(second, 3) for second in measured[1:]] for kind, measured in seconds.items()},
        "times_sooner": medians["pixels"] / medians["stored"],
        "cpu_median_s": {kind: float(np.median(measured[1:])) for kind, measured in cpu_seconds.items()},
    }


def _cpu_s() -> float:
    """CPU seconds of all that this process started, the server's, which neighbours on the machine change little."""
    times = (process.cpu_times() for process in psutil.Process().children(recursive=True))
    return sum(time.user + time.system for time in times)
