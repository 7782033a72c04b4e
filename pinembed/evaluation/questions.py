"""The queries of a comparison, and what each encoder retrieves for them: images, texts, and items with metadata.

Shape legend: N images of the split, M labelled images of the training split, D embedding floats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.catalogue.captions import Captioner
from pinembed.catalogue.split_words import TRAIN
from pinembed.catalogue.splits import LabelledItems, group_name, label_items
from pinembed.encoder.encoder import Encoder
from pinembed.fusion.choose import find_loss, item_figures, item_scores
from pinembed.fusion.eval_set import ItemSearch, make_eval_set, text_fields
from pinembed.images.pixel_cache import decoded_batches, refuse_all_broken
from pinembed.images.pool import shared_pool
from pinembed.metrics.split_metrics import (
    SplitEmbeddings,
    SplitScores,
    knn_is_correct,
    measure_split,
    zero_shot_is_correct,
)
from pinembed.nouns.encoder_spec import Fusion
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.nouns.scores import ItemComparison, ItemScores, Verdict


@dataclass(frozen=True, kw_only=True)
class EmbeddedItems:
    """Image embeddings of the items that could be decoded.

    Attributes:
        image_ND: unit rows, float32.
        index_N: index of each row's item in the sequence that was embedded.
        broken: file names of the others.
    """

    image_ND: Tensor
    index_N: Tensor
    broken: tuple[str, ...]


def embed_items(encoder: Encoder, items: Sequence[Item], *, stage: str, progress: Progress) -> EmbeddedItems:
    """Decode and embed; a broken image is named and passed over."""
    progress.start(stage, len(items), "img")
    rows, indices, broken = [torch.empty(0, encoder.dim)], list[int](), list[str]()
    for batch in decoded_batches(items, shared_pool(encoder.preprocessing)):
        if batch.indices:
            rows.append(encoder.embed_images(batch.pixels_BCHW))
        indices.extend(batch.indices)
        broken.extend(batch.broken)
        progress.advance(len(batch.indices) + len(batch.broken), f"{len(broken)} broken" if broken else "")
    progress.finish()
    return EmbeddedItems(
        image_ND=torch.cat(rows), index_N=torch.tensor(indices, dtype=torch.int64), broken=tuple(broken)
    )


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What every encoder of the comparison is asked.

    Attributes:
        labelled: the same items with texts and groups.
        class_names: the groups of `labelled` as zero-shot asks for them.
        class_N: groups as codes in the order of their names; -1 for an item without one.
        voters: items whose images vote in knn5; empty where those of the split vote for each other.
        voter_class_M: their groups in the same codes.
        voter_split: name of the voters' split.
    """

    items: tuple[Item, ...]
    labelled: LabelledItems
    class_names: tuple[str, ...]
    class_N: Tensor
    voters: tuple[Item, ...]
    voter_class_M: Tensor
    voter_split: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one encoder answered, query by query.

    Attributes:
        weights: fingerprint of the encoder without its fusion.
        items: those whose image could be decoded.
    """

    encoder: str
    fingerprint: str
    weights: str
    embedded: SplitEmbeddings
    retrieval: SplitScores
    knn5_right_N: Tensor | None
    zero_shot_right_N: Tensor | None
    voters: int
    items: tuple[Item, ...]
    broken: tuple[str, ...]


def make_questions(
    items: tuple[Item, ...], voters: tuple[Item, ...], captioner: Captioner, *, group: str | None, split: str
) -> Questions:
    """Training images vote in knn5 where they know most of the split's groups; else the split votes for itself."""
    voters = tuple(item for item in voters if group_name(item, group))
    names = sorted({group_name(item, group) for item in (*items, *voters)} - {""})
    codes = {name: code for code, name in enumerate(names)}
    class_N, voter_class_M = (
        torch.tensor([codes.get(group_name(item, group), -1) for item in some], dtype=torch.int64)
        for some in (items, voters)
    )
    is_known = bool(torch.isin(class_N, voter_class_M).double().mean() > 0.5)
    labelled = label_items(items, captioner, group=group)
    return Questions(
        items=items,
        labelled=labelled,
        class_names=tuple(captioner.group_names(group, labelled.groups) if group else ()),
        class_N=class_N,
        voters=voters if is_known else (),
        voter_class_M=voter_class_M,
        voter_split=TRAIN if is_known else split,
    )


