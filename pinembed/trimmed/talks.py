"""Conversations of two or three turns out of metadata: items that enter one after another, questions that refer back.

Every answer follows from the fields. The questions of a conversation are of the forms of FORMS; each form has wordings
that are trained on, and others that judge.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pinembed.trimmed.questions import ASK, Dialogue, QuestionMaker, Turn, spoken, verdict_on

NEXT, NEW, BACK, BOTH, WHICH, AMONG = "next", "new", "back", "both", "which", "among"
ORDINALS = ("first", "second", "third")
AFTER_TWO = (NEXT, NEXT, NEXT, NEXT, NEW, NEW, BACK, BACK, BOTH)
"""What a turn asks once two items were shown, as often as it stands here; `its` has to be the last one's."""
MOST_LISTED = 3
LISTED_SHARE = 0.25
"""Of the conversations, those that begin with a search among several items."""
NEW_SHARE = 0.5
"""Of the later turns that judge, those to which a new item comes."""


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """How a question is asked: in training, and where answers are judged."""

    known: tuple[str, ...]
    held_out: tuple[str, ...]


FORMS: Mapping[str, Wordings] = {
    NEXT: Wordings(
        known=(
            "And its {field}?",
            "What about its {field}?",
            "And the {field}?",
            "What {field} does it have?",
            "Its {field}?",
            "Tell me the {field} as well.",
            "Also its {field}, please.",
            "What is the {field} of it?",
        ),
        held_out=("What is its {field}?", "Tell me its {field} too."),
    ),
    NEW: Wordings(
        known=(
            "And the {field} of this one?",
            "What {field} does this one have?",
            "Now this one: its {field}?",
            "This is another one. What is the {field}?",
            "Tell me the {field} of this one.",
        ),
        held_out=("What is the {field} of this one?", "Here is another. Its {field}?"),
    ),
    BACK: Wordings(
        known=(
            "What was the {field} of the {ordinal} item?",
            "And the {field} of the {ordinal} one?",
            "Back to the {ordinal}: what is its {field}?",
        ),
        held_out=("What is the {field} of the {ordinal} one?", "The {ordinal} item again, its {field}?"),
    ),
    BOTH: Wordings(
        known=("Do they have the same {field}?", "Do both have the same {field}?"),
        held_out=("Is their {field} the same?",),
    ),
    WHICH: Wordings(
        known=("Which of these items have the {field} {value}?", "Which of them are {value}?"),
        held_out=("Which items have the {field} {value}?",),
    ),
    AMONG: Wordings(
        known=("And which of them have the {field} {value}?", "And which are {value}?"),
        held_out=("Which ones have the {field} {value}?",),
    ),
}


