"""Rewordings: courtesies taken out of a wish, and turns of phrase put into the plain words that they stand for."""

from __future__ import annotations

import re

from pinembed.assistant import cues
from pinembed.assistant.amounts import AMOUNT, CURRENCY, NUMBER, OR_SO
from pinembed.assistant.lexicon import A_KIND, ANY_VALUE
from pinembed.assistant.small_talk import without_fillers
from pinembed.assistant.units import UNIT_WORDS

VALUES = rf"(?:{ANY_VALUE} (?:(?:and|or) )?)*{ANY_VALUE}"
NAMES_NOTHING = r"(?: (?![,;.?\ue000-\uf8ff])[^\W\d]\S*)"
"""A word that is no value, number or sign."""
_REMARKS = (
    rf"\b(?:thanks|thank you|cheers) for{NAMES_NOTHING}+(?= [,;.]|$)",
    rf"(?<=\S) , (?:it's|it is|that's|they're|he's|she's) (?:from|for|an? (?:gift|present)){NAMES_NOTHING}*$",
    r"(?<=\S) [,;.] (?:and |but )?(?:does|do|would) (?:it|they|that|one|such an? \S+) (?:even |actually )?exist\b",
    r"(?<=\S)(?: [,;.])? (?:if|is|are) there (?:such a thing|any such|such an? \S+)\b",
    r"\b(?:i'd |i'll |let's |let us |we'll )?(?:rather )?(?:keep|stick) (?:to|with) (?:that|those|it)(?= [,;.?]|$)",
    r"(?:^|(?<=[,;.] ))(?:not|isn't) (?:really |quite )?(?:my|our|his|her) (?:thing|style|taste|cup of tea)(?= [,;.])",
    r"(?:^|(?<=[,;.] ))(?:too|so) few(?= [,;.])",
)
REMARKS = re.compile("|".join(_REMARKS))
"""What is said beside a wish and wants nothing of the catalogue."""
SAME_TO_ME = r"(?:it|that)(?:'s| is| would be) (?:all )?(?:the same|one|equal) (?:to|for) (?:me|us)"
A_LIMIT = r"(?:price )?(?:limit|bound|end|price|budget)(?: of| is| at| ,)*"
IT_IS = r"(?:(?:that|it|they|these|those)(?:'s|'re| is| are| looks?| sounds?| seems?| feels?)? )?"
BY_HOW_MUCH = "(?:a bit |a little |bit |way |far |much |just |still )*"
WHOM = r"(?:me|us|him|her|them|that|this|those|these|(?:my|our|his|her) \S+)"
TOO = (
    *(("heavy", "lighter"), ("big|large|huge", "smaller"), ("small|tiny|little", "bigger"), ("light", "heavier")),
    *(("long", "shorter"), ("short", "longer"), ("wide|broad", "narrower"), ("narrow", "wider"), ("strong", "weaker")),
    *(("weak", "stronger"), ("slow", "faster"), ("loud|noisy", "quieter"), ("thick", "thinner"), ("thin", "thicker")),
    *(("tall", "shorter"), ("old", "younger"), ("young", "older")),
)
"""What is too much of something, and what is wanted then."""
OUTGROWN = (
    r"\b(?:he|she|they)(?:'s| is|'re| are) (?:a bit |way |far |much )?too (old|young)"
    r"(?: for (?:this|that|it|those|these|them))?(?= [,;.]|$)"
)
"""Who is too old for what is shown wants something for older ones."""
MUST = "(?:should|must|has to|needs to)"
BACK_TO_WHAT_WAS = (
    r"\b(?:take me |go |went |gone |let's go )?back to (?:the |my |those |these )?(?:\S+ ){0,3}?"
    r"(?:i|we) (?:had|saw|looked at)(?: before| earlier| first)?(?= [,;.?]|$)"
)
_REWRITTEN = (
    (
        rf"\bi said ({ANY_VALUE}) but (?:what )?(?:i|we) (?:actually |really )?(?:want|need|mean)\w*(?: is| was)?",
        cues.CORRECTION,
    ),
    (r"\bmore (cheap|small|light|tall|strong|old|young|long|short|quiet|fast)(?= |$)", r"\1er"),
    (OUTGROWN, r"\1er"),
    (r"\bmore big\b", "bigger"),
    *(
        (
            rf"^{IT_IS}{BY_HOW_MUCH}too (?:{words})(?: for {WHOM})?(?= [,;.]|$)",
            comparative,
        )
        for words, comparative in TOO
    ),
    (r"\bno [.] (?=\d)", "number "),
    (r"\b(max|min|approx|ca) [.] (?=\D{0,2}\d)", r"\1 "),
    (r"\b(like|similar to|same as) (?=[1-9] (?:but|in|only)\b)", r"\1 number "),
    (rf"^{IT_IS}(?:a bit |bit |very |quite |rather |pretty |so )*(?:pricey|expensive|steep|costly)$", "too expensive"),
    (rf"\bless ({ANY_VALUE})", rf"{cues.NEGATION} \1"),
    (rf"^((?:and|like|what about|how about) )?([1-9]) (?=(?:but |in |but in )(?:an? )?{ANY_VALUE})", r"\1number \2 "),
    (r"\b(tell me (?:more )?about|goes? with|would go with|next to) (?=[1-9](?: [?.]|$))", r"\1 number "),
    (r"(?<!size )(?<!\d )\b([1-9]) or ([1-9])$", r"number \1 or number \2"),
    (r"^(?:definitely )?(?:none of|not) (?:them|these|those)(?: ones)?$", "more"),
    (r"^([1-9]) (?:and|versus|vs) ([1-9])$", r"compare \1 and \2"),
    (r"^(is|was|does) ([1-9]) (.+) than ([1-9])$", r"\1 number \2 \3 than number \4"),
    (r"\bas (light|small|tall|long|short|strong|fast|quiet|bright) as (?:possible|you have|can be)\b", r"\1est"),
    (rf"^(?:add|put) .+ (?:to|in|into) (?:my|the) (?:cart|trolley|bag|{ANY_VALUE})$", ""),
    (r"\bpocket money(?: budget)?\b", ""),
    (rf"(?<!not )(?<!nothing )\b(?:too|overly) ({ANY_VALUE})(?= [,;.]|$)", rf"{cues.NEGATION} \1"),
    (rf"({VALUES})(?: -)? free\b", rf"{cues.NEGATION} \1"),
    (
        rf"({VALUES}) (?:is|are|would be) (?:an? )?(?:no(?: -)? (?:go|no)|deal ?breaker|nightmare)\b",
        rf"{cues.NEGATION} \1",
    ),
    (rf"\b(?:upper|top|highest) {A_LIMIT} ({AMOUNT})", r"at most \1"),
    (rf"\b(?:lower|bottom|lowest) {A_LIMIT} ({AMOUNT})", r"at least \1"),
    (rf"({ANY_VALUE}(?: or not)?) (?:, )?{SAME_TO_ME}", r"\1 doesn't matter"),
    (r"\bmore of (?:them|these|those)\b", "more"),
    (BACK_TO_WHAT_WAS, "undo"),
    (rf"\bit {MUST} (?:fit|suit|go|match)(?: well)?(?: with| to)?(?= (?:to |with )?{ANY_VALUE})", "but"),
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
    text = without_fillers(" ".join(REMARKS.sub("", text).split()))
    text = re.sub(cues.MAKE_IT, "make", _without_courtesies(text))
    for phrase, plain in REWRITTEN:
        text = phrase.sub(plain, text)
    return " ".join(text.split())


def _without_courtesies(text: str) -> str:
    while True:
        shorter = re.sub(rf"^{cues.POLITE}(?: |$)|(?:^| ){BEHIND}$", "", text).strip()
        if shorter == text:
            return text
        text = shorter
