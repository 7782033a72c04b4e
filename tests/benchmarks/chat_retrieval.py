"""How long `chat` searches a large table, without the model's time.

Run: `python -m tests.benchmarks.chat_retrieval --work WORK`. The table has drawn vectors and metadata of the sample
shop's kind. Turns of every form are timed, from the words to the answer; one vector stands for whatever the text tower
would give.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from pinembed.assistant.conversation import Assistant
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.state import State
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable, table_exists

TURNS = (
    "{color} mugs under {price} euros",
    "cheaper than the last",
    "not {pattern}",
    "the first one, but in {other}",
    "tell me about the second",
    "what goes with it?",
    "show me more",
    "compare the first two",
    "go back",
    "something cosy for the kitchen",
    "cheapest {kind}s",
)
"""Of one conversation; each has its own words, for what a list was found by is remembered."""
CATEGORIES = ("mug", "vase", "plant", "candle", "basket", "lamp", "chair", "cushion", "rug", "clock")
COLORS = ("mustard", "teal", "terracotta", "sage", "blush", "navy", "plum", "cream", "red", "charcoal")
PATTERNS = ("floral", "dotted", "checked", "striped", "zigzag", "plain")
BATCH_ROWS = 50_000


def make_table(address: str, rows: int, dim: int) -> EmbeddingTable:
    rng = np.random.default_rng(0)
    preprocessing = Preprocessing(image_px=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    spec = EncoderSpec(
        architecture="drawn", config_sha256="0" * 64, weights_sha256="1" * 64, dim=dim, preprocessing=preprocessing
    )
    metadata = pa.schema([(name, pa.string()) for name in ("title", "category", "color", "pattern")])
    table = EmbeddingTable.create(address, spec, metadata.append(pa.field("price", pa.float64())))
    for start in range(0, rows, BATCH_ROWS):
        count = min(BATCH_ROWS, rows - start)
        vector_ND = rng.normal(size=(count, dim)).astype(np.float32)
        vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
        names = [f"item-{number:07d}" for number in range(start, start + count)]
        columns = {
            "id": names,
            "folder": ["/drawn"] * count,
            "file_name": names,
            "title": [f"Drawn {name}" for name in names],
            **{
                name: rng.choice(values, count).tolist()
                for name, values in (("category", CATEGORIES), ("color", COLORS), ("pattern", PATTERNS))
            },
            "price": np.round(rng.uniform(5, 200, count), 2).tolist(),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.ravel().astype(np.float16)), dim),
        }
        table.dataset.insert(pa.table({name: columns[name] for name in table.schema.names if name in columns}))
    return EmbeddingTable.open(address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--times", type=int, default=10)
    asked = parser.parse_args()
    address = str(asked.work / f"db/drawn-{asked.rows}-{asked.dim}")
    there = table_exists(parse_address(address))
    table = EmbeddingTable.open(address) if there else make_table(address, asked.rows, asked.dim)
    vector_D = np.random.default_rng(1).normal(size=asked.dim).astype(np.float32)
    vector_D /= np.linalg.norm(vector_D)
    vocabulary = Vocabulary.read(table)
    retriever = Retriever(table, vocabulary, lambda texts: np.tile(vector_D, (len(texts), 1)))
    assistant = Assistant(retriever, Lexicon(vocabulary), k=5)
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(asked.times + 1):
        state = State()
        words = {
            "color": COLORS[number % 10],
            "other": COLORS[(number + 3) % 10],
            "pattern": PATTERNS[number % 6],
            "kind": CATEGORIES[-1 - number % 9],
            "price": 40 + 3 * number,
        }
        for say in TURNS:
            state, turn = assistant.turn(state, say.format(**words))
            seconds[say].append(turn.seconds.plan + turn.seconds.answer)
    every = [second for measured in seconds.values() for second in measured[1:]]  # the first round opens files
    for say, measured in seconds.items():
        sys.stdout.write(f"{say:36} {np.median(measured[1:]) * 1e3:6.0f} ms\n")
    median, p95 = np.quantile(every, (0.5, 0.95))
    sys.stdout.write(
        f"{asked.rows:,} rows x {asked.dim}: median {median * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms a turn\n"
    )


if __name__ == "__main__":
    main()
