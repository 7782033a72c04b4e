"""What `caption_mismatch` and `outlier` find of values that were exchanged, by the vectors of a table.

    python tests/benchmarks/audit_vectors.py TABLE [--caption title] [--category label] [--exchanged .05] [--split test]

A share of the rows gets the value of another row. Printed are the AUC of the scores, precision and recall of what the
checks flag, and precision at the top of the ranking of all scores; a precision holds for this share.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from audit_damage import auc
from numpy.typing import NDArray

from pinembed.flags import vectors
from pinembed.flags.findings import Finding
from pinembed.flags.vectors import find_mismatches, find_outliers, read_texts, read_vectors
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.queries import query_encoder

Find = Callable[[Sequence[str], Sequence[str]], Iterable[Finding]]


def exchanged(values: Sequence[str], share: float) -> tuple[list[str], NDArray[np.bool_]]:
    """Values, a share of them another row's, and where."""
    rng = np.random.default_rng(1)
    changed = list(values)
    is_changed = np.zeros(len(values), bool)
    for row in rng.permutation(len(values))[: round(share * len(values))].tolist():
        while changed[row] == values[row]:
            changed[row] = values[int(rng.integers(len(values)))]
        is_changed[row] = True
    return changed, is_changed


def show(name: str, find: Find, values: Sequence[str], share: float) -> None:
    changed, is_changed = exchanged(values, share)
    rows = [f"{row}" for row in range(len(values))]
    is_flagged = np.zeros(len(values), bool)
    is_flagged[[int(one.sha256) for one in find(changed, rows)]] = True
    least, vectors.LEAST_SHARE, far_out, vectors.FAR_OUT = vectors.LEAST_SHARE, 0.0, vectors.FAR_OUT, -np.inf
    score_N = np.zeros(len(values))
    for one in find(changed, rows):  # every score is wanted
        score_N[int(one.sha256)] = one.score
    vectors.LEAST_SHARE, vectors.FAR_OUT = least, far_out
    say(f"{name}: {len(values):,} rows, AUC {auc(score_N[~is_changed], score_N[is_changed]):.3f}")
    precision, recall = is_changed[is_flagged].sum() / max(is_flagged.sum(), 1), is_flagged[is_changed].mean()
    say(f"  flagged {is_flagged.sum():,} ({is_flagged.mean():.1%}), precision {precision:.3f}, recall {recall:.3f}")
    ranked = is_changed[np.argsort(-score_N, kind="stable")]
    tops = (20, 100, int(is_changed.sum()))
    say("  precision of the first " + ", ".join(f"{top}: {ranked[:top].mean():.3f}" for top in tops))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--caption", default="title")
    parser.add_argument("--category", default="label")
    parser.add_argument("--exchanged", type=float, default=0.05)
    parser.add_argument("--split", help="only rows of this split")
    wanted = parser.parse_args()
    table = EmbeddingTable.open(wanted.table)
    vector_ND = read_vectors(table)
    is_asked = np.ones(len(vector_ND), bool)
    if wanted.split:
        is_asked = np.array([value == wanted.split for value in read_texts(table, "split")])
    rows = np.flatnonzero(is_asked).tolist()
    vector_ND = vector_ND[rows]
    captions, categories = (read_texts(table, name) for name in (wanted.caption, wanted.category))
    encoder = query_encoder(table, tower="text")
    show(
        f"caption_mismatch of {wanted.caption}",
        lambda values, names: find_mismatches(
            vector_ND, values, names, lambda texts: encoder.embed_texts(texts).numpy()
        ),
        [captions[row] for row in rows],
        wanted.exchanged,
    )
    show(
        f"outlier of {wanted.category}",
        lambda values, names: find_outliers(vector_ND, values, names),
        [categories[row] for row in rows],
        wanted.exchanged,
    )


if __name__ == "__main__":
    main()
