"""Rewordings: courtesies taken out of a wish, and turns of phrase put into the plain words that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable

from pinembed.assistant import cues
from pinembed.assistant.amounts import AMOUNT, CURRENCY, NUMBER, ONES, OR_SO
from pinembed.assistant.lexicon import A_KIND, ANY_VALUE, KIND, VALUE
from pinembed.assistant.references import NUMBERED
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
    r"(?<=\S) [,;.] (?:and |but )?not (?:an?|one)(?: single)? [a-z]+ (?:more|over|on top|above|extra)(?= [,;.]|$)",
    rf"(?<=\S)(?: [,;.] (?:or else|or|else|otherwise)| or(?: else)?(?= \S+'ll )) "
    rf"(?:it|they|that|i|we|he|she)(?:'ll|'d|'s)?{NAMES_NOTHING}+(?= [,;.]|$)",
)
REMARKS = re.compile("|".join(_REMARKS))
"""What is said beside a wish and wants nothing of the catalogue."""
SAME_TO_ME = r"(?:it|that)(?:'s| is| would be) (?:all )?(?:the same|one|equal) (?:to|for) (?:me|us)"
A_LIMIT = r"(?:price )?(?:limit|bound|end|price|budget)(?: of| is| at| ,)*"
IT_IS = r"(?:(?:that|it|they|these|those)(?:'s|'re| is| are| looks?| sounds?| seems?| feels?)? )?"
BY_HOW_MUCH = "(?:a bit |a little |bit |way |far |much |just |still )*"
A_REASON = r" (?:is|are|looks?|seems?|feels?|sounds?)(?: (?!but )[^\W\d]\S*){1,4}"
"""What is said of a value that is then turned down, which is no wish of its own."""
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
_AGO = (
    r"(?: (?:before(?: that)?|earlier|first|previously|just now|"
    r"an? (?:minute|moment|second|while|bit|few minutes) ago))"
)
_WAS = (
    r"(?: that)? (?:i|we|you) (?:just )?(?:had(?: shown)?|saw|showed|looked at|"
    r"(?:was|were) (?:just )?(?:on|at|in|looking at|seeing|viewing))(?: (?:me|us))?"
)
BACK_TO_WHAT_WAS = (
    r"\b(?:(?:take|bring|get|put|send|give|show) me )?(?:"
    rf"(?:go |went |gone |let's go )?back to (?:the |my |those |these |that )?(?:\S+ ){{0,2}}?\S+{_WAS}{_AGO}?|"
    rf"(?:to )?(?:the|that|my|those) (?:list|page|results|selection|ones|lot|things|stuff){_WAS}{_AGO}?|"
    rf"(?:to )?what{_WAS}{_AGO})(?= [,;.?]|$)"
)
"""The list before, as what somebody saw or had."""
A_PLACE = rf"(?:[1-9]\d?|{'|'.join(ONES[1:])})"
PLACES = (
    rf"(?<!\w){NUMBERED} (?P<places>{A_PLACE}(?: (?:, and|, or|,|and|or) {A_PLACE}(?!\w))+)"
    rf"(?! (?:{CURRENCY}|{UNIT_WORDS}|more|or)(?!\w))"
)
"""Several places behind one word: numbers two and three."""
AT_PLACES = (
    rf"\b(?:those|these|the ones|the two|ones) (?:at|on|in) (?:{NUMBERED} )?"
    rf"(?={A_PLACE} (?:, )?(?:and|or|,) {A_PLACE}(?!\w)(?! (?:{CURRENCY}|{UNIT_WORDS})(?!\w)))"
)
MONEY = rf"(?:(?:{CURRENCY}) {NUMBER}|{NUMBER} (?:{CURRENCY})(?!\w))"
HAS_ONLY = (
    r"\b(?:i|we|he|she|they)(?:'ve|'s)? (?:only |just )*(?:got|have|has|brought|saved(?: up)?)(?: got)?"
    rf"(?: only| just)? (?={MONEY})"
)
OVER_THAT = (
    rf"(?:at most )?({MONEY})((?: (?![\ue000-\uf8ff])\S+){{0,6}}?) (?:so |and |but )?(?:(?:not|nothing|never|don't go) "
    r"(?:over|above|beyond|more than)|no more than) (?:that|this|it)$"
)
A_PIECE = rf"({MONEY}) (?:(?:per|an?) (?:piece|item|unit|pop)|pc|pcs|pp|each|apiece)(?!\w)"
SHOWS_AT_MOST = (
    r"\b(?:(?:don't|do not|never|no need to) (?:show|give|list|bring)(?: me| us)? (?:more than|over|above)|"
    r"(?:show|give|list|bring)(?: me| us)? (?:no|not) more than) "
    rf"({A_PLACE})(?! (?:{CURRENCY}|{UNIT_WORDS})(?!\w))"
)
"""A number of things on the list, and no limit of a price."""
NO_THANKS = re.compile(
    rf"({VALUES}) [?,] (?:(?:no|nah|nope) (?:, )?(?:thanks|thank you|ta|way|please|chance)|never|nah|nope|yuck|ew|"
    r"(?<=[?] )no(?! ,))(?= [,;.]|$)"
)
"""A value that is asked for only to be turned down, which would be a courtesy elsewhere."""
A_VALUE = f"[{VALUE}-{chr(ord(KIND) - 1)}]"
_ANY = r"(?:any|every|all|whatever|an?) (?:other )?"
_BUT_THAT = (
    r" (?:but|except|bar|besides|(?:other )?than|apart from|save) (?:for )?(?:that|this|those|it)(?: one)?(?= [,;.]|$)"
)
ANY_BUT_SUCH = rf"{_ANY}(\w+){_BUT_THAT}"
ANY_BUT_THAT = rf"({A_VALUE})(.*) {_ANY}\w+{_BUT_THAT}"
"""What is not wanted was said before: any colour except that."""
_REWRITTEN: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (cues.CLEARS, cues.CLEARED),
    (r"\b(?:no|nr|pos) [.] (?=\d)", "number "),
    (rf"\b(max|min|approx|ca) [.] (?=(?:(?:{CURRENCY}) )?\D{{0,2}}\d)", r"\1 "),
    (AT_PLACES, "numbers "),
    (rf"\bboth (?={A_PLACE} and {A_PLACE}(?!\w)(?! (?:{CURRENCY}|{UNIT_WORDS})(?!\w)))", "both numbers "),
    (PLACES, lambda said: re.sub(A_PLACE, r"number \g<0>", said["places"])),
    (A_PIECE, r"\1"),
    (HAS_ONLY, "at most "),
    (OVER_THAT, r"at most \1\2"),
    (rf"({ANY_VALUE})(?: -)? ish\b", r"\1"),
    (r"\bone (?:right |just |directly )?(?:above|over) (?=(?:it|that|this)\b)", "one before "),
    (r"\bone (?:right |just |directly )?(?:below|under|beneath|following) (?=(?:it|that|this)\b)", "one after "),
    (SHOWS_AT_MOST, r"show \1 items"),
    (r"\b(?:weighs?|weighing) (?:a bit |a lot |far |much |way )?less\b", "lighter"),
    (r"\b(?:weighs?|weighing) (?:a bit |a lot |far |much |way )?more\b", "heavier"),
    (r"\b(?:holds?|holding) (?:a bit |a lot |far |much |way )?more\b(?= than|$)", "bigger"),
    (r"\b(?:undercuts?|beats?) (?=(?:the|that|this|number|it|#\d+|all|both)\b)(?!\w+ prices?)", "cheaper than "),
    (ANY_BUT_THAT, rf"{cues.NEGATION} \1\2"),
    (ANY_BUT_SUCH, rf"{cues.NEGATION} that \1"),
    (r"\b(others?|more|any|else|anything) left$", r"\1"),
    (rf"(?<=[,;.] )(?:and |but )?({VALUES}) (?:neither|(?:not )?either|nor)(?= [,;.]|$)", rf"{cues.NEGATION} \1"),
    (
        rf"\bi said ({ANY_VALUE}) but (?:what )?(?:i|we) (?:actually |really )?(?:want|need|mean)\w*(?: is| was)?",
        cues.CORRECTION,
    ),
    (r"\bmore (cheap|small|light|tall|strong|old|young|long|short|quiet|fast)(?= |$)", r"\1er"),
    (OUTGROWN, r"\1er"),
    (r"\bmore big\b", "bigger"),
    (rf"^({VALUES}) neither$", rf"{cues.NEGATION} \1"),
    *((rf"\bless (?:{words})(?!\w)", comparative) for words, comparative in TOO),
    *(
        (
            rf"^{IT_IS}{BY_HOW_MUCH}too (?:{words})(?: for {WHOM})?(?= [,;.]|$)",
            comparative,
        )
        for words, comparative in TOO
    ),
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
    (rf"{cues.AS_LONG_AS}(?: (?:it|they|that|this))?(?= (?:not|isn't|aren't|ain't|is not|are not)\b)", ","),
    (cues.AS_LONG_AS, "but"),
    (cues.IF_ANY, ""),
    (rf"({VALUES}){cues.CLASHES}", rf"{cues.NEGATION} \1"),
    (rf"({VALUES}) {cues.NOT_MY}", rf"{cues.FORGOTTEN} \1"),
    (r"\bstar (?=ratings?\b)", ""),
    (rf"\b(?:an?|one) ({UNIT_WORDS}) and a half\b", r"1.5 \1"),
    (rf"({AMOUNT})( {UNIT_WORDS}) and a half\b", r"\1 and a half\2"),
    (
        rf"({VALUES}) {cues.SUITS}(?P<too> (?:too|as well|also))?(?= |$)",
        lambda said: f"{said[1]} too" if said["too"] else f"{said[1]} only",
    ),
    (rf"({VALUES})(?:{cues.WELCOME})(?: too| as well| also)?", r"\1 too"),
    (rf"{cues.HAPPY_WITH} ({VALUES})(?!\w)(?! (?:{'|'.join(cues.NEGATIONS)}))", r"\1 too"),
    (rf"({VALUES}){cues.AVOIDS}", rf"{cues.NEGATION} \1"),
    (rf"({VALUES}){cues.MAY_GO}", rf"{cues.NEGATION} \1"),
    (cues.DECIDES, "take "),
    (cues.UNDO_PHRASES, "undo"),
    (cues.EARLIER_LIST, "previous list"),
    (r"\bmore of the same\b", "more"),
    (rf"\b({A_PLACE}) (?:extra|additional|further)(?: ones?)?$", r"\1 more"),
    (r"^(.+) only$", r"only \1"),
    (cues.NEXT_PAGE, "next"),
    (rf"\bnot (?:that|so|very|too|quite|really|all that) (?={ANY_VALUE})", "not "),
    (rf"({VALUES}){A_REASON} [,;.] {cues.PUTS} (?:it|them|those|that|these) {cues.AWAY}", rf"{cues.NEGATION} \1"),
    (rf"\b((?:{'|'.join(cues.NEGATIONS)}) {VALUES}) , {IT_IS}{BY_HOW_MUCH}too \w+$", r"\1"),
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
    text = NO_THANKS.sub(rf"{cues.NEGATION} \1", re.sub(r"[.](?: [.])+", ".", text))
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
