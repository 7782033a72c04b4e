"""A split in an encoder's space, ready to be searched under any fusion, and which texts may query it.

Shape legend: N items, T distinct texts, D embedding floats.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pinembed.catalogue.splits import codes_of
from pinembed.encoder.context import Context, CutCount
from pinembed.encoder.fusion import fuse
from pinembed.metrics.retrieval import DirectionScores, QueryScores
from pinembed.metrics.split_metrics import TextQueries, images_to_items, pooled, texts_to_items
from pinembed.nouns.encoder_spec import Fusion
from pinembed.nouns.item import Item, text_of_value

FEWEST_SHARE = 0.1
COPIED_SHARE = 0.5
FEWEST_PHRASE_WORDS = 3
LEAST_WEIGHT = 0.01  # a word that every item has still tells equal texts from others
WORD = re.compile(r"\w+")
EmbedTexts = Callable[[Sequence[str]], Tensor]
"""Texts to (T, D) unit rows."""
Phrases = Mapping[str, Callable[[str], str]]
"""By field, what makes a text of its value."""


@dataclass(frozen=True, kw_only=True)
class FieldTexts:
    """The values of one field as texts.

    Attributes:
        texts: distinct ones.
        text_of_N: int64, index of an item's in `texts`; -1 where it is missing.
    """

    texts: tuple[str, ...]
    text_of_N: Tensor


def text_fields(items: Sequence[Item], names: Sequence[str]) -> tuple[str, ...]:
    """Of these columns those that hold text, in at least a tenth of the items and not the same one in all.

    Numbers and dates are none: no text tower reads digits well.
    """
    found = []
    for name in names:
        values = [value for item in items if text_of_value(value := item.fields.get(name))]
        is_text = all(isinstance(value, str | list | tuple) for value in values)
        if is_text and len(values) >= FEWEST_SHARE * len(items) and len(set(map(text_of_value, values))) > 1:
            found.append(name)
    return tuple(found)


def field_texts(items: Sequence[Item], name: str, phrase: Callable[[str], str] = str) -> FieldTexts:
    """The values of one field, phrased."""
    values = (text_of_value(item.fields.get(name)) for item in items)
    texts, text_of_N = codes_of(phrase(value) if value else "" for value in values)
    return FieldTexts(texts=texts, text_of_N=text_of_N)


def fused_texts(items: Sequence[Item], phrases: Phrases) -> set[str]:
    """All texts that are embedded to become part of these items' vectors."""
    return {text for name, phrase in phrases.items() for text in field_texts(items, name, phrase).texts}


def cut_note(items: Sequence[Item], phrases: Phrases, context: Context, *, remedy: str) -> str:
    """A sentence about texts in these items' vectors that the tower reads only the beginning of; empty for none.

    Each stands alone, as `encode` embeds it.
    """
    count = CutCount(context=context)
    count.add(fused_texts(items, phrases))
    told = count.told(remedy)
    return told and f"texts in items' vectors: {told}"


def copied_texts(queries: FieldTexts, fused: Sequence[FieldTexts], group_of_N: Tensor) -> set[int]:
    """Queries that a positive carries as its own text, in the same words or nearly so.

    Near is half of the words of both, weighed by how rare a word is: `Ginger` and `Ginger Class 1` are copies where
    every item has a class, `mug` and `Floral mug in mustard` are not. A description that repeats a title of three words
    or more, word for word, makes copies of both.

    Args:
        queries: texts of one field.
        fused: texts of the other fields that are, or may become, part of the items.
        group_of_N: code of the item's group; its items are positives too.

    Returns:
        indices in `queries.texts`.
    """
    weigh = _rarity([queries, *fused])
    asked = [_words(text) for text in queries.texts]
    carried = [[_words(text) for text in field.texts] for field in fused]
    groups_of_text: dict[int, set[int]] = defaultdict(set)
    texts_of_group: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for index, (group, text) in enumerate(zip(group_of_N.tolist(), queries.text_of_N.tolist(), strict=True)):
        groups_of_text[text].add(group)
        texts_of_group[group].update((number, int(field.text_of_N[index])) for number, field in enumerate(fused))
    copied = set()
    for text, asked_words in enumerate(asked):
        answers = set().union(*(texts_of_group[group] for group in groups_of_text[text]))
        if any(index >= 0 and _is_copy(asked_words, carried[field][index], weigh) for field, index in answers):
            copied.add(text)
    return copied


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower()) or [text]