class TalkMaker:
    """Draws conversations about the items of a QuestionMaker.

    Args:
        questions: of the items, in the order of their embeddings.
        held_out: in the wordings that judge.
    """

    def __init__(self, questions: QuestionMaker, *, held_out: bool = False) -> None:
        self._questions, self._values_of, self._fields = questions, questions.values_of, questions.fields
        self._held_out = held_out
        rows = range(len(questions.items))
        self._complete = [row for row in rows if all(self._values_of[field][row] for field in self._fields)]

    @property
    def can_talk(self) -> bool:
        """Whether there are items enough with all fields."""
        return len(self._complete) >= MOST_LISTED and bool(self._fields)

    def draw(self, rng: random.Random) -> Dialogue | None:
        """A conversation of two turns or three; None where items enough are missing."""
        if not self.can_talk:
            return None
        turns = self._listed(rng) if rng.random() < LISTED_SHARE else self._one_by_one(rng)
        return Dialogue(rows=turns[-1].rows, question=turns[-1].question, answer=turns[-1].answer, earlier=turns[:-1])

    def plain(self, rng: random.Random, turns: int) -> list[tuple[Dialogue, Dialogue]]:
        """The plain question about a field in the first turn, the second and so on, of the same item or of another.

        Returns:
            For each turn the dialogue that ends with it, and the same question of the same item alone.
        """
        row, said, asked = 0, list[Turn](), list[tuple[Dialogue, Dialogue]]()
        for place in range(turns if self._complete else 0):
            is_new = place == 0 or rng.random() < NEW_SHARE
            row = rng.choice(self._complete) if is_new else row
            field = rng.choice(self._fields)
            plain = ASK[0].format(field=spoken(field))
            wording = plain if place == 0 else self._wording(rng, NEW if is_new else NEXT).format(field=spoken(field))
            turn = Turn(rows=(row,) if is_new else (), question=wording, answer=self._values_of[field][row])
            ending = Dialogue(rows=turn.rows, question=wording, answer=turn.answer, earlier=tuple(said))
            asked.append((ending, Dialogue(rows=(row,), question=plain, answer=turn.answer)))
            said.append(turn)
        return asked

    def epoch(self, seed: str, turns: int) -> list[Dialogue]:
        """Conversations that have so many turns together, or a little more."""
        rng, drawn, left = random.Random(seed), list[Dialogue](), turns
        while left > 0 and (dialogue := self.draw(rng)) is not None:
            drawn.append(dialogue)
            left -= len(dialogue.turns)
        return drawn

    def _wording(self, rng: random.Random, form: str) -> str:
        wordings = FORMS[form]
        return rng.choice(wordings.held_out if self._held_out else wordings.known)

    def _turn(self, rng: random.Random, wording: str, row: int, *, is_new: bool, ordinal: str = "") -> Turn:
        field = rng.choice(self._fields)
        question = wording.format(field=spoken(field), ordinal=ordinal)
        return Turn(rows=(row,) if is_new else (), question=question, answer=self._values_of[field][row])

    def _one_by_one(self, rng: random.Random) -> tuple[Turn, ...]:
        """A single question about an item, then one about it or another item, then also about an earlier one or both.

        The single question is of any kind, so that a conversation teaches no less than the questions whose place it
        takes.
        """
        rows = rng.sample(self._complete, MOST_LISTED)
        single = self._questions.draw(rng, rows[0], rng.choice(self._fields))
        if single is None or len(single.rows) > 1:
            turns = [self._turn(rng, rng.choice(ASK), rows[0], is_new=True)]
        else:
            turns = [Turn(rows=single.rows, question=single.question, answer=single.answer)]
        shown = rows[:1]
        for _ in range(rng.choice((1, 2, 2))):
            form = rng.choice((NEXT, NEW) if len(shown) == 1 else AFTER_TWO)
            if form == NEW:
                shown = rows[: len(shown) + 1]
            if form == BOTH:
                turns.append(self._both(rng, shown))
                continue
            place = rng.randrange(2) if form == BACK else len(shown) - 1
            wording = self._wording(rng, form)
            turns.append(self._turn(rng, wording, shown[place], is_new=form == NEW, ordinal=ORDINALS[place]))
        return tuple(turns)

    def _both(self, rng: random.Random, rows: Sequence[int]) -> Turn:
        field = rng.choice(self._fields)
        one, other = (self._values_of[field][row] for row in rows)
        question = self._wording(rng, BOTH).format(field=spoken(field))
        return Turn(rows=(), question=question, answer=f"{one} and {other}: {verdict_on(one, other)}")

    def _listed(self, rng: random.Random) -> tuple[Turn, ...]:
        """A search among a few items, then another condition on them, then a question about one of them."""
        rows = tuple(rng.sample(self._complete, rng.randint(2, MOST_LISTED)))
        turns = [self._which(rng, WHICH, rows, rows)]
        if rng.random() < 0.5:
            turns.append(self._which(rng, AMONG, rows, ()))
        place = rng.randrange(len(rows))
        turns.append(self._turn(rng, self._wording(rng, BACK), rows[place], is_new=False, ordinal=ORDINALS[place]))
        return tuple(turns)

    def _which(self, rng: random.Random, form: str, rows: Sequence[int], entering: tuple[int, ...]) -> Turn:
        """Which of them have a value; the values come first, since a small model reads what it has just written."""
        field = rng.choice(self._fields)
        values = [self._values_of[field][row] for row in rows]
        value = rng.choice(values)
        fitting = [ORDINALS[place] for place, own in enumerate(values) if own == value]
        question = self._wording(rng, form).format(field=spoken(field), value=value)
        return Turn(rows=entering, question=question, answer=f"{', '.join(values)}: {', '.join(fitting)}")
