"""The evaluate job."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pinembed.catalogue.captions import make_captioner
from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.shorten import shorten
from pinembed.catalogue.slices import make_slices, slice_columns
from pinembed.catalogue.split_words import ALL, TEST, TRAIN, VALIDATION, split_named
from pinembed.catalogue.splits import check_group, decide_splits, is_hashed, items_of_split
from pinembed.encoder.context import Context
from pinembed.encoder.encoder import load_encoder, load_tokenizer
from pinembed.encoder.locate import locate_encoder
from pinembed.errors import DataError
from pinembed.evaluation.plot import check_plot, draw_comparisons
from pinembed.evaluation.questions import Answers, ItemAnswers, Questions, ask, ask_items, compare_items, make_questions
from pinembed.fusion.eval_set import cut_note
from pinembed.fusion.item_fuser import FUSE_LESS
from pinembed.generation.reading import pinned
from pinembed.machine import choose_device
from pinembed.metrics.compression import measure_formats
from pinembed.metrics.intervals import accuracy, direction_scores
from pinembed.metrics.verdict import SplitPart, decide, slice_scores, split_parts
from pinembed.nouns.item import Catalogue, Item
from pinembed.nouns.progress import SILENT, Progress
from pinembed.nouns.scores import Accuracy, Comparison, Evaluation, Scores
from pinembed.reports.evaluate import EvaluateReport
from pinembed.settings.training import EvaluateSettings


def evaluate(settings: EvaluateSettings, *, progress: Progress = SILENT) -> EvaluateReport:
    """Measure an encoder on a split; with `against`, all on the same queries, the differences and a verdict for each.

    Raises:
        DataError: the folder or its metadata cannot be used, or no image can be decoded.
        UsageError: an unknown column, split or device, or a plot without anything to draw.
        EncoderError: an encoder cannot be loaded, or gives NaN.
        MissingExtraError: a plot is wanted and matplotlib is not installed.
    """
    with pinned(settings.encoder, *settings.against, generation=settings.generation) as (encoder, *against):
        return _evaluated(dataclasses.replace(settings, encoder=encoder, against=tuple(against)), progress)


def _evaluated(settings: EvaluateSettings, progress: Progress) -> EvaluateReport:
    rivals = settings.against
    check_plot(settings.plot, has_something=bool(rivals) or settings.storage_formats)
    catalogue = read_catalogue(settings.data, progress=progress)
    by_default = _default_split(catalogue, selects=settings.storage_formats and not rivals)
    split = split_named(settings.split) if settings.split else by_default
    captioner = make_captioner(catalogue, settings.text, template=settings.template)
    for note in captioner.notes():
        progress.say(note)
    check_group(catalogue, settings.group)
    columns = slice_columns(catalogue, settings.slices, group=settings.group)
    items, trained = judged_and_trained(catalogue, split, group=settings.group, progress=progress)
    located = [locate_encoder(name) for name in (settings.encoder, *rivals)]
    contexts = [Context(load_tokenizer(files)) for files in located]
    captioner, note = shorten(captioner, contexts, items)
    if note:
        progress.say(note)
    for files, context in zip(located, contexts, strict=True):
        if files.fusion is not None and (note := cut_note(items, files.fusion.phrases, context, remedy=FUSE_LESS)):
            progress.say(f"{files.reference}: {note}")
    questions = make_questions(items, trained, captioner, group=settings.group, split=split)
    if not questions.labelled.texts:
        raise DataError(
            f"None of the {len(items)} {split} item(s) of {settings.data} has a text in {', '.join(captioner.told)}.",
            remedy="Name the columns that hold the texts with --text.",
        )
    torch_device = choose_device(settings.device)
    fusions = [files.fusion for files in located if files.fusion is not None]
    asked = []
    for reference in (settings.encoder, *rivals):  # one at a time in memory
        loaded = load_encoder(reference, dims=settings.dims, device=torch_device)
        answers = ask(loaded, questions, split=split, progress=progress)
        items_found = ask_items(loaded, answers, captioner, fusions=fusions, seed=settings.seed)
        asked.append(_Asked(answers=answers, items=items_found))
    first = asked[0].answers
    found = make_slices(first.items, captioner, columns=columns, group=settings.group, trained=trained)
    parts = split_parts(found, first.embedded.text_of_N, len(first.embedded.text_TD))
    comparisons = tuple(_comparison(asked[0], other, parts, questions, seed=settings.seed) for other in asked[1:])
    forms = (
        measure_formats(first.embedded, items=len(catalogue), seed=settings.seed) if settings.storage_formats else ()
    )
    if settings.plot is not None:
        draw_comparisons([(found.against.encoder, found.verdict) for found in comparisons], settings.plot, forms=forms)
    return EvaluateReport(
        data=str(settings.data),
        split=split,
        group=settings.group,
        text=captioner.told,
        images=len(first.items),
        texts=len(questions.labelled.texts),
        broken=first.broken,
        encoder=_evaluation(first, questions, seed=settings.seed),
        fused_items=asked[0].items.scores if asked[0].items is not None else None,
        slices=tuple(slice_scores(part, first.retrieval, seed=settings.seed) for part in parts),
        comparisons=comparisons,
        storage_formats=forms,
        plot=settings.plot,
    )


def _default_split(catalogue: Catalogue, *, selects: bool) -> str:
    """The gate must not choose; where there is no val, test has to do."""
    has_validation = is_hashed(catalogue) or VALIDATION in catalogue.splits
    return VALIDATION if selects and has_validation else TEST


def judged_and_trained(
    catalogue: Catalogue, split: str, *, group: str | None, progress: Progress = SILENT
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The items of the split that judges, and those of training unless the split holds them already.

    Raises:
        UsageError: no such split.
        DataError: the hash put no item into it.
    """
    if split == ALL:
        return catalogue.items, ()
    splits = decide_splits(catalogue, group=group, progress=progress).items
    items = items_of_split(catalogue, splits, split, group=group)
    return items, () if split == TRAIN else splits.get(TRAIN, ())


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """All that one encoder answered; `items` is None where no encoder of the comparison fuses."""

    answers: Answers
    items: ItemAnswers | None


