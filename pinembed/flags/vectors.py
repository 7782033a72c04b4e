"""What stored vectors say of a row: whether its caption fits its picture, and its category its neighbours.

Both are ranks, so that no encoder's scale of similarities matters. A score is the share of the others that fit better
than a row's own: 0 where nothing does, about .5 where its own fits as any would. What is flagged has at least that
score, and is far out among the scores of the catalogue. Under an encoder that hardly tells its captions apart every
score is common, so that nothing is flagged; and as long as less than half of the values are wrong, they do not make
one another look common.

Shape legend: N rows, T captions, C categories, D floats of one embedding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.errors import UsageError
from pinembed.flags.checks import CAPTION_MISMATCH, LEARNED, OUTLIER
from pinembed.flags.findings import Finding
from pinembed.flags.learned import find_learned, label_of
from pinembed.nouns.item import text_of_value
from pinembed.nouns.progress import Progress
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.queries import query_encoder
from pinembed.table.schema import IMAGE_VECTOR, OWN_COLUMNS, VECTOR

LEAST_SHARE = 0.5
FAR_OUT = 3 * 1.4826  # median absolute deviations from the median; 3 standard deviations where these are normal
MOST_CAPTIONS = 4000  # that a picture is compared with, drawn from all
FEWEST_CAPTIONS, FEWEST_CATEGORIES, FEWEST_OF_CATEGORY = 20, 5, 5
USUAL_COLUMNS = {
    CAPTION_MISMATCH: ("title", "name", "caption", "text", "label", "category", "description"),
    OUTLIER: ("category", "label", "class", "kind", "product_type"),
    LEARNED: (),
}
OPTIONS = {CAPTION_MISMATCH: "--caption", OUTLIER: "--category", LEARNED: "--labels"}
ROWS_AT_ONCE = 4096
SHOWN_WORDS, SHOWN_CHARS = 3, 40
Floats = NDArray[np.float32]
EmbedTexts = Callable[[Sequence[str]], Floats]
"""Texts to (T, D) vectors of norm 1."""
Tell = Callable[[str], None]
"""Is told why a column lets a check say nothing."""


def _keep_silent(_: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class VectorChecks:
    """The checks of a table's vectors that are to be done, each with its column.

    Attributes:
        columns: by name of the check.
    """

    table: EmbeddingTable
    columns: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the checks."""
        return tuple(self.columns)

    def find(self, sha256: Sequence[str], progress: Progress, silent: dict[str, str]) -> list[Finding]:
        """What they find, one finding for a content and check.

        Args:
            sha256: contents of the rows in storage order.
            progress: is told what happens.
            silent: gets the reason, by check, of those that can say nothing.

        Raises:
            EncoderError, UsageError: the text tower cannot be loaded.
            TableError: the table cannot be read.
        """
        if not self.columns:
            return []
        progress.start("comparing vectors")
        vector_ND = read_vectors(self.table)
        finders: dict[str, Callable[..., Iterator[Finding]]] = {
            CAPTION_MISMATCH: partial(find_mismatches, embed=self._embed),
            OUTLIER: find_outliers,
            LEARNED: find_learned,
        }
        found: list[Finding] = []
        for check, column in self.columns.items():
            reasons: list[str] = []
            found += finders[check](vector_ND, read_texts(self.table, column), sha256, tell=reasons.append)
            if reasons:
                silent[check] = f"column {column} {reasons[0]}"
        progress.finish()
        return found

    def _embed(self, texts: Sequence[str]) -> Floats:
        embedded: Floats = query_encoder(self.table, tower="text").embed_texts(texts).numpy()
        return embedded


