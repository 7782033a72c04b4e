"""What int8 and binary keep of the ten nearest rows, beside Lance's index of fp16, and what Lance does with int8.

Needs a table of `encode --dtype fp32`. Recall@10 is against exact search in fp32; the queries are rows, which do not
find themselves, and texts of a column. `--rows` adds rows that lie between two of the table.

usage: PYTHONPATH=. python tests/benchmarks/stored_forms.py TABLE --text COLUMN [--rows 200000]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.nouns.item import text_of_value
from pinembed.table.embedding_table import LANCE_ERRORS, EmbeddingTable
from pinembed.table.queries import query_encoder
from pinembed.table.schema import VECTOR
from pinembed.table.upkeep import RECALL_K, REFINE_FACTOR

QUERIES = 300
FOUND = RECALL_K + 1  # the query itself may be among them
Floats = NDArray[np.float32]
Rows = NDArray[np.integer[Any]]
Search = Callable[[Floats], Rows]
"""A query (D,) to the rows that it finds, best first."""


def normalised(vectors_ND: Floats) -> Floats:
    return np.asarray(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True), np.float32)


def enlarged(vectors_ND: Floats, rows: int, random: np.random.Generator) -> Floats:
    first, second = random.integers(0, len(vectors_ND), (2, max(0, rows - len(vectors_ND))))
    share_N1 = random.uniform(0.5, 0.9, (len(first), 1)).astype(np.float32)
    return np.concatenate([vectors_ND, normalised(share_N1 * vectors_ND[first] + (1 - share_N1) * vectors_ND[second])])


def best(scores_N: Floats, k: int = FOUND) -> Rows:
    top = np.argpartition(-scores_N, k)[:k] if k < len(scores_N) else np.arange(len(scores_N))
    return top[np.argsort(-scores_N[top])]


def products(gallery_ND: Floats) -> Search:
    return lambda query_D: best(gallery_ND @ query_D)


def rescored(find: Search, gallery_ND: Floats) -> Search:
    def search(query_D: Floats) -> Rows:
        found = find(query_D)
        return found[best(gallery_ND[found] @ query_D)]

    return search


def dataset_of(stored: Any, folder: str) -> lance.LanceDataset:
    column = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), stored.shape[1])
    return lance.write_dataset(pa.table({VECTOR: column, "row": np.arange(len(stored))}), folder)


def indexed(stored: Any, folder: str, kind: str, metric: str) -> lance.LanceDataset:
    """With Lance's index in its usual settings."""
    dataset = dataset_of(stored, folder)
    dataset.create_index(VECTOR, kind, metric=metric)
    return dataset


def by_index(dataset: lance.LanceDataset, query: Any, k: int, metric: str) -> Rows:
    """Candidates are scored again by what the column holds, as `search` asks."""
    nearest = {"column": VECTOR, "q": query, "k": k, "metric": metric, "refine_factor": REFINE_FACTOR}
    return np.asarray(dataset.to_table(columns=["row", "_distance"], nearest=nearest)["row"])


def forms_of(gallery_ND: Floats, folder: str) -> list[tuple[str, float, Search]]:
    """Name, bytes of a float and search of each form."""
    int8_ND = normalised(int8_of(gallery_ND).astype(np.float32))
    fp16_ND = gallery_ND.astype(np.float16)
    about_mean_ND = np.where(gallery_ND > gallery_ND.mean(axis=0), np.float32(1), np.float32(-1))
    bits = indexed(np.packbits(gallery_ND > 0, axis=1), f"{folder}/bits", "IVF_FLAT", "hamming")
    fp16 = indexed(fp16_ND, f"{folder}/fp16", "IVF_RQ", "cosine")

    def signs(k: int) -> Search:
        return lambda query_D: by_index(bits, np.packbits(query_D > 0), k, "hamming")

    return [
        ("fp16", 2, products(fp16_ND.astype(np.float32))),
        ("int8", 1, products(int8_ND)),
        ("signs, IVF_FLAT", 1 / 8, signs(FOUND)),
        ("signs, IVF_FLAT, 100 by int8", 9 / 8, rescored(signs(100), int8_ND)),
        ("signs, IVF_FLAT, 1,000 by int8", 9 / 8, rescored(signs(1000), int8_ND)),
        ("signs about the mean, floats ask", 9 / 8, rescored(lambda q_D: best(about_mean_ND @ q_D, 100), int8_ND)),
        ("fp16, IVF_RQ, 100 by fp16", 17 / 8, lambda query_D: by_index(fp16, query_D, FOUND, "cosine")),
    ]


def int8_of(vectors_ND: Floats) -> NDArray[np.int8]:
    """Each row by its own largest float; the cosine needs no scale."""
    return np.rint(vectors_ND / np.abs(vectors_ND).max(axis=1, keepdims=True) * 127).astype(np.int8)


def says(act: Callable[[], Any]) -> str:
    try:
        act()
    except (*LANCE_ERRORS, TypeError) as error:
        return str(error).split("\n", 1)[0]
    return "works"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--text", required=True)
    parser.add_argument("--rows", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    table = EmbeddingTable.open(given.table)
    stored = table.dataset.to_table(columns=[VECTOR, given.text])
    vectors_ND = np.unique(np.stack(stored[VECTOR].to_numpy()), axis=0).astype(np.float32)
    texts = sorted({text_of_value(value) for value in stored[given.text].to_pylist() if value is not None})[:QUERIES]
    drawn = random.choice(len(vectors_ND), min(QUERIES, len(vectors_ND)), replace=False)
    asked = [(vectors_ND[row], row) for row in drawn.tolist()]
    asked += [(query_D, -1) for query_D in query_encoder(table, tower="text").embed_texts(texts).numpy()]
    gallery_ND = enlarged(vectors_ND, given.rows, random)

    def answers(search: Search) -> list[set[int]]:
        found = [[one for one in search(query_D).tolist() if one != row] for query_D, row in asked]
        return [{*rows[:RECALL_K]} for rows in found]

    wanted = answers(products(gallery_ND))
    print(f"{len(gallery_ND)} rows; {len(drawn)} images and {len(texts)} texts ask")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for name, bytes_each, search in forms_of(gallery_ND, folder):
            kept = [len(ours & right) / RECALL_K for ours, right in zip(answers(search), wanted, strict=True)]
            image, text = np.mean(kept[: len(drawn)]), np.mean(kept[len(drawn) :])
            print(f"{name:34} {bytes_each:5.3f} bytes   images {image:.3f}   texts {text:.3f}", flush=True)  # noqa: T201
        int8_ND = int8_of(gallery_ND)
        dataset = dataset_of(int8_ND, f"{folder}/int8")
        asks = {"column": VECTOR, "q": int8_ND[0], "k": 1, "metric": "cosine"}
        print("int8, searched:", says(lambda: dataset.to_table(nearest=asks)))  # noqa: T201
        for kind in ("IVF_FLAT", "IVF_SQ", "IVF_PQ", "IVF_RQ", "IVF_HNSW_SQ"):
            print(f"int8, {kind}:", says(lambda kind=kind: dataset.create_index(VECTOR, kind, metric="cosine")))  # noqa: T201


if __name__ == "__main__":
    main()
