"""Walk: the values of a wish told apart into wanted and excluded, word by word, and the words that nothing explains."""

from __future__ import annotations

from collections.abc import Mapping

from pinembed.assistant import cues
from pinembed.assistant.lexicon import KIND, LIMIT, Found, Lexicon
from pinembed.assistant.small_talk import INTERJECTIONS
from pinembed.assistant.words import stem

NOTHING_SAID = cues.STOP_WORDS | cues.CUE_WORDS | INTERJECTIONS


class Walk:
    """Goes through the words and knows whether they are negated.

    Args:
        values: by mark.
        lexicon: of the table, whose names of columns say nothing beside values.

    Attributes:
        wanted, excluded: values.
        forgotten: values that shall go, whether they were wanted before or not.
        avoid: excluded words that no column knows.
        rest: other words that nothing explains.
    """

    def __init__(self, values: Mapping[str, Found], lexicon: Lexicon) -> None:
        self.wanted: list[Found] = []
        self.excluded: list[Found] = []
        self.forgotten: list[Found] = []
        self.avoid: list[str] = []
        self.rest: list[str] = []
        self._values, self._lexicon, self._last = values, lexicon, ""
        self._negated = self._has_object = self._has_value = self._is_listed = self._forgets = False
        self._is_adjacent = self._is_joined = False

    def corrected(self, before: Walk) -> None:
        """Take over what was said before a correction and is not said anew: the `teal` of `teal mugs, I mean rugs`."""
        now = {one.column for one in (*self.wanted, *self.excluded, *self.forgotten)}
        for own, old in ((self.wanted, before.wanted), (self.excluded, before.excluded)):
            own[:0] = [one for one in old if one.column not in now]
        self.forgotten[:0] = before.forgotten
        if not (now or self.rest or self.avoid):
            self.rest, self.avoid = before.rest, before.avoid

    def step(self, token: str) -> None:
        was_adjacent, self._is_adjacent = self._is_adjacent, False
        was_joined, self._is_joined = self._is_joined, token in {"or", "nor", "and"}
        if token == "non" and self._negated:
            self._negated = False  # hide the non waterproof ones
        elif token in cues.NEGATIONS or token == cues.FORGOTTEN:
            self._negated, self._has_object, self._has_value, self._is_listed = True, False, False, False
            self._forgets = token == cues.FORGOTTEN
        elif self._is_listed and token in cues.BEGINS_ANEW:
            self._negated = False
        elif token == "," and self._forgets:
            self._negated = self._negated and not self._has_object
        elif token == ",":
            self._is_listed = self._has_object
        elif token in self._values:
            self._value(token, was_adjacent)
        elif token >= LIMIT:
            self._negated = False
        elif token in cues.ENDS_NEGATION:
            self._negated = self._negated and not self._has_object and token in {"in", "with"}
        elif not self._says_nothing(token):
            self._negated = self._negated and not self._is_listed  # nothing plain, somewhere near the door
            self._negated = self._negated and (was_adjacent or was_joined or not self._has_value)
            (self.avoid if self._negated else self.rest).append(token)
            self._has_object = self._is_adjacent = True

    def _value(self, mark: str, was_adjacent: bool) -> None:
        if self._negated and was_adjacent and self._has_object and KIND <= mark < LIMIT:
            self._negated = False  # the mugs of `no red mugs` are wanted
        if self.wanted and was_adjacent and KIND <= mark < LIMIT and self._last >= KIND:
            before, now = self.wanted[-1], self._values[mark]
            if not set(before.values) & set(now.values):
                self.wanted.pop()  # the lock of `bike lock`
        self._last = mark
        gone = self.forgotten if self._forgets else self.excluded
        (gone if self._negated else self.wanted).append(self._values[mark])
        self._has_object = self._has_value = self._is_adjacent = True

    def _says_nothing(self, token: str) -> bool:
        base = token.partition("'")[0]
        is_known = token in NOTHING_SAID or (base != token and (not base or base in NOTHING_SAID))  # that'd, either's
        return is_known or (stem(token),) in self._lexicon.columns
