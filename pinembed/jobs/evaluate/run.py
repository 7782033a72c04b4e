"""The evaluate job.

Shape legend: N images of the split, M labelled images of the training split, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pinembed.catalogue.captions import Captioner, make_captioner
from pinembed.catalogue.metadata import read_catalogue
from pinembed.catalogue.splits import (
    ALL,
    TRAIN,
    LabelledItems,
    check_group,
    group_name,
    items_of_split,
    label_items,
    split_items,
)
from pinembed.encoder.device import choose_device
from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.jobs.evaluate.embed import embed_items
from pinembed.jobs.pixels import refuse_all_broken
from pinembed.metrics.bootstrap import accuracy, retrieval_scores
from pinembed.metrics.compression import measure_stored_forms
from pinembed.metrics.split import (
    SplitEmbeddings,
    SplitScores,
    measure_split,
    nearest_neighbours_right,
    zero_shot_right,
)
from pinembed.metrics.verdict import decide
from pinembed.nouns.evaluation import Accuracy, EvaluateReport, Evaluation, Scores, StoredForm
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT, Progress


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What every encoder of the comparison is asked.

    Attributes:
        items: of the split.
        labelled: the same items with texts and groups.
        class_N: groups as codes in the order of their names; -1 for an item without one.
        voters: items whose images vote in knn5; empty where those of the split vote for each other.
        voter_class_M: their groups in the same codes.
        voter_split: name of the voters' split.
    """

    items: tuple[Item, ...]
    labelled: LabelledItems
    class_N: Tensor
    voters: tuple[Item, ...]
    voter_class_M: Tensor
    voter_split: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one encoder answered, query by query."""

    encoder: str
    fingerprint: str
    embedded: SplitEmbeddings
    retrieval: SplitScores
    knn5_right_N: Tensor | None
    zero_shot_right_N: Tensor | None
    voters: int
    images: int
    broken: tuple[str, ...]


def evaluate(
    *,
    data: Path,
    encoder: str,
    against: str | None = None,
    split: str = "test",
    group: str | None = None,
    text: Sequence[str] = (),
    stored_forms: bool = False,
    device: str = "auto",
    seed: int = 0,
    progress: Progress = SILENT,
) -> EvaluateReport:
    """Measure an encoder on a split; with `against`, both on the same queries, their difference and a verdict.

    Args:
        data: DATA folder with metadata.
        encoder: ENCODER reference.
        against: a second ENCODER.
        split: name of the split, or `all`. Without a split column: train, val or test by the hash of the group.
        group: column whose equal values are right answers to each other.
        text: columns that make an item's text; by default those of a usual name.
        stored_forms: also measure the encoder with its embeddings stored in fewer bytes.
        device: torch device or `auto`.
        seed: of the bootstrap.
        progress: who watches.

    Raises:
        DataError: the folder or its metadata cannot be used, or no image can be decoded.
        UsageError: an unknown column, split or device.
        EncoderError: an encoder cannot be loaded, or gives NaN.
    """
    catalogue = read_catalogue(data)
    captioner = make_captioner(catalogue, text)
    check_group(catalogue, group)
    items = items_of_split(catalogue, split, group=group)
    voters = () if split in {ALL, TRAIN} else split_items(catalogue, group=group).get(TRAIN, ())
    questions = _questions(items, voters, captioner, group=group, split=split)
    torch_device = choose_device(device)
    answers = [
        _ask(load_encoder(reference, device=torch_device), questions, split=split, progress=progress)
        for reference in ([encoder] if against is None else [encoder, against])
    ]
    first, second = answers[0], answers[1] if against else None
    return EvaluateReport(
        data=str(data),
        split=split,
        group=group,
        text=captioner.fields,
        images=first.images,
        texts=len(questions.labelled.texts),
        broken=first.broken,
        encoder=_evaluation(first, questions, seed=seed),
        against=None if second is None else _evaluation(second, questions, seed=seed),
        difference=None if second is None else _scores(first, second, questions, seed=seed),
        verdict=None if second is None else decide(first.retrieval, second.retrieval, seed=seed),
        stored_forms=_stored_forms(first.embedded, seed=seed) if stored_forms else (),
    )


def _questions(
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
    return Questions(
        items=items,
        labelled=label_items(items, captioner, group=group),
        class_N=class_N,
        voters=voters if is_known else (),
        voter_class_M=voter_class_M,
        voter_split=TRAIN if is_known else split,
    )


def _ask(encoder: Encoder, questions: Questions, *, split: str, progress: Progress) -> Answers:
    name = encoder.files.architecture
    found = embed_items(encoder, questions.items, stage=f"{name}: {split} images", progress=progress)
    refuse_all_broken(questions.items, found.broken, split)
    labelled = questions.labelled
    group_N = labelled.group_of_N[found.place_N]
    text_TD = encoder.embed_texts(labelled.texts)
    embedded = SplitEmbeddings(
        image_ND=found.image_ND, text_TD=text_TD, text_of_N=labelled.text_of_N[found.place_N], group_of_N=group_N
    )
    knn5, zero_shot, voters = None, None, 0
    if labelled.groups:
        is_named_N = group_N < len(labelled.groups)
        image_ND, place_N = found.image_ND[is_named_N], found.place_N[is_named_N]
        zero_shot = zero_shot_right(image_ND, group_N[is_named_N], encoder.embed_texts(labelled.groups))
        knn5, voters = _knn5(encoder, questions, image_ND, questions.class_N[place_N], progress)
    return Answers(
        encoder=encoder.files.reference,
        fingerprint=encoder.spec.fingerprint,
        embedded=embedded,
        retrieval=measure_split(embedded),
        knn5_right_N=knn5,
        zero_shot_right_N=zero_shot,
        voters=voters,
        images=len(found.image_ND),
        broken=found.broken,
    )


def _knn5(
    encoder: Encoder, questions: Questions, image_ND: Tensor, class_N: Tensor, progress: Progress
) -> tuple[Tensor | None, int]:
    if not questions.voters:
        if len(image_ND) < 2:
            return None, 0
        return nearest_neighbours_right(image_ND, class_N, image_ND, class_N, skip_self=True), len(image_ND) - 1
    stage = f"{encoder.files.architecture}: {questions.voter_split} images"
    voting = embed_items(encoder, questions.voters, stage=stage, progress=progress)
    class_M = questions.voter_class_M[voting.place_N]
    return nearest_neighbours_right(image_ND, class_N, voting.image_ND, class_M), len(class_M)


def _stored_forms(embedded: SplitEmbeddings, *, seed: int) -> tuple[StoredForm, ...]:
    return tuple(
        StoredForm(
            form=found.form,
            bytes_per_item=found.bytes_per_item,
            text_to_image=retrieval_scores(found.text_to_image, seed=seed),
            image_to_image=retrieval_scores(found.image_to_image, seed=seed),
        )
        for found in measure_stored_forms(embedded)
    )


def _evaluation(answers: Answers, questions: Questions, *, seed: int) -> Evaluation:
    return Evaluation(
        encoder=answers.encoder,
        fingerprint=answers.fingerprint,
        scores=_scores(answers, None, questions, seed=seed),
    )


def _scores(answers: Answers, minus: Answers | None, questions: Questions, *, seed: int) -> Scores:
    pairs = zip(answers.retrieval.directions, minus.retrieval.directions if minus else (None, None, None), strict=True)
    text_to_image, image_to_text, image_to_image = (retrieval_scores(ours, theirs, seed=seed) for ours, theirs in pairs)
    return Scores(
        text_to_image=text_to_image,
        image_to_text=image_to_text,
        image_to_image=image_to_image,
        knn5=_accuracy(
            answers.knn5_right_N, minus.knn5_right_N if minus else None, answers.voters, questions.voter_split, seed
        ),
        label_zero_shot=_accuracy(
            answers.zero_shot_right_N,
            minus.zero_shot_right_N if minus else None,
            len(questions.labelled.groups),
            None,
            seed,
        ),
    )


def _accuracy(
    right_N: Tensor | None, minus_N: Tensor | None, gallery: int, gallery_split: str | None, seed: int
) -> Accuracy | None:
    if right_N is None or not len(right_N):
        return None
    return accuracy(right_N, minus_N, gallery=gallery, gallery_split=gallery_split, seed=seed)
