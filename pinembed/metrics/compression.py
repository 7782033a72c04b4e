"""What retrieval costs when embeddings are stored in fewer bytes, and the smallest form that costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from pinembed.metrics.intervals import retrieval_scores
from pinembed.metrics.retrieval import QueryScores, Score
from pinembed.metrics.split_metrics import SplitEmbeddings, measure_image_gallery
from pinembed.reports.evaluate import StorageFormat

RESCORED = 100
SCALE_BYTES = 4


@dataclass(frozen=True)
class StoredScores:
    """One stored form, query by query; the other fields are those of `StorageFormat`."""

    form: str
    encode_options: str | None
    bytes_per_item: int
    text_to_image: QueryScores
    image_to_image: QueryScores


def measure_storage_formats(split: SplitEmbeddings) -> tuple[StoredScores, ...]:
    """fp32, fp16, int8, binary with int8 rescoring, and the first dimensions alone as fp16 and int8."""
    image_ND = split.image_ND
    dim = image_ND.shape[1]
    int8_bytes = dim + SCALE_BYTES
    forms: list[tuple[str, str | None, int, Score]] = [
        ("fp32", "--dtype fp32", 4 * dim, _products(image_ND)),
        ("fp16", "--dtype fp16", 2 * dim, _products(image_ND.half().float())),
        ("int8", None, int8_bytes, _products(_int8(image_ND))),
        ("binary, then int8", None, (dim + 7) // 8 + int8_bytes, _rescored(image_ND)),
    ]
    for part in (dim // 2, dim // 4, dim // 8):
        first_ND = F.normalize(image_ND[:, :part], dim=1)
        of_all = f"first {part} of {dim}"
        forms.append((f"fp16, {of_all}", f"--dims {part}", 2 * part, _first(first_ND.half().float())))
        forms.append((f"int8, {of_all}", None, part + SCALE_BYTES, _first(_int8(first_ND))))
    found = []
    for form, options, bytes_per_item, score in forms:
        text_to_image, image_to_image = measure_image_gallery(split, score)
        found.append(StoredScores(form, options, bytes_per_item, text_to_image, image_to_image))
    return tuple(found)


def _products(gallery_GD: Tensor) -> Score:
    return lambda query_BD: query_BD @ gallery_GD.T


def _int8(embedding_ND: Tensor) -> Tensor:
    """What is read back: each row has its own scale."""
    scale_N1 = embedding_ND.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
    return (embedding_ND / scale_N1).round() * scale_N1


def _first(gallery_GD: Tensor) -> Score:
    """Queries are cut to the gallery's dimensions."""
    dims = gallery_GD.shape[1]
    return lambda query_BD: F.normalize(query_BD[:, :dims], dim=1) @ gallery_GD.T


def _rescored(embedding_ND: Tensor) -> Score:
    """Signs select the candidates and int8 reranks them; all others follow in the order of their signs."""
    sign_GD, int8_GD = embedding_ND.sign(), _int8(embedding_ND)

    def score(query_BD: Tensor) -> Tensor:
        coarse_BG = query_BD.sign() @ sign_GD.T / query_BD.shape[1] - 4
        candidates = min(RESCORED, coarse_BG.shape[1])
        index_BK = coarse_BG.topk(candidates, dim=1).indices
        return coarse_BG.scatter(1, index_BK, (query_BD @ int8_GD.T).gather(1, index_BK))

    return score


TOLERATED_LOSS = 0.01
"""Of mAP in any direction, at the far end of its 95 % interval: less is not worth bytes."""


def measure_formats(embedded: SplitEmbeddings, *, items: int, seed: int) -> tuple[StorageFormat, ...]:
    """Every form on the same queries, each compared with fp32 query by query.

    Args:
        embedded: the split; its images are stored, its queries stay fp32.
        items: of the complete catalogue, for the size of its table.
        seed: of the bootstrap.
    """
    found = measure_storage_formats(embedded)
    losses = [_largest_loss(one, found[0], seed) for one in found]
    good = [
        one.bytes_per_item
        for one, loss in zip(found, losses, strict=True)
        if one.encode_options is not None and loss <= TOLERATED_LOSS
    ]
    return tuple(
        StorageFormat(
            form=one.form,
            encode_options=one.encode_options,
            bytes_per_item=one.bytes_per_item,
            table_bytes=one.bytes_per_item * items,
            text_to_image=retrieval_scores(one.text_to_image, seed=seed),
            image_to_image=retrieval_scores(one.image_to_image, seed=seed),
            largest_loss=loss,
            recommended=one.encode_options is not None and one.bytes_per_item == min(good),
        )
        for one, loss in zip(found, losses, strict=True)
    )


def _largest_loss(one: StoredScores, full: StoredScores, seed: int) -> float:
    """Of mAP, in the direction that loses most, as far as its interval reaches."""
    pairs = ((one.text_to_image, full.text_to_image), (one.image_to_image, full.image_to_image))
    differences = [retrieval_scores(ours, theirs, seed=seed) for ours, theirs in pairs]
    return max((0.0 - found.map.low for found in differences if found is not None), default=0.0)
