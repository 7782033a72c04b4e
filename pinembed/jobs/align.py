"""Align: train the projector of a trimmed model from an embedding source and metadata alone.

Images are opened for one thing only: the look for near duplicates, where a hash makes the split.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from pinembed.assistant.call_talks import CallMaker
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.outfolder import check_output, check_space, staged_folder
from pinembed.reports.trimmed import AlignReport, CallScore, RunSettings
from pinembed.settings.model import AlignSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.taste.event import read_kinds
from pinembed.taste.time_split import cut_us
from pinembed.training.checkpoint import StatePlace
from pinembed.trimmed.align_dataset import AlignDataset, read_align_dataset
from pinembed.trimmed.align_evaluator import (
    call_score,
    customer_score,
    held_out_scores,
    own_share,
    turn_scores,
    validated,
)
from pinembed.trimmed.align_loop import Alignment, train
from pinembed.trimmed.align_recipe import choose_recipe, settle, trains_language_model
from pinembed.trimmed.align_write import adapt_projector, give_projector, write_model
from pinembed.trimmed.checkpoint import file_stamps, read_checkpoint
from pinembed.trimmed.customer_log import CustomerDataset, read_customers
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.own_dialogues import OwnDialogue, about, read_dialogues
from pinembed.trimmed.questions import Dialogue, QuestionMaker, choose_fields
from pinembed.trimmed.talks import TalkMaker
from pinembed.trimmed.write_back import check_can_learn, check_can_write_back

JUDGED_CALLS = 200


def align(settings: AlignSettings, *, progress: Progress = SILENT, stop: Stop | None = None) -> AlignReport:
    """Teach a trimmed model to read a source's embeddings, and measure how well it does on items it never saw.

    A run that was stopped goes on where it was when it is started again with the same settings. A projector in the
    model's folder for the same encoder is trained on.

    Raises:
        DataError: no metadata, no field to ask about, no split to judge by, no item in the source.
        DataError: events without choices on both sides of the cut.
        UsageError: an unknown field, a cut that is no time, or numbers that cannot be meant.
        ModelError: no trimmed model, or one that cannot learn what is asked for.
        TrainingError: the loss is not finite.
        StoppedError: a signal; the state is stored.
        SourceError, OutputExistsError, MissingExtraError: as elsewhere.
    """
    began = time.perf_counter()
    check_output(settings.out, overwrite=settings.overwrite)
    checkpoint = read_checkpoint(settings.model)
    recipe = choose_recipe(checkpoint)
    learns = bool(settings.lora) or trains_language_model(settings, recipe)
    if learns:
        check_can_learn(checkpoint)
        check_space(settings.out, checkpoint.size_bytes)
    dataset = read_align_dataset(settings.data, settings.source, group=settings.group, progress=progress)
    if dataset.copies:
        copy, original = dataset.copies[0]
        progress.say(
            f"{len(dataset.copies)} {dataset.held_out_split} item(s) have nearly the embedding of a training item, "
            f"e.g. {copy} that of {original}: positives about such say little about unseen items."
        )
    chosen = choose_fields(dataset.train.items, dataset.held_out.items, wanted=settings.fields, origin=settings.data)
    told = [name for name in chosen if name in dataset.fused]
    if told:
        progress.say(
            f"The embeddings carry {', '.join(told)} beside the image, so answers about that need not come from the "
            "picture; `finetune --fusion off` makes embeddings of images alone."
        )
    own = [] if settings.dialogues is None else read_dialogues(settings.dialogues)
    customers = _customers(settings, dataset, chosen, progress)
    dtype = "float32" if trains_language_model(settings, recipe) else "auto"
    trimmed = TrimmedModel.load(settings.model, device=choose_device(settings.device), dtype=dtype)
    if learns:
        check_can_write_back(checkpoint, trimmed.model)
    adapter_cosine = None
    if settings.old_source is None:
        give_projector(trimmed, dataset, tokens=settings.tokens, seed=settings.seed)
    else:
        adapter_cosine = adapt_projector(trimmed, dataset, settings.old_source)
    tokens = trimmed.require_projector().config.tokens
    train_items, embeddings_ND = dataset.train.items, dataset.train.embeddings_ND
    dialogues = len(train_items) * (len(chosen) + 1) + (2 * len(customers.train.made) if customers else 0)
    decided = settle(settings, recipe, fields=chosen, tokens=tokens, dialogues=dialogues)
    talks = TalkMaker(QuestionMaker(train_items, chosen))
    share = decided.talks if talks.can_talk else 0.0
    calls = _Calls(trimmed, dataset, decided) if decided.calls else None
    talk_turns = round(share * len(train_items) * (len(chosen) + 1))
    call_turns = round(decided.calls * talk_turns)
    more = _More(
        own=about(own, train_items),
        customers=customers,
        talks=talks,
        talk_turns=talk_turns - call_turns,
        calls=calls,
        call_turns=call_turns,
        seed=settings.seed,
        first_row=len(train_items),
    )
    questions = QuestionMaker(train_items, chosen, seed=settings.seed, more=more.of_epoch, kept=1 - share)
    if customers is not None:
        embeddings_ND = torch.cat([embeddings_ND, customers.embeddings_CD])
    run = Alignment(trimmed, embeddings_ND, questions, decided)
    trained = sum(parameter.numel() for parameter in run.parameters)
    key = _key(settings, decided, dataset, own, customers)
    place = StatePlace(settings.out, key, suffix=".safetensors")
    place.tell_others(progress)
    earlier_s = _train(run, dataset, customers, place, key, progress, stop or Stop())
    progress.start("judging on held-out items")
    scores, comparisons, by_tokens = held_out_scores(trimmed, dataset, chosen, seed=settings.seed)
    report = AlignReport(
        out=str(settings.out),
        settings=decided,
        encoder_fingerprint=dataset.fingerprint,
        held_out=dataset.held_out_split,
        train_items=len(dataset.train.items),
        held_out_items=len(dataset.held_out.items),
        missing=dataset.missing,
        trained_parameters=trained,
        fields=scores,
        comparisons=comparisons,
        turns=turn_scores(trimmed, dataset, chosen, was_taught=bool(talk_turns), seed=settings.seed),
        own_dialogues=own_share(trimmed, dataset, about(own, dataset.held_out.items)),
        calls=None if calls is None else calls.judged(),
        customers=None if customers is None else customer_score(trimmed, customers, seed=settings.seed),
        adapter_cosine=adapter_cosine,
        by_tokens=by_tokens,
        epochs=tuple(run.state.epochs),
        kept_epoch=run.state.kept_epoch,
        seconds=earlier_s + time.perf_counter() - began,
    )
    with staged_folder(settings.out, kind="aligned model", overwrite=settings.overwrite) as folder:
        write_model(folder, trimmed, settings.model, report, progress)
    place.remove()
    progress.finish()
    return report


def _customers(
    settings: AlignSettings, dataset: AlignDataset, fields: Sequence[str], progress: Progress
) -> CustomerDataset | None:
    if settings.events is None:
        return None
    kinds, at_us = read_kinds(settings.kinds), None if settings.at is None else cut_us(settings.at)
    source = EmbeddingSource.open(settings.source)
    return read_customers(settings.events, kinds, source, dataset, fields, at_us=at_us, progress=progress)


class _Calls:
    """Wishes that become calls of tools: about training items to learn from, about held-out ones to judge by."""

    def __init__(self, trimmed: TrimmedModel, dataset: AlignDataset, decided: RunSettings) -> None:
        every, by_heart = (*dataset.train.items, *dataset.held_out.items), decided.calls_by_heart
        self.train = CallMaker(dataset.train.items, every, trimmed.writer, by_heart=by_heart)
        self._held_out = CallMaker(dataset.held_out.items, every, trimmed.writer, held_out=True, by_heart=by_heart)
        self._trimmed, self._seed = trimmed, decided.seed

    def judged(self) -> CallScore | None:
        return call_score(self._trimmed, self._held_out.draw(f"{self._seed} judging", JUDGED_CALLS))


@dataclass(frozen=True, kw_only=True)
class _More:
    """What an epoch has beside single questions about fields.

    Attributes:
        own: the user's dialogues.
        talk_turns: turns of made conversations.
        call_turns: wishes that become calls.
        first_row: where the items of the customers' choices begin.
    """

    own: Sequence[Dialogue]
    customers: CustomerDataset | None
    talks: TalkMaker
    talk_turns: int
    calls: _Calls | None
    call_turns: int
    seed: int
    first_row: int

    def of_epoch(self, epoch: int) -> list[Dialogue]:
        seed = f"{self.seed} {epoch}"
        told = [] if self.customers is None else self.customers.train.dialogues(seed, first_row=self.first_row)
        calls = [] if self.calls is None else self.calls.train.draw(f"{seed} calls", self.call_turns)
        return [*self.own, *told, *calls, *self.talks.epoch(f"{seed} talks", self.talk_turns)]


def _train(
    run: Alignment,
    dataset: AlignDataset,
    customers: CustomerDataset | None,
    place: StatePlace,
    key: str,
    progress: Progress,
    stop: Stop,
) -> float:
    """All epochs, watched on the selection items; returns the seconds that earlier parts of the run took."""
    select = QuestionMaker(dataset.select.items, run.settings.fields, seed=run.settings.seed)
    earlier_s = train(
        run,
        place=place,
        key=key,
        validate=lambda: validated(run.model, dataset.select.embeddings_ND, select, customers),
        progress=progress,
        stop=stop,
    )
    run.take_kept()
    if run.low_rank is not None:
        run.low_rank.merge()
    return earlier_s


def _key(
    settings: AlignSettings,
    decided: RunSettings,
    dataset: AlignDataset,
    own: Sequence[OwnDialogue],
    customers: CustomerDataset | None,
) -> str:
    """What a stored state must agree with before a run goes on from it."""
    identity = [
        asdict(decided),
        dataset.fingerprint,
        [item.id for item in dataset.train.items],
        file_stamps(settings.model),
        [[asdict(turn) for turn in dialogue] for dialogue in own],
        None if customers is None else customers.digest,
        None if settings.old_source is None else str(settings.old_source.resolve()),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
