"""A shop to talk to: a table of drawn vectors with metadata, an encoder of words, and conversations over it."""

from __future__ import annotations

import csv
import functools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.assistant.conversation import Assistant
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.rules import plan_by_rules
from pinembed.assistant.state import Moment, Search, State
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.assistant.words import stems_of
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.reports.table import SearchResult
from pinembed.table.embedding_table import EmbeddingTable

REPOSITORY = Path(__file__).parent.parent
D = 64
KINDS, COLORS = ("mug", "vase", "lamp"), ("teal", "plum", "navy", "red")
WEIGHTS_G = {
    "jacket": (250, 900),
    "boot": (700, 1500),
    "backpack": (600, 2200),
    "tent": (1200, 4500),
    "sleeping bag": (600, 2400),
}
SIZES = {"jacket": ("XS", "S", "M", "L", "XL"), "boot": ("40", "41", "42", "43", "44")}
PATTERNS, MATERIALS = ("plain", "striped", "dotted"), ("wood", "leather", "clay")


@functools.cache
def word_vector(word: str) -> NDArray[np.float32]:
    """The same random direction for a word whenever it is asked."""
    seed = int.from_bytes(word.encode()[:8].ljust(8, b"\0"), "little") % 2**32
    drawn: NDArray[np.float32] = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    return drawn


def embed_texts(texts: Sequence[str]) -> NDArray[np.float32]:
    """A text tower that knows words alone: the sum of their directions, of norm 1."""
    rows = [sum((word_vector(word) for word in stems_of(text)), np.zeros(D, np.float32)) for text in texts]
    return np.stack([row / max(float(np.linalg.norm(row)), 1e-9) for row in rows]).astype(np.float32)


def shop_rows() -> list[dict[str, Any]]:
    """Every kind in every colour and pattern; price, material, tags and stock follow from the place in the list."""
    made = [(kind, color, pattern) for kind in KINDS for color in COLORS for pattern in PATTERNS]
    return [
        {
            "id": f"{kind}-{color}-{pattern}",
            "title": f"{color.title()} {kind}, {pattern}",
            "category": kind,
            "color": color,
            "pattern": pattern,
            "material": None if number % 7 == 0 else MATERIALS[number % 3],
            "tags": ["gift"] if number % 4 == 0 else ["sale", "outlet"] if number % 4 == 1 else [],
            "in_stock": number % 5 != 0,
            "price": 5.0 + (number * 7) % 36,
        }
        for number, (kind, color, pattern) in enumerate(made)
    ]


def home_rows() -> list[dict[str, Any]]:
    """The sample shop's metadata."""
    with (REPOSITORY / "sample_images/metadata.csv").open(encoding="utf-8", newline="") as opened:
        read = list(csv.DictReader(opened))
    left_out = {"file_name", "split", "description"}
    return [{**{name: row[name] for name in row if name not in left_out}, "price": float(row["price"])} for row in read]


def outdoor_rows() -> list[dict[str, Any]]:
    """A shop whose columns have units, sizes of two kinds, lists and values of several words."""
    rng, rows = random.Random(5), []
    for number in range(600):
        kind = tuple(WEIGHTS_G)[number % len(WEIGHTS_G)]
        sizes = SIZES.get(kind, ())
        row = {
            "id": f"p{number}",
            "title": f"{kind.title()} {number}",
            "department": kind,
            "brand": rng.choice(("Norrland", "Tarn", "Kestrel", "Alpina")),
            "colour": rng.choice(("black", "dark green", "light blue", "off-white", "orange")),
            "material": rng.choice(("leather", "nylon", "suede") if kind == "boot" else ("nylon", "cotton", "down")),
            "size": rng.choice(sizes) if sizes else None,
            "gender": rng.choice(("men", "women", "kids")) if sizes else "unisex",
            "season": rng.sample(("summer", "winter", "spring"), rng.randint(1, 2)),
            "waterproof": rng.random() < 0.6,
            "weight_g": rng.randrange(*WEIGHTS_G[kind], 10),
            "capacity_l": float(rng.randrange(10, 80, 5)) if kind == "backpack" else None,
            "rating": round(rng.uniform(3, 5), 1),
            "price_usd": round(rng.uniform(40, 400), 2),
        }
        rows.append(row)
    return rows


def rows_of_wordings(name: str) -> list[dict[str, Any]]:
    """The rows that a file of `tests/wordings` is about: those beside it, which its author made up, or a shop's."""
    path = REPOSITORY / f"tests/wordings/{name}_rows.jsonl"
    if path.exists():
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return outdoor_rows() if "outdoor" in name else home_rows()


def make_table(folder: Path, rows: Sequence[dict[str, Any]], *, reference: str = "") -> EmbeddingTable:
    """A table of these rows, each with the vector of its kind, colour and pattern, and a little noise."""
    preprocessing = Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    spec = EncoderSpec(
        architecture="words", config_sha256="0" * 64, weights_sha256="1" * 64, dim=D, preprocessing=preprocessing
    )
    metadata = pa.Table.from_pylist([{name: row[name] for name in row if name != "id"} for row in rows])
    table = EmbeddingTable.create(str(folder / "db/shop"), spec, metadata.schema, reference=reference)
    noise_ND = np.random.default_rng(0).normal(size=(len(rows), D)) * 0.02
    said = [" ".join(str(row.get(name) or "") for name in ("category", "color", "pattern")) for row in rows]
    vector_ND = embed_texts(said) + noise_ND
    vector_ND /= np.linalg.norm(vector_ND, axis=1, keepdims=True)
    columns = {
        "id": [row["id"] for row in rows],
        "folder": ["/nowhere"] * len(rows),
        "file_name": [f"{row['id']}.jpg" for row in rows],
        **{name: metadata[name] for name in metadata.column_names},
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vector_ND.ravel().astype(np.float16)), D),
    }
    table.dataset.insert(pa.table({name: columns[name] for name in table.schema.names if name in columns}))
    return EmbeddingTable.open(str(folder / "db/shop"))


class Shop:
    """A table, what can be said of it, and somebody who answers."""

    def __init__(self, table: EmbeddingTable, **options: Any) -> None:
        self.table = table
        self.vocabulary = Vocabulary.read(table)
        self.lexicon = Lexicon(self.vocabulary)
        self.retriever = Retriever(table, self.vocabulary, embed_texts, **options)
        self.assistant = Assistant(self.retriever, self.lexicon, k=5)

    def shown(self, *ids: str) -> list[SearchResult]:
        return self.retriever.rows(ids)

    def state(self, *ids: str, focus: Sequence[str] = ()) -> State:
        """A conversation that shows these items."""
        return State(now=Moment(search=Search(), shown=ids, focus=tuple(focus)) if ids else Moment())

    def act(self, say: str, *ids: str, focus: Sequence[str] = ()) -> dict[str, Any]:
        """The act that the rules make of what is said while these items are shown."""
        plan = plan_by_rules(say, self.state(*ids, focus=focus), self.shown(*ids), self.lexicon)
        return plan.act.to_json()

    def talk(self, *says: str) -> list[Any]:
        """The turns of a conversation."""
        state, turns = State(conversation="test"), []
        for say in says:
            state, turn = self.assistant.turn(state, say)
            turns.append(turn)
        return turns
