"""Which family of models went through which step: `python -m tests.benchmarks.trimmed_families`.

Prints the table of docs/trimmed-model.md. The weights are tiny and seeded, the forms are the published ones.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

from pinembed.errors import ModelError
from pinembed.jobs.bench_vlm import bench_vlm
from pinembed.jobs.trim import trim
from pinembed.settings.measuring import BenchVlmSettings
from pinembed.settings.model import TrimSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.serving import ServingRequests
from pinembed.trimmed.soft_tokens import from_base64
from tests.published_forms import FORMS, aligned, headers, served_by_vllm, weights, write_form
from tests.test_align import write_rows, write_shop

QUESTION, ITEMS = "color?", ["i0", "i1"]
WAYS = {
    "projector": {"train_language_model": False},
    "all": {"train_language_model": True, "language_lr": 0.05},
    "LoRA": {"lora": 2, "language_lr": 0.5},
}


def reloaded(folder: Path) -> str:
    """Keys that stock transformers misses or does not expect."""
    _, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    return f"{len(info['missing_keys'])}, {len(info['unexpected_keys'])}"


def written(trimmed: Path, shop: Path, source: Path, folder: Path) -> list[str]:
    """For each way of learning, whether the written tensors are those of the base."""
    told = []
    for way, settings in WAYS.items():
        try:
            out = aligned(trimmed, shop, source, folder / way, **settings)
        except ModelError:
            told.append("refused")
            continue
        old, new = weights(trimmed), weights(out)
        learned = any(not torch.equal(old[name].view(torch.uint8), new[name].view(torch.uint8)) for name in old)
        equal = headers(out) == headers(trimmed) and learned == (way != "projector")
        told.append("equal" if equal else "DIFFER")
    return told


def served(folder: Path, source: Path) -> list[str]:
    """Whether an answer comes, and whether both servers' formats hold prompt and soft tokens of `ask`."""
    model, requests = TrimmedModel.load(folder), ServingRequests.open(model=folder, source=source)
    rows_ID = EmbeddingSource.open(source).get(ITEMS)
    model.generate([QUESTION], [rows_ID], max_new_tokens=4)
    batch, soft_ImH = model.write([QUESTION], [rows_ID])
    ids, wire = batch.input_ids_BT[0].tolist(), soft_ImH.detach().half().numpy().tobytes()
    body, request = requests.vllm(ITEMS, QUESTION), requests.sglang(ITEMS, QUESTION)
    embeds = [part["image_embeds"]["image_embeds"] for part in body["messages"][0]["content"][:-1]]
    prompt = model.writer.tokenizer.decode([token for token in ids if token != model.writer.pad_id])
    vllm = b"".join(from_base64(text).tobytes() for text in embeds) == wire and served_by_vllm(body, model) == prompt
    [entry] = request["image_data"]
    sglang = entry["precomputed_embeddings"].numpy().tobytes() == wire and request["input_ids"] == ids
    return ["answers", "equal" if vllm else "DIFFERS", "equal" if sglang else "DIFFERS"]


def measured(full: Path) -> str:
    """For how many numbers of images both models were timed."""
    settings = BenchVlmSettings(model=full, images=(1, 2), image_px=64, dim=16, repeats=1, dtype="float32")
    return f"{len(bench_vlm(settings).comparisons)} of {len(settings.images)}"


def show(name: str, cells: list[str]) -> None:
    sys.stdout.write(f"| {' | '.join([name, *cells])} |\n")
    sys.stdout.flush()


def main() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    columns = ["reload: missing, unexpected", "verify: difference"]
    columns += [f"align {way}" for way in WAYS] + ["ask", "vLLM", "SGLang", "bench vlm"]
    show("published form", columns)
    show("---", ["---"] * len(columns))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        shop, source = write_shop(root / "shop", items=24), write_rows(root / "source", items=24)
        for number, (name, form) in enumerate(FORMS.items()):
            folder = root / str(number)
            full, trimmed = write_form(folder / "full", form), folder / "trimmed"
            parity = trim(TrimSettings(model=str(full), out=trimmed, verify=True)).parity
            cells = [reloaded(trimmed), str(max(check.max_difference for check in parity))]
            cells += [*written(trimmed, shop, source, folder), *served(folder / "projector", source), measured(full)]
            show(name, cells)


if __name__ == "__main__":
    main()