def vector_checks(
    table: EmbeddingTable, checks: Collection[str], columns: Mapping[str, str | None], *, takes_all: bool
) -> VectorChecks:
    """Those of these checks that look at vectors.

    Args:
        table: whose vectors.
        checks: that are asked for.
        columns: that are named, by check; None looks for one of a usual name.
        takes_all: a check for which there is no column is left out.

    Raises:
        UsageError: a column that is not there, none of a usual name, or labels that are none.
    """
    found = {}
    for check, usual in USUAL_COLUMNS.items():
        given = columns.get(check)
        is_there = given is not None or any(name in table.schema.names for name in usual)
        if check in checks and (is_there or not takes_all):
            found[check] = _column(table, check, given, usual)
    if LEARNED in found:
        _check_labels(read_texts(table, found[LEARNED]), found[LEARNED])
    return VectorChecks(table=table, columns=found)


def _column(table: EmbeddingTable, check: str, given: str | None, usual: Sequence[str]) -> str:
    names = [name for name in table.schema.names if name not in OWN_COLUMNS]
    found = next((name for name in usual if name in names), None) if given is None else given
    if found is None or found not in names:
        raise UsageError(
            f"--check {check} needs a column{f' {given}' if given else ''}; table {table.address} has "
            f"{', '.join(names) or 'no metadata'}.",
            remedy=f"Name one with {OPTIONS[check]}, or leave the check out.",
        )
    return found


def _check_labels(labels: Sequence[str], column: str) -> None:
    """Labels may be few, or not there yet; but where there are only other words, this is another column."""
    words = Counter(label for label in labels if label)
    if words and not any(map(label_of, words)):
        shown = ", ".join(repr(word[:SHOWN_CHARS]) for word, _ in words.most_common(SHOWN_WORDS))
        raise UsageError(
            f"--labels {column}: none of its {words.total()} values says true or false; the commonest are {shown}.",
            remedy="Name a column that says true for items that are not wanted, false for others and nothing for "
            "most, or leave --check learned out.",
        )


def read_vectors(table: EmbeddingTable) -> Floats:
    """(N, D) vectors of the pictures in storage order, of norm 1, without what metadata was fused into them."""
    name = IMAGE_VECTOR if IMAGE_VECTOR in table.schema.names else VECTOR
    parts = [batch[name].flatten().to_numpy(zero_copy_only=False).astype(np.float32) for batch in table.batches([name])]
    flat = np.concatenate(parts) if parts else np.empty(0, np.float32)
    stored_ND = flat.reshape(-1, table.spec.dim)
    vector_ND: Floats = stored_ND / np.maximum(np.linalg.norm(stored_ND, axis=1, keepdims=True), 1e-12)
    return vector_ND


def read_texts(table: EmbeddingTable, column: str) -> list[str]:
    """Of a metadata column, in storage order; empty where a row has none."""
    parts = list(table.batches([column]))
    values = pa.Table.from_batches(parts)[column].to_pylist() if parts else []
    return ["" if value is None else text_of_value(value) for value in values]


def find_mismatches(
    vector_ND: Floats, captions: Sequence[str], sha256: Sequence[str], embed: EmbedTexts, *, tell: Tell = _keep_silent
) -> Iterator[Finding]:
    """Pictures that far more of the other captions fit better than their own than is common in the catalogue.

    Args:
        vector_ND: of the pictures.
        captions: of the rows; empty for none.
        sha256: contents of the rows.
        embed: the text tower.
        tell: is told why nothing can be said.
    """
    distinct = sorted({caption for caption in captions if caption})
    if len(distinct) < FEWEST_CAPTIONS:
        tell(f"has {len(distinct)} different captions; {FEWEST_CAPTIONS} are wanted")
        return
    text_TD = embed(distinct)
    place = {caption: index for index, caption in enumerate(distinct)}
    own_N = np.array([place.get(caption, -1) for caption in captions])
    drawn_T = np.sort(np.random.default_rng(0).permutation(len(distinct))[:MOST_CAPTIONS])
    # a caption that fits every picture, as a broad one does, must not count against all: each is seen beside its mean
    centred_TD = text_TD - text_TD.mean(axis=0)
    scores_N = better_shares(vector_ND - vector_ND.mean(axis=0), centred_TD, own_N, drawn_T)
    for index in _far_out(scores_N, sha256, tell):
        yield Finding(
            sha256=sha256[index],
            check=CAPTION_MISMATCH,
            score=float(scores_N[index]),
            evidence=f"{scores_N[index]:.0%} of the other captions fit better than its own: {captions[index][:120]}",
        )