def _comparison(
    first: _Asked, other: _Asked, parts: Sequence[SplitPart], questions: Questions, *, seed: int
) -> Comparison:
    ours, theirs = first.answers, other.answers
    verdict, items = decide(ours.retrieval, theirs.retrieval, parts, seed=seed), None
    if first.items is not None and other.items is not None:
        same_weights = ours.weights == theirs.weights
        items, verdict = compare_items(first.items, other.items, verdict, same_weights=same_weights, seed=seed)
    return Comparison(
        against=_evaluation(theirs, questions, seed=seed),
        difference=_scores(ours, theirs, questions, seed=seed),
        verdict=verdict,
        items=items,
    )


def _evaluation(answers: Answers, questions: Questions, *, seed: int) -> Evaluation:
    scores = _scores(answers, None, questions, seed=seed)
    return Evaluation(encoder=answers.encoder, fingerprint=answers.fingerprint, scores=scores)


def _scores(answers: Answers, minus: Answers | None, questions: Questions, *, seed: int) -> Scores:
    group_N = answers.embedded.group_of_N
    cluster_N = group_N[group_N < len(questions.labelled.groups)]  # only images with a group are classified

    def share(right_N: Tensor | None, minus_N: Tensor | None, gallery: int, split: str | None) -> Accuracy | None:
        if right_N is None or not len(right_N):
            return None
        return accuracy(right_N, minus_N, cluster_N=cluster_N, gallery=gallery, gallery_split=split, seed=seed)

    knn5_N, zero_shot_N = (minus.knn5_right_N, minus.zero_shot_right_N) if minus else (None, None)
    return dataclasses.replace(
        direction_scores(answers.retrieval, minus.retrieval if minus else None, seed=seed),
        knn5=share(answers.knn5_right_N, knn5_N, answers.voters, questions.voter_split),
        label_zero_shot=share(answers.zero_shot_right_N, zero_shot_N, len(questions.labelled.groups), None),
    )
