"""A customer in the prompt: the items in the middle of their interests, before the items that a question is about.

What is taught of customers is what they chose next: a choice with the interests that its user had until then is
answered yes, and the same interests with an item that somebody else chose no. The chosen items are exchanged among the
users for that, so that each is as often wanted as not, and only interests and item together tell.

An answer names what it stands on before the verdict, the item and whether each interest is of its kind, as in
`mug: lamp no, mug yes; yes`: a small model compares what it has just written better than what it sees, and these
comparisons are certain, where the verdict is a matter of chance.

Shape legend: I interests, C items that customers touched, D floats of one embedding, Q questions, F figures of one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pinembed.errors import DataError
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.taste.interests import Interest
from pinembed.trimmed.questions import Dialogue, thinned

MOST_INTERESTS = 5
"""Of a user that a prompt tells: the strongest. Each takes as many tokens as an item."""
KEEP = "Would this customer keep this item?"
KEPT, LEFT = "yes", "no"
SWAPS_TRIED = 64


def told_interests(interests: Sequence[Interest], source: EmbeddingSource, *, user: str) -> tuple[str, ...]:
    """Item ids that stand for a user's interests in a prompt, the strongest first.

    Args:
        interests: of the user, the strongest first.
        source: that has to hold the items.
        user: named in the error.

    Raises:
        DataError: the source holds none of them.
    """
    known = tuple(interest.item for interest in interests if interest.item in source)[:MOST_INTERESTS]
    if not known:
        raise DataError(
            f"{source.folder} holds none of the {len(interests)} item(s) that the interests of {user!r} are named by.",
            remedy="Export the table that `taste update` was run with, or ask without --user.",
        )
    return known


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What a user chose, and what they liked until then.

    Attributes:
        interests: rows of the items that name them, the strongest first.
        item: row of the chosen item.
    """

    user: str
    interests: tuple[int, ...]
    item: int


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Choices of one stretch of time.

    Attributes:
        made: by user, then by time.
        touched: rows of all items that a user had to do with until the end of it; none of them is asked about as one
            that they did not choose.
        words_C: what an answer names an item by.
    """

    made: tuple[Choice, ...]
    touched: Mapping[str, frozenset[int]]
    words_C: Sequence[str]

    def thinned(self, most: int) -> Choices:
        """At most so many of them, evenly drawn."""
        return replace(self, made=tuple(thinned(self.made, most)))

    def dialogues(self, seed: str, *, first_row: int = 0) -> list[Dialogue]:
        """Two for each choice, one with the chosen item and one with an item that somebody else chose.

        A choice for which no such item is found is left out, with both of its dialogues.

        Args:
            seed: of the exchange.
            first_row: where the items of the choices begin in the caller's list.
        """
        asked: list[Dialogue] = []
        for choice, other in zip(self.made, self._others(random.Random(seed)), strict=True):
            if other is not None:
                for item, verdict in ((choice.item, KEPT), (other, LEFT)):
                    rows = tuple(first_row + row for row in (*choice.interests, item))
                    answer = self._answer(choice.interests, item, verdict)
                    asked.append(Dialogue(rows=rows, question=KEEP, answer=answer))
        return asked

    def _answer(self, interests: Sequence[int], item: int, verdict: str) -> str:
        """The item, each interest and whether it is the same, and the verdict."""
        own = self.words_C[item]
        compared = ", ".join(
            f"{name} {KEPT if name == own else LEFT}" for name in map(self.words_C.__getitem__, interests)
        )
        return f"{own}: {compared}; {verdict}"

    def with_users_exchanged(self, seed: str) -> Choices:
        """The same choices, each with the interests of somebody else; of those who find somebody."""
        rng, users = random.Random(seed), {choice.user for choice in self.made}
        made = []
        for choice in self.made if len(users) > 1 else ():
            while (other := rng.choice(self.made)).user == choice.user:
                pass
            made.append(replace(choice, interests=other.interests))
        return replace(self, made=tuple(made))

    def _others(self, rng: random.Random) -> list[int | None]:
        """The chosen items in another order, in which no user meets one that they touched; None where that fails."""
        items = [choice.item for choice in self.made]
        rng.shuffle(items)
        touched = [self.touched[choice.user] for choice in self.made]
        found: list[int | None] = []
        for index, item in enumerate(items):
            for _ in range(SWAPS_TRIED if item in touched[index] else 0):
                other = rng.randrange(len(items))
                if items[other] not in touched[index] and items[index] not in touched[other]:
                    items[index], items[other] = items[other], items[index]
                    break
        for index, item in enumerate(items):
            found.append(None if item in touched[index] else item)
        return found


def likeness_figures(embeddings_CD: Tensor, dialogues: Sequence[Dialogue]) -> Tensor:
    """What a probe is given of each question: how near the item is to the interests.

    Returns:
        (Q, F): the greatest and the mean cosine, and those to each interest, the strongest first; the mean stands where
        there are fewer.
    """
    unit_CD = torch.nn.functional.normalize(embeddings_CD.float(), dim=1)
    figures = []
    for dialogue in dialogues:
        *interests, item = dialogue.rows
        cosine_I = unit_CD[interests] @ unit_CD[item]
        mean = cosine_I.mean()
        rest = mean.expand(MOST_INTERESTS - len(interests))
        figures.append(torch.cat([torch.stack([cosine_I.max(), mean]), cosine_I, rest]))
    return torch.stack(figures)
