"""A classifier on people's own labels, which flags only where it was right on labels that it had not seen.

Shape legend: N rows, L labelled rows, D floats of one embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pinembed.flags.checks import LEARNED
from pinembed.flags.findings import Finding

Floats = NDArray[np.float32]
FEWEST = 40  # of either label
FOLDS, CUTS = 5, 10
PRECISION, ERROR = 0.9, 0.05
RIDGE = 0.01
WANTED, UNWANTED = {"false", "no", "0", "0.0"}, {"true", "yes", "1", "1.0"}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """From which score on rows are flagged, and what held-out labels say of that.

    Attributes:
        flagged: held-out labels from that score on; `right` are those of what is unwanted.
        bound: precision that is surpassed with 95 % confidence, whichever cut was taken.
    """

    score: float
    flagged: int
    right: int
    bound: float


def label_of(text: str) -> float:
    """1 for what is unwanted, -1 for what is wanted, 0 for neither word."""
    word = text.strip().lower()
    return 1.0 if word in UNWANTED else -1.0 if word in WANTED else 0.0


def find_learned(
    vector_ND: Floats, labels: Sequence[str], sha256: Sequence[str], *, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Finding]:
    """Rows without a label that the classifier takes for unwanted; none where it is not sure enough.

    Args:
        vector_ND: of norm 1.
        labels: true for what is unwanted, false for what is wanted, anything else for none.
        sha256: contents of the rows; one content is never on both sides of a test.
        tell: is told why nothing can be said.
    """
    label_N = np.array([label_of(label) for label in labels], np.float32)
    known_L = np.flatnonzero(label_N)
    fold_L = np.array(
        [int(hashlib.sha256(sha256[row].encode()).hexdigest()[:8], 16) % FOLDS for row in known_L.tolist()]
    )
    unwanted, wanted = int((label_N > 0).sum()), int((label_N < 0).sum())
    if min(unwanted, wanted) < FEWEST:
        tell(f"says true of {unwanted} rows and false of {wanted}; {FEWEST} of either are wanted")
        return
    held_L = np.zeros(len(known_L), np.float32)
    for fold in range(FOLDS):
        is_out_L = fold_L == fold
        held_L[is_out_L] = _scores(vector_ND, label_N, known_L[~is_out_L], known_L[is_out_L])
    cut = choose_cut(held_L, label_N[known_L] > 0)
    if cut is None:
        tell(f"cannot be learned: from no score on are {PRECISION:.0%} of labels that were not seen right for certain")
        return
    others = np.flatnonzero(label_N == 0)
    score_O = _scores(vector_ND, label_N, known_L, others)
    seen = {sha256[row] for row in known_L.tolist()}
    for row, score in sorted(zip(others.tolist(), score_O.tolist(), strict=True), key=lambda pair: -pair[1]):
        if score >= cut.score and sha256[row] not in seen:
            seen.add(sha256[row])
            yield Finding(
                sha256=sha256[row],
                check=LEARNED,
                score=score,
                evidence=f"A classifier on your labels gives {score:.2f}; of {cut.flagged} labels that it had not seen "
                f"with {cut.score:.2f} or more, {cut.right} were right.",
            )


def choose_cut(score_L: Floats, is_unwanted_L: NDArray[np.bool_]) -> Cut | None:
    """The lowest of a few cuts whose precision is PRECISION for certain; None where none is.

    Each of the CUTS may spend a part of the error, so that having a choice makes no cut look better than it is.
    Source: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    order = np.argsort(-score_L, kind="stable")
    rights = np.cumsum(is_unwanted_L[order])
    best: Cut | None = None
    for flagged in np.unique(np.geomspace(20, len(order), CUTS).astype(int)).tolist():
        if flagged > len(order):
            continue
        right = int(rights[flagged - 1])
        bound = float(stats.beta.ppf(ERROR / CUTS, right, flagged - right + 1)) if right else 0.0
        if bound >= PRECISION:
            best = Cut(score=float(score_L[order[flagged - 1]]), flagged=flagged, right=right, bound=bound)
    return best


def _scores(
    vector_ND: Floats, label_N: Floats, trained: NDArray[np.int64], asked: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of the rows that are asked, by ridge regression on the trained ones; both labels weigh the same together."""
    train_TD, label_T = vector_ND[trained].astype(np.float64), label_N[trained]
    is_bad_T = label_T > 0
    weight_T = np.where(is_bad_T, 0.5 / max(is_bad_T.sum(), 1), 0.5 / max((~is_bad_T).sum(), 1))
    mean_D = weight_T @ train_TD
    centred_TD = train_TD - mean_D
    matrix_DD = (centred_TD * weight_T[:, None]).T @ centred_TD
    matrix_DD += RIDGE * np.trace(matrix_DD) / len(matrix_DD) * np.eye(len(matrix_DD))
    slope_D = np.linalg.solve(matrix_DD, (centred_TD * weight_T[:, None]).T @ label_T)
    score_A: NDArray[np.float32] = ((vector_ND[asked] - mean_D) @ slope_D).astype(np.float32)
    return score_A