def _rarity(fields: Sequence[FieldTexts]) -> Mapping[str, float]:
    """Logarithm of the share of items that a word does not occur in."""
    items = len(fields[0].text_of_N)
    found: list[set[str]] = [set() for _ in range(items)]
    for field in fields:
        split = [set(_words(text)) for text in field.texts]
        for index, text in enumerate(field.text_of_N.tolist()):
            found[index] |= split[text] if text >= 0 else set()
    counts = Counter(word for some in found for word in some)
    return {word: LEAST_WEIGHT + math.log(items / count) for word, count in counts.items()}


def _is_copy(one: Sequence[str], other: Sequence[str], weigh: Mapping[str, float]) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) >= FEWEST_PHRASE_WORDS and f" {' '.join(shorter)} " in f" {' '.join(longer)} ":
        return True
    ours, theirs = set(one), set(other)
    shared, all_of_them = (sum(weigh[word] for word in some) for some in (ours & theirs, ours | theirs))
    return shared >= COPIED_SHARE * all_of_them


@dataclass(frozen=True, kw_only=True)
class ItemSearch(DirectionScores):
    """How texts and images find items; neither query carries anything that is fused."""

    text: QueryScores
    image: QueryScores

    @property
    def directions(self) -> tuple[QueryScores, QueryScores]:
        return (self.text, self.image)


@dataclass(frozen=True, kw_only=True)
class FusionEvalSet:
    """Items with everything that a fusion of them and a search among them takes.

    Attributes:
        image_ND: unit rows.
        group_of_N: code of the item's group.
        caption_of_N: which caption an item has; -1 for none. Images of equal captions are positives.
        parts: by field that may be fused, (N, D) unit rows, zeros where the item lacks it.
        queries: by field, its texts that are not copied from a positive's other fields.
        asking: number of items, the first ones, whose images are queries; None for all.
    """

    image_ND: Tensor
    group_of_N: Tensor
    caption_of_N: Tensor
    parts: Mapping[str, NDArray[np.float32]]
    queries: Mapping[str, TextQueries]
    asking: int | None = None

    @property
    def query_fields(self) -> tuple[str, ...]:
        """Fields whose texts are queries."""
        return tuple(name for name, queries in self.queries.items() if len(queries.text_TD))

    def without_texts(self, is_bare_N: Tensor) -> FusionEvalSet:
        """The same with some items bare of every text that is fused."""
        keep_N1 = (~is_bare_N).numpy()[:, None]
        return dataclasses.replace(self, parts={name: part_ND * keep_N1 for name, part_ND in self.parts.items()})

    def without_sole_field(self, fusion: Fusion) -> FusionEvalSet:
        """The same without queries of a field that is all that is fused: without it nothing would be fused."""
        queries = {name: found for name, found in self.queries.items() if set(fusion.names) != {name}}
        return dataclasses.replace(self, queries=queries)

    def subsampled(self, texts: int, images: int, seed: int) -> FusionEvalSet:
        """The same with at most so many texts a field, drawn at random, and so many images that query."""
        rng = np.random.default_rng(seed)
        queries = {name: _drawn(found, texts, rng) for name, found in self.queries.items()}
        return dataclasses.replace(self, queries=queries, asking=images)

    def items(self, fusion: Fusion | None, *, without: str | None = None) -> Tensor:
        """Item vectors (N, D); `without` leaves one field out, as if no item had it."""
        fields = [field for field in fusion.fields if field.name != without] if fusion else []
        if fusion is None or not fields:
            return self.image_ND
        text_FND = np.stack([self.parts[field.name] for field in fields])
        return torch.from_numpy(fuse(self.image_ND.numpy(), text_FND, fusion.image, [f.weight for f in fields]))

    def search(self, fusion: Fusion | None) -> ItemSearch:
        """Leave one field out: the texts of a field query items without that field; images query whole items."""
        whole_ND = self.items(fusion)
        found = []
        for name, queries in self.queries.items():
            is_fused = fusion is not None and name in fusion.names
            item_ND = self.items(fusion, without=name) if is_fused else whole_ND
            found.append(texts_to_items(queries, item_ND, self.group_of_N))
        return ItemSearch(
            text=pooled(found, gallery=len(whole_ND)),
            image=images_to_items(self.image_ND[: self.asking], whole_ND, self.group_of_N, self.caption_of_N),
        )