def find_outliers(
    vector_ND: Floats, categories: Sequence[str], sha256: Sequence[str], *, tell: Tell = _keep_silent
) -> Iterator[Finding]:
    """Pictures that far more of the other categories fit better than their own than is common in the catalogue.

    Args:
        vector_ND: of the pictures.
        categories: of the rows; empty for none.
        sha256: contents of the rows.
        tell: is told why nothing can be said.
    """
    counts = Counter(category for category in categories if category)
    names = sorted(name for name, count in counts.items() if count >= FEWEST_OF_CATEGORY)
    if len(names) < FEWEST_CATEGORIES:
        tell(f"has {len(names)} categories of {FEWEST_OF_CATEGORY} items and more; {FEWEST_CATEGORIES} are wanted")
        return
    place = {name: index for index, name in enumerate(names)}
    own_N = np.array([place.get(name, -1) for name in categories])
    sums_CD = np.zeros((len(names), vector_ND.shape[1]), np.float32)
    np.add.at(sums_CD, own_N[own_N >= 0], vector_ND[own_N >= 0])
    scores_N = better_shares(vector_ND, sums_CD, own_N, np.arange(len(names)), leaves_itself_out=True)
    for index in _far_out(scores_N, sha256, tell):
        yield Finding(
            sha256=sha256[index],
            check=OUTLIER,
            score=float(scores_N[index]),
            evidence=f"{scores_N[index]:.0%} of the other categories are nearer than {categories[index][:80]}.",
        )


def better_shares(
    vector_ND: Floats,
    other_TD: Floats,
    own_N: NDArray[np.int64],
    drawn_T: NDArray[np.int64],
    *,
    leaves_itself_out: bool = False,
) -> Floats:
    """(N,): of the drawn vectors, the share that is nearer to a row than its own one; -1 for a row without.

    Args:
        vector_ND: the rows.
        other_TD: what they are compared with; any norm.
        own_N: index of a row's own; -1 for none.
        drawn_T: indices that count.
        leaves_itself_out: a row is part of its own one, which is a sum, and is taken from it first.
    """
    unit_TD = other_TD / np.maximum(np.linalg.norm(other_TD, axis=1, keepdims=True), 1e-12)
    shares_N = np.full(len(vector_ND), -1, np.float32)
    for start in range(0, len(vector_ND), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(vector_ND)))
        rows = rows[own_N[rows] >= 0]
        mine_BD = other_TD[own_N[rows]]
        if leaves_itself_out:
            mine_BD = mine_BD - vector_ND[rows]
        mine_BD = mine_BD / np.maximum(np.linalg.norm(mine_BD, axis=1, keepdims=True), 1e-12)
        own_B = np.einsum("bd,bd->b", vector_ND[rows], mine_BD)
        score_BT = vector_ND[rows] @ unit_TD[drawn_T].T
        score_BT[drawn_T[None, :] == own_N[rows, None]] = -np.inf
        shares_N[rows] = (score_BT > own_B[:, None]).sum(axis=1) / max(len(drawn_T) - 1, 1)
    return shares_N


def _far_out(scores_N: Floats, sha256: Sequence[str], tell: Tell) -> Iterator[int]:
    """Of the rows whose score is far out, the worst one of each content; -1 is no score.

    Source: the median rule of Leys et al. 2013, doi:10.1016/j.jesp.2013.03.013.
    """
    known = scores_N[scores_N >= 0]
    median = float(np.median(known))
    least = max(LEAST_SHARE, median + FAR_OUT * float(np.median(np.abs(known - median))))
    if least > 1:
        tell(
            f"has values that this encoder hardly tells apart: for half of the rows, {median:.0%} and more of the "
            "others fit better than their own; tune it on the catalogue first"
        )
    worst: dict[str, int] = {}
    for index in np.argsort(-scores_N, kind="stable").tolist():
        if scores_N[index] < least:
            break
        worst.setdefault(sha256[index], index)
    yield from worst.values()
