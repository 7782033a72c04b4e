"""Lifted: the columns of which a wish wants no condition any more, said of the column or of a value of it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from pinembed.assistant import measures
from pinembed.assistant.lexicon import ANY_VALUE, Found, Lexicon
from pinembed.assistant.words import stem, stems_of
from pinembed.trimmed.questions import spoken

_NOT = "(?:don't|doesn't|do not|does not|didn't|isn't|is not|aren't|are not|won't|not|never|no longer|wouldn't|needn't)"
_VERY = "(?: (?:really|actually|honestly|too|that|so|very|all that|particularly|overly|a|an|be|going to))*"
_CARES = (
    "(?:care|mind|matter|matters|bother|bothered|fussed|fussy|picky|worried|concerned|important|crucial|critical|"
    "essential|necessary|needed|required|relevant|big deal|deal ?breaker|factor|issue|priority|must|concern|problem)"
)
_NO_MATTER = rf"{_NOT}{_VERY} {_CARES}"
_LITTLE_WORDS = (
    "(?: (?:the|a|an|any|of|what|which|about|on|to|as|in|with|my|your|our|this|that|it|it's|they|they're|is|are|if|"
    "whether|over|for|old|particular|specific|kind|sort|number|amount))*"
)
LIFTS = (
    r"\b(?:any|every|another|(?<!the )other|different|"
    r"whatever|whichever|all|no particular|no specific|remove|drop|forget|ignore|reset|clear|lift|scrap|"
    r"ditch|lose|cancel|delete|relax|loosen|waive|chang(?:ed|e|ing) (?:my|our|his|her|their) minds? (?:about|on)|no "
    r"matter|regardless|irrespective|never ?mind|without|"
    r"take (?:off|away)|open (?:to|on|about)|(?:flexible|easy|relaxed) (?:on|about|with)|indifferent (?:to|about)|"
    rf"no (?:limit|preference|restriction)s?|get rid of|{_NO_MATTER}){_LITTLE_WORDS}"
)
"""Before what a column is called."""
A_BIT = (
    r"(?: (?:limit|filter|condition|range|thing|bit|part|stuff|business|side|tag|bracket|cap|requirement|restriction|"
    r"constraint|criterion|criteria|preference|rule|aspect))?"
)
EXCEPT = r"(?! (?:but(?! not)|except|other than|apart from|aside from|besides|bar|barring|save|excluding|without)\b)"
"""Any colour but black is no colour that does not matter."""
WELCOME = (
    r"(?:(?: (?:is|are|will|would|can|could|be|just|totally|perfectly))* "
    r"(?:fine|ok(?:ay)?|good|great|do|does|goes|go|works?|welcome|possible|acceptable|cool)(?: (?:by|with|for) me)?|"
    r" you (?:like|have|want|fancy)| at all| whatsoever| (?:it|they) (?:is|are|comes? in)|"
    r" (?:it|they|this|that)'s?(?= (?:made|in|from)\b))?"
)
MATTERS_NOT = (
    rf"(?: (?:really|actually|honestly|just))*(?: (?:{_NO_MATTER}|(?:(?:is|are) )?(?:no|not an?) {_CARES}|"
    r"(?:is )?no object|(?:(?:is|are) )?(?:irrelevant|unimportant|optional|negotiable|flexible|immaterial|up to you|"
    r"neither here nor there)|makes? no (?:difference|odds))(?: to (?:me|us|him|her|them))?"
    r"(?: (?:now|much|either|any ?more|any longer))?)"
)
"""Behind what a column is called, or a value."""
STANDS_OPEN = (
    r"(?: (?:can|could|may|should|must) (?:go|be (?:dropped|struck|removed|lifted|deleted|ignored|scrapped|left out|"
    r"forgotten|relaxed|waived|cancel+ed))(?: (?:now|again|too))?|"
    r" (?:is|are) (?:fine|ok(?:ay)?|open|whatever)| (?:can|could|may|might) (?:vary|be (?:anything|any|whatever)(?! "
    r"(?:up|under|over|below|above|between|from|less|more|but|except)\b)))"
)
NEEDNT_BE = (
    r"\b(?:(?:forget|ignore|scrap|drop) what (?:i|we) (?:said|told you|asked)(?: for)?(?: about| on)?(?: the)?|"
    r"(?:don't|doesn't|do not|does not) (?:have|need) to be|needn't (?:be|have|come)|need not be|"
    r"no need (?:for (?:it|them|that|this) )?to be|no need for|not necessarily|not (?:just|only)|"
    r"(?:changed?|changing) (?:my|our|his|her|their) minds? (?:about|on)|"
    rf"(?:{_NO_MATTER}|no matter) (?:if|whether|about)(?: (?:it|it's|its|they|they're|that|is|are|be|being|the))*)"
    r"(?: for| in| made of| from| by| with| a| an| the)*"
)
"""Before a value whose column no longer matters."""
A_LIFTED_VALUE = re.compile(
    rf"{NEEDNT_BE} (?P<before>{ANY_VALUE})(?: or not)?|(?:whether (?:it's|they're|its|it is|they are) )?"
    rf"(?P<either>{ANY_VALUE}) or not(?:{MATTERS_NOT})?(?= [,;.?]|$)|"
    rf"(?P<behind>{ANY_VALUE}){MATTERS_NOT}|"
    rf"\b(?:put|bring|add|let|take) (?P<back>{ANY_VALUE})(?: ones)? back(?: in)?(?!\w)"
)


BRANDS = {(stem(word),) for word in ("brand", "maker", "manufacturer")}


def take_lifted(text: str, values: Mapping[str, Found], lexicon: Lexicon) -> tuple[str, tuple[str, ...]]:
    """The text without the phrases that lift a condition, and the columns of these."""
    found = list[str]()
    while (said := A_LIFTED_VALUE.search(text)) is not None:
        found.append(values[next(filter(None, said.groups()))].column)
        text = _without(said, text)
    for name, phrase in _phrases(lexicon):
        if (said := phrase.search(text)) is not None:
            found.append(name)
            text = _without(said, text)
    return text, tuple(dict.fromkeys(found))


@functools.lru_cache(maxsize=8)
def _phrases(lexicon: Lexicon) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Columns, and what lifts a condition on them."""
    return tuple((name, re.compile(phrase)) for name, phrase in _phrases_of(lexicon))


def _phrases_of(lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    for name in (*lexicon.vocabulary.choices, *lexicon.vocabulary.quantities):
        called = rf"(?:{lexicon.said_of(name)}{_or_so_called(name, lexicon)})(?:'s)?{A_BIT}(?!\w)"
        yield name, rf"{LIFTS} {called}{EXCEPT}{WELCOME}(?!\w)"
        yield name, rf"\bno {lexicon.said_of(name)} (?:preference|requirement|restriction|limit)s?(?!\w)"
        yield name, rf"\b(?:the )?{called}(?:{MATTERS_NOT}|{STANDS_OPEN})(?!\w)"


def _or_so_called(name: str, lexicon: Lexicon) -> str:
    """Other words for a column: the budget, how heavy it is."""
    words = [f"how {word}" for word, measured in measures.MEASURES.items() if lexicon.quantity(measured) == name]
    words += ["who (?:makes|made) (?:it|them)"] if stems_of(spoken(name)) in BRANDS else []
    words += ["budget", "money"] if name == lexicon.vocabulary.price else []
    return "".join(f"|{word}" for word in words)


def _without(said: re.Match[str], text: str) -> str:
    return " ".join(f"{text[: said.start()]} {text[said.end() :]}".split())