def make_eval_set(
    items: Sequence[Item],
    image_ND: Tensor,
    group_of_N: Tensor,
    caption_of_N: Tensor,
    *,
    phrases: Phrases,
    carried: Phrases | None = None,
    query_fields: Sequence[str],
    embed_texts: EmbedTexts,
) -> FusionEvalSet:
    """Embed the fields' texts, each distinct one once.

    Args:
        items: N.
        image_ND: their images, unit rows.
        group_of_N: code of each item's group.
        caption_of_N: code of each item's caption; -1 for none.
        phrases: fields that are, or may become, part of an item, each with what makes a text of its value.
        carried: fields that an item may carry in any of the vectors that are compared, and of which no query is a copy;
            None for those of `phrases`.
        query_fields: fields whose values may be queries.
        embed_texts: the encoder's text tower.
    """
    fused = {name: field_texts(items, name, phrase) for name, phrase in phrases.items()}
    copied_from = fused if carried is None else {name: field_texts(items, name, carried[name]) for name in carried}
    return FusionEvalSet(
        image_ND=image_ND,
        group_of_N=group_of_N,
        caption_of_N=caption_of_N,
        parts={name: _rows(found, embed_texts) for name, found in fused.items()},
        queries={
            name: _queries(
                field_texts(items, name),
                [found for other, found in copied_from.items() if other != name],
                group_of_N,
                embed_texts,
            )
            for name in query_fields
        },
    )


def _rows(found: FieldTexts, embed_texts: EmbedTexts) -> NDArray[np.float32]:
    text_TD = embed_texts(found.texts)
    nothing_1D = torch.zeros(1, text_TD.shape[1])
    return torch.cat([text_TD, nothing_1D])[found.text_of_N].numpy()  # -1 is the last row


def _queries(
    found: FieldTexts, others: Sequence[FieldTexts], group_of_N: Tensor, embed_texts: EmbedTexts
) -> TextQueries:
    copied = copied_texts(found, others, group_of_N)
    honest = [index for index in range(len(found.texts)) if index not in copied]
    return TextQueries(
        text_TD=embed_texts([found.texts[index] for index in honest]),
        text_of_N=_recoded(found.text_of_N, honest, len(found.texts)),
    )


def _drawn(queries: TextQueries, wanted: int, rng: np.random.Generator) -> TextQueries:
    texts = len(queries.text_TD)
    if texts <= wanted:
        return queries
    kept = sorted(rng.permutation(texts)[:wanted].tolist())
    return TextQueries(text_TD=queries.text_TD[kept], text_of_N=_recoded(queries.text_of_N, kept, texts))


def _recoded(text_of_N: Tensor, kept: Sequence[int], texts: int) -> Tensor:
    """Codes of the texts that are kept, in their order; -1 for all others."""
    code_T1 = torch.full((texts + 1,), -1, dtype=torch.int64)
    code_T1[list(kept)] = torch.arange(len(kept))
    return code_T1[text_of_N]  # -1, no text, is the last
