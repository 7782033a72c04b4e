"""Rewordings: courtesies taken out of a wish, and turns of phrase put into the plain words that they stand for."""

from __future__ import annotations

import re

from pinembed.assistant import cues
from pinembed.assistant.amounts import AMOUNT, CURRENCY, NUMBER, OR_SO
from pinembed.assistant.lexicon import A_KIND, ANY_VALUE
from pinembed.assistant.small_talk import without_fillers
from pinembed.assistant.units import UNIT_WORDS

VALUES = rf"(?:{ANY_VALUE} (?:(?:and|or) )?)*{ANY_VALUE}"
_REWRITTEN = (
    (r"\bhalf a dozen\b", "6"),
    (r"\b(?:an?|one) dozen\b", "12"),
    (r"\b(?:an? )?couple (?:of )?(?=hundred|thousand|grand)", "2 "),
    (r"(?<!\w)4 (?=(?:an?|my|the|me|our|her|his)\b)", "for "),
    (cues.NARROWS, "only"),
    (cues.IT_SHOULD_BE, "but"),
    (cues.THEY_SHOULD_BE, "only"),
    (cues.CAN_IT_BE, ""),
    (cues.WHAT_IF, "what about"),
    (rf"({AMOUNT}) {cues.CORRECTION} ({AMOUNT})", r"\2"),
    (cues.DONE_WITH, cues.FRESH),
    (cues.KEEPS_TO, "at most "),
    (rf"({NUMBER}) (?:- )?ish ({CURRENCY}|{UNIT_WORDS})(?!\w)", r"\1 \2 or so"),
    (rf"({VALUES}){cues.NONE_OF_THEM}", rf"{cues.NEGATION} \1"),
    (cues.REMARK, ""),
    (cues.AS_LONG_AS, "but"),
    (cues.IF_ANY, ""),
    (rf"({VALUES}){cues.CLASHES}", rf"{cues.NEGATION} \1"),
    (rf"({VALUES}) {cues.NOT_MY}", rf"{cues.FORGOTTEN} \1"),
    (r"\bstar (?=ratings?\b)", ""),
    (rf"\b(?:an?|one) ({UNIT_WORDS}) and a half\b", r"1.5 \1"),
    (rf"({AMOUNT})( {UNIT_WORDS}) and a half\b", r"\1 and a half\2"),
    (rf"({VALUES}) {cues.SUITS}", r"\1 only"),
    (rf"({VALUES})(?:{cues.WELCOME})(?: too| as well| also)?", r"\1 too"),
    (rf"{cues.HAPPY_WITH} ({VALUES})(?!\w)(?! (?:{'|'.join(cues.NEGATIONS)}))", r"\1 too"),
    (rf"({VALUES}){cues.AVOIDS}", rf"{cues.NEGATION} \1"),
    (rf"({VALUES}){cues.MAY_GO}", rf"{cues.NEGATION} \1"),
    (cues.DECIDES, "take "),
    (cues.UNDO_PHRASES, "undo"),
    (cues.EARLIER_LIST, "previous list"),
    (r"\bmore of the same\b", "more"),
    (r"^(.+) only$", r"only \1"),
    (cues.NEXT_PAGE, "next"),
    (rf"\bnot (?:that|so|very|too|quite|really|all that) (?={ANY_VALUE})", "not "),
    (
        rf"({VALUES})((?: (?!{ANY_VALUE})\S+){{0,4}}) {cues.PUTS} (?:it|them|those|that|these) {cues.AWAY}",
        rf"{cues.NEGATION} \1\2",
    ),
    (rf"(?:the )?({ANY_VALUE}){cues.DISLIKED}(?!\w)", rf"{cues.FORGOTTEN} \1"),
    (rf"(?: ,)? so (?:is|are|would|do|does) ({ANY_VALUE})", r" or \1"),
    (rf"\b{cues.PUTS} (?:the )?((?:{ANY_VALUE} ?)+)(?:ones? )?{cues.AWAY}", rf"{cues.FORGOTTEN} \1"),
    (cues.FORGET, cues.FORGOTTEN),
    (cues.NEGATION_PHRASES, cues.NEGATION),
    (cues.ABOUT_ONESELF, ""),
    (rf"\bnot ({ANY_VALUE})(?: then| actually)? , ({ANY_VALUE})(?= [.]|$)", r"not \1 ; \2"),
    (cues.A_LITTLE, ""),
    (rf" [+] ({UNIT_WORDS})(?!\w)", r" \1 +"),
    (rf"({AMOUNT}) ({A_KIND}) ((?:or|and) (?:{OR_SO}))(?!\w)", r"\1 \3 \2"),
    (rf"({VALUES})(?: [,;?])? (?:i )?(?:{'|'.join(cues.NEGATIONS)}){cues.OF_THEM}", rf"{cues.NEGATION} \1"),
)
REWRITTEN = tuple((re.compile(phrase), plain) for phrase, plain in _REWRITTEN)
"""Turns of phrase, and the plain words that they stand for."""
BEHIND = (
    r"(?:please|thanks|thank you|then|now|actually|really|honestly|i (?:guess|suppose|think|reckon|should think)|"
    r"(?<!never )mind|"
    r"to be (?:honest|fair)|if possible|after all|,|;|[?]|[.])"
)


def reworded(text: str) -> str:
    """A wish of words and marks in plain words."""
    text = re.sub(r"[.](?: [.])+", ".", text)
    text = re.sub(
        cues.REPAIR, lambda run: f" {cues.CORRECTION}" if re.search(cues.REPAIRS, run["run"]) else run[0], text
    )
    text = re.sub(cues.MAKE_IT, "make", _without_courtesies(without_fillers(text)))
    for phrase, plain in REWRITTEN:
        text = phrase.sub(plain, text)
    return " ".join(text.split())


def _without_courtesies(text: str) -> str:
    while True:
        shorter = re.sub(rf"^{cues.POLITE}(?: |$)|(?:^| ){BEHIND}$", "", text).strip()
        if shorter == text:
            return text
        text = shorter