def ask(encoder: Encoder, questions: Questions, *, split: str, progress: Progress) -> Answers:
    """Embed the split and everything it is asked, and measure retrieval and classification query by query."""
    name = encoder.files.architecture
    found = embed_items(encoder, questions.items, stage=f"{name}: {split} images", progress=progress)
    refuse_all_broken(questions.items, found.broken, split)
    labelled = questions.labelled
    group_N = labelled.group_of_N[found.index_N]
    text_TD = encoder.embed_texts(labelled.texts)
    embedded = SplitEmbeddings(
        image_ND=found.image_ND, text_TD=text_TD, text_of_N=labelled.text_of_N[found.index_N], group_of_N=group_N
    )
    knn5, zero_shot, voters = None, None, 0
    if labelled.groups:
        is_named_N = group_N < len(labelled.groups)
        image_ND, index_N = found.image_ND[is_named_N], found.index_N[is_named_N]
        zero_shot = zero_shot_is_correct(image_ND, group_N[is_named_N], encoder.embed_texts(questions.class_names))
        knn5, voters = _knn5(encoder, questions, image_ND, questions.class_N[index_N], progress)
    spec = encoder.spec
    return Answers(
        encoder=encoder.files.reference,
        fingerprint=spec.fingerprint,
        weights=dataclasses.replace(spec, fusion=None).fingerprint,
        embedded=embedded,
        retrieval=measure_split(embedded),
        knn5_right_N=knn5,
        zero_shot_right_N=zero_shot,
        voters=voters,
        items=tuple(questions.items[index] for index in found.index_N.tolist()),
        broken=found.broken,
    )


def _knn5(
    encoder: Encoder, questions: Questions, image_ND: Tensor, class_N: Tensor, progress: Progress
) -> tuple[Tensor | None, int]:
    if not questions.voters:
        if len(image_ND) < 2:
            return None, 0
        return knn_is_correct(image_ND, class_N, image_ND, class_N, skip_self=True), len(image_ND) - 1
    stage = f"{encoder.files.architecture}: {questions.voter_split} images"
    voting = embed_items(encoder, questions.voters, stage=stage, progress=progress)
    class_M = questions.voter_class_M[voting.index_N]
    return knn_is_correct(image_ND, class_N, voting.image_ND, class_M), len(class_M)


MOST_TEXTS = 1000  # of each field, drawn at random: titles and descriptions are as many as items


@dataclass(frozen=True, kw_only=True)
class ItemAnswers:
    """How one encoder's items are found by the queries of the comparison.

    Attributes:
        found: its items as `encode` stores them: fused, or images alone.
        scores: figures of its fusion beside its images alone; None where it has no fusion.
        query_fields: columns whose values asked.
    """

    found: ItemSearch
    scores: ItemScores | None
    query_fields: tuple[str, ...]


def ask_items(
    encoder: Encoder, answers: Answers, captioner: Captioner, *, fusions: Sequence[Fusion], seed: int
) -> ItemAnswers | None:
    """Items of the images that the encoder has answered with; None where no encoder of the comparison fuses.

    Args:
        encoder: that answered.
        answers: with its images.
        captioner: names the columns that may ask.
        fusions: of all encoders of the comparison, so that all are asked by the same queries, none of them a text that
            any one's items carry.
        seed: draws queries where there are many.
    """
    if not fusions:
        return None
    own, embedded = encoder.files.fusion, answers.embedded
    eval_set = make_eval_set(
        answers.items,
        embedded.image_ND,
        embedded.group_of_N,
        embedded.text_of_N,
        phrases=own.phrases if own else {},
        carried={name: phrase for fusion in fusions for name, phrase in fusion.phrases.items()},
        query_fields=text_fields(answers.items, captioner.fields),
        embed_texts=encoder.embed_texts,
    )
    for fusion in fusions:
        eval_set = eval_set.without_sole_field(fusion)
    fewer = eval_set.subsampled(MOST_TEXTS, len(answers.items), seed)
    return ItemAnswers(
        found=fewer.search(own),
        scores=None if own is None else item_scores(fewer, own, seed=seed),
        query_fields=fewer.query_fields,
    )


def compare_items(
    ours: ItemAnswers, theirs: ItemAnswers, verdict: Verdict, *, same_weights: bool, seed: int
) -> tuple[ItemComparison, Verdict]:
    """Items compared with a rival's, and the verdict on images and texts revised by them.

    Encoders of the same weights differ in nothing but their items, which then decide; others must not lose there.
    """
    comparison = ItemComparison(
        query_fields=ours.query_fields,
        challenger=item_figures(ours.found, None, seed),
        champion=item_figures(theirs.found, None, seed),
        difference=item_figures(ours.found, theirs.found, seed),
    )
    loss = find_loss(ours.found, theirs.found, seed=seed, must_gain=same_weights)
    if same_weights:
        reason = f"The weights are the same, so items decide: {loss or 'they are found better, and nowhere worse.'}"
        return comparison, dataclasses.replace(verdict, promoted=loss is None, reason=reason)
    if verdict.promoted and loss is not None:
        return comparison, dataclasses.replace(
            verdict, promoted=False, reason=f"As items of image and metadata, {loss}"
        )
    return comparison, verdict
