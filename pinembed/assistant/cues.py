"""The words by which people search, refine, point and ask: sets of words, and patterns over words and marks."""

from __future__ import annotations

import re

_STOPS = (
    "a an the some any of for to in on at by with from into and or me my i you your we our us is are be was were it "
    "it's its i'd i'm i'll i've we'd do does did done have has had can could would should will may might please "
    "thanks thank hi hello hey want wants wanted need needs like liked love looking look find search show give get "
    "see tell buy there this that these those them they their one ones something anything item items thing things "
    "product products piece pieces also just maybe perhaps then now so very really much many what which who whose "
    "how about let let's lets go ok okay yes well come comes coming got what's that's there's here ideally possibly "
    "made more next other others another else all every everything each both back first second third last same "
    "similar bit around case time ask asking might am been being him her his she he when where why while as if than "
    "only but , ; ? - not no nor instead rather preferably prefer actually make show sort order cheap price prices "
    "priced cost costs costing take put keep keeps start begin pick choose bring help list lists page pages options "
    "option choices choice results wrong sell sells nice great good better best fine though again step steps "
    "suggestion suggestions alternative alternatives idea ideas know mind buy think thinking thought hoping hope "
    "interested interest curious keen fond fancy special wondering wonder consider considering decided decide "
    "guess suppose probably definitely certainly possible possibly available shop store today wish wished stick "
    "settle fits open say few several couple detail load fetch display reveal present extra additional scroll "
    "zoom check tap click press arrange organise organize combine wear team coordinate style beat reduce lower "
    "bring down wallet money spend spending afford willing budget even too still either neither again already quite "
    "rather ever after said mean means meant says + has having getting gets since though although because raise "
    "among amongst stuff can't cannot hm hmm um uh oh ah wow cool perfect lovely sth looks looked seems . increase "
    "extend sort few made making myself showing shown lot lots bunch batch whichever whatever matter matters anybody "
    "fussed fussy picky bothered particular browsing browse onto moving move wait hang hold either's somehow until "
    "hadn't haven't hasn't wasn't weren't wouldn't couldn't shouldn't didn't won't ain't needn't i'll you're they're "
    "up care bother fuss spose nonsense rubbish malarkey crap tat preferred prefered liked none seem seems seemed lost "
    "he's she's who'd it'd y'all you've you'd you'll they've they'd who's rest page pages turn going gone got "
    "somewhere must percent alright acceptable works someone somebody anyone everyone his hers theirs mine yours ours "
    "less believe worth number exist exists existing gladly happily swap add forget pay paying paid"
)
STOP_WORDS = frozenset(_STOPS.split())
"""Words that name nothing; they are no part of a text for the encoder."""
_NAMES = "down case wallet check press tap display load wear bit page list style time detail team beat step fancy"
NAMES_TOO = frozenset(_NAMES.split())
"""Stop words that may be values of a table."""
_BEFORE = ", ; - + to a an the some any no not without only or and of in with from but for be being is are"
_BEHIND = (
    ", ; ? - + or and not but under over below above between for with in from up please filling filled fill lined "
    "ones one too only also instead then"
)
LEADS_TO_NAMES, FOLLOWS_NAMES = frozenset(_BEFORE.split()), frozenset(_BEHIND.split())
"""What stands before and behind such a word where it is one."""
_CUES = (
    "cheaper cheapest expensive pricier priciest compare comparison versus difference different without except "
    "excluding between under below above over similar instead matches match matching goes pairs undo previous second "
    "third fourth fifth sixth seventh eighth ninth tenth another describe details most least affordable inexpensive "
    "dearer dearest budget than fewer maximum minimum around about roughly ascending descending sorted order"
)
CUE_WORDS = frozenset(_CUES.split())
"""Words that a slip of the keyboard is compared with, beside the catalogue's own."""
_SLIPPED = (
    "too which middle better bigger smaller lighter heavier shorter longer wider taller bottom would could should "
    "until really please thanks something anything everything nothing upwards within without"
)
SLIPPED = frozenset(_SLIPPED.split())
"""The same, where a slip has no letter but the word's own: beter, and not bitter."""

CORRECTION, FRESH, FORGOTTEN, CLEARED = "\uf000", "\uf001", "\uf002", "\uf003"
"""Marks: before what is meant instead, in the place of what is done with, before values that shall go, and in the place
of the words by which all conditions go."""
_CONDITIONS = "(?:filter|condition|restriction|requirement|constraint|limit|wishe|criterion|setting|preference)"
_ALL = "(?: (?:all|everything|every|each|of|about|the|my|our|these|those|that|single|last|other|and|previous|it|i))*"
CLEARS = (
    r"\b(?:let's |let us |i want to |can we |please )?(?:"
    rf"(?:clear|reset|remove|drop|lift|delete|cancel|forget|scrap|undo|wipe|lose|ditch|get rid of|take (?:off|away)|"
    rf"without|no(?: more| other)?){_ALL} (?:{_CONDITIONS}s|criteria)"
    r"(?: (?:off|away|at all|whatsoever|i (?:had|set|said|gave)))?(?! (?:on|as to|about|of|for)\b)"
    r"(?: (?:save|except) that)?|"
    rf"(?:(?:drop|lift|remove|clear|forget|scrap|cancel) )?every (?:single |last )?{_CONDITIONS}|"
    r"(?:forget|clear|reset|scrap|wipe|drop|lift|cancel|remove) "
    r"(?:it all|everything|the lot|all (?:of )?(?:that|this|it|those|these))"
    r"(?: i (?:said|asked(?: for)?|told you|wanted))?(?! (?:but|except|apart|by|from|that)\b)(?! [\ue000-\ue7ff])|"
    r"(?:start|begin)(?:ing)? (?:all )?(?:over|again|afresh|anew|fresh)(?: again| from (?:scratch|zero))?|"
    r"(?:start|begin)(?:ing)? (?:again )?(?:from scratch|from zero|with a clean slate)|"
    r"(?:(?:start|begin|go)(?:ing)? )?(?:again )?(?:from|back to) the (?:very )?(?:beginn?ing|start)(?= [,;.]|$)|"
    r"reset(?=$| [,;.])|wipe the slate clean|(?:a )?(?:clean|blank|fresh) (?:slate|start)|from scratch|"
    r"back to square one"
    r")(?! \w+ (?:limit|filter)\b)"
)
"""Nothing that was said holds any longer but what kind of thing it is."""
POLITE = (
    r"(?:please|thanks|thank you|ok|okay|hi|hello|hey|yes|well|can you|could you|would you|can i|could i|may i|"
    r"m{2,}|aight|(?:seriously|honestly|frankly|basically|literally)(?! \S+ (?:priced|cheap)\b)|"
    r"be so kind as to|kindly|possibly|mind(?= \w+ing)|any chance (?:of|you (?:can|could))|is it possible to|"
    r"(?:i was |i'm )?wondering (?:if|whether)|i wonder if|do you (?:think you could|mind)|"
    r"i'd like(?: you)? to|i want to|i would like to|let me|let's|now|then|actually|k(?= |$)|no(?= (?:[,.;?]|just|only|"
    r"wait|thanks|"
    r"sorry))|"
    r"alright|right(?! (?:hand|side|handed))|so|look(?= ,)|listen|anyway|anyhow|on second thoughts?|wait|hold on|hang "
    r"on|"
    r"sorry|i mean|scratch that|strike that|,|;|[.]|-|\uf000)"
)
UNDO_CUES = (
    r"\b(?:undo|(?<!i'm )back|previous|before(?! (?:it|that|this)\b)|"
    r"(?<!one )before|earlier|return|revert|scrap|cancel|never ?mind|forget (?:that|it|about "
    r"it)|"
    r"take (?:that|it) back|rewind|restore)\b"
)
"""Where nothing else is said: back to the list before."""
UNDO_PHRASES = (
    r"\b(?:forget|undo|scrap|cancel|revert|drop|take back)(?: about)? "
    r"(?:that|the|this|my)?(?: ?last| ?previous| ?latest)? ?"
    r"(?:step|change|thing|search|request|wish|bit|one|filter|condition|move|tweak|edit)\b|"
    r"\bback (?:an?|one|two|three|\d) (?:steps?|lists?|pages?|searches)\b"
)
MORE_CUES = (
    r"\b(?:more|others?|else|next|further|additional|extra|another|rest|remaining|continue|go on|"
    r"keep (?:going|them coming))\b|"
    r"^(?:is (?:that|this|it)|(?:that|this)(?:'s| is)) (?:all|it|the lot|everything)(?: (?:you|there)\b.*)?$"
)
"""Where nothing else is said: the next page."""
NARROWS = (
    r"\b(?:narrow|(?<!my )(?<!the )(?<!a )(?<!no )limit(?! (?:is|can|could|may|should)\b|$)|restrict|refine|filter|cut)"
    r"(?: (?:it|this|that|them|these|those|the list))?(?: down)?"
    r"(?: to| by)?\b"
)
OFFERED_IN = (
    r"[\uec00-\uefff].*\b(?:available|looks?|comes?|exists?|sold|offered|made|produced|obtainable|also|too)\b"
    r".*\b(?:in|as|with) (?:an? )?[\ue000-\ue7ff]"
)
"""A question whether an item is there with another value."""
COMPARE_CUES = (
    r"\bpros and cons\b|\bwhich (?:one )?is better\b|"
    r"\bcompar(?:e|es|ed|ing|ison)\b|\bdifferen(?:ces?|t from)\b|"
    r"\b(?:how|are|is|look|looks|what)\b.* different\b|"
    r"\bdiffer\b|\bdistinguish\w*\b|"
    r"[\uec00-\uefff] (?:next to|beside|alongside) (?:the )?[\uec00-\uefff]|\bapart from (?:the )?[\uec00-\uefff]|"
    r"\bversus\b|\bvs\b|\bside by side\b|\b(?:next to|beside|against) (?:each |one an)other\b|"
    r"\bhave in common\b|\bcontrast\b|\b(?:stack|measure|shape)s? up(?= (?:against|to|with)\b|$)|\bsets? .*\bapart\b"
)
EARLIER_LIST = (
    r"\b(?:the )?(?:last|first|earlier|old) (?:list|results|page|search|lot|selection|batch)\b|\bpage (?:one|1)\b"
)
NEXT_PAGE = r"\b(?:page (?:two|2|three|3)|(?:second|2nd|other) page)\b"
CHEAP_TO_DEAR = (
    r"\b(?:from )?least to most expensive\b|"
    r"\b(?:from )?(?:the )?cheap(?:est)? to (?:the )?(?:most )?(?:expensive|dear|dearest|pricey|priciest)\b"
)
DEAR_TO_CHEAP = (
    r"\b(?:from )?most to least expensive\b|"
    r"\b(?:from )?(?:the )?(?:most )?(?:expensive|dear|dearest|pricey|priciest) to (?:the )?cheap(?:est)?\b"
)
GOES_CUES = (
    r"\b(?:combine|pair|match|wear|team|style|coordinate)\b.* (?:with|to)\b|\baccessor(?:y|ies) (?:for|to)\b|"
    r"\b(?:fitting|suitable|right|nice) (?:to|for|with|beside|next to) (?:the )?[\uec00-\uefff]|"
    r"\bgo(?:es|ing)?(?: \w+)? with\b|\bmatch(?:es|ing)?\b|\bpairs? (?:\w+ )?with\b|(?<!a )\bpair\b|\bcomplements?\b|"
    r"\bgo(?:es)? together with\b|\bfits?\b(?= (?:to|with|the|it|[\ue000-\uf8ff]))|"
    r"\b(?:buy|wear|get|take|order|put|use|need|have)\b.* with [\uec00-\uefff]|"
    r"\bsuits?\b|\bcompletes?\b|\b(?:next to|beside|alongside|together with) (?:the )?[\uec00-\uefff]|"
    r"^(?:what|which)(?P<kind> [\ue400-\ue7ff])? (?:do|does|should|would|can|could) (?:i|we|you|one) (?:\S+ ){1,3}?"
    r"[\uec00-\uefff] (?(kind)(?:into|in|with|to|on|onto|under|over)|(?:into|with))$|"
    r"\b(?:do|does|doing) [\uec00-\uefff] justice\b|"
    r"\blooks? (?:\w+ )?with\b|\b(?:nice|good|great|well|lovely) with (?:the )?[\uec00-\uefff]|\bwork(?:s)? with\b"
)
ALIKE_CUES = (
    r"\b(?:same|similar|(?<!i )(?<!we )(?<!would )(?<!'d )like|alike|resembl\w+|in the style of|as(?! (?:well|soon|"
    r"long))|"
    r"closest to|identical)\b"
)
QUESTION_CUES = (
    r"^(?:what(?!ever|(?:'s)? (?:about|else|goes|matches|would go))|which|who|whose|is\b(?! there)|are\b(?! there)|"
    r"does|"
    r"do(?! (?:(?:me|us)\b|[\ue000-\ue7ff]))(?! (?:you|[\uec00-\uefff]) (?:have|sell|carry|stock|offer|make|keep|"
    r"know))|did|has|"
    r"tell|describe|details|explain|more (?:about|details|info\w*)|info\w*|"
    r"how(?! about)|why|when|where|was|give me (?:details|info\w*|more (?:about|details|info\w*)))|"
    r"[,;.?] (?:and |so )?(?:which|what|who|how)(?:'s| is| are| one| many| much| [a-z]+)\b(?<! about)(?<! else)|"
    r"[,;.?] (?:and |so )?(?:is|are|do|does|did|has|have|was|were|would|will|can|could) [\uec00-\uefff]|"
    r"^(?:and |but |so )?(?:would|will|can|could|might)(?:n't)? [\uec00-\uefff]"
    r"(?! (?:\S+ )?(?:be(?! \w+ed\b)|come|get)\b)"
)
"""How a question begins that is about what is shown."""
TELLS = r"\b(?:tell|about|info\w*|details?|describe)\b"
CHANGES = r"[\uec00-\uefff].*\b(?:but|in|with|instead|only|made)\b|^(?:but|in|with|only|made|instead)\b|\bversion\b"
"""Behind an item, or first of all, before a word that no column knows: the item with this, not a remark on it."""
REMARK = (
    r"^(?:(?:that's|that is|it's|these are|those are|they're) )?(?:(?:a bit|way|just|far) )?too "
    r"(?:strict|tight|(?:few|many)(?= ,)|limiting|narrow|(?:little|low|much|high)(?= ,? ?\d)) (?:, )?"
)
"""Before what is wanted instead: too strict, 3.5."""
IF_ANY = (
    r"(?<!tell me)(?<!know)(?<!see)(?<!check)(?<!ask)(?<!wonder)(?<!wondering) if "
    r"(?:[^\d\ue000-\uf8ff]+|(?:there's|there is|there are|you have|you've got) no [\ue000-\uebff])$"
)
"""A condition at the end that names nothing: if you have it, if there is no orange."""
AS_LONG_AS = r"\b(?:(?:as|so) long as|provided(?: that)?|so long)(?: (?:it's|it is|its|they're|they are|that's))?\b"
WHAT_IF = r"^what if (?:we|i|you) (?:went|go|took|take|tried|try|said|say|had|made|make)\b"
"""A suggestion, and no question about items."""
IT_SHOULD_BE = r"\bit (?:should|must|can|could|may|has to|needs to|ought to|would have to) be\b"
CAN_IT_BE = (
    r"^(?:can|could|may|might) (?:it|they|these|those|that) be (?=(?:any |a bit )?(?:cheap|less|more|low|dear|pric))"
)
THEY_SHOULD_BE = r"\b(?:they|these|those) (?:should|must|have to|need to|ought to|would have to) be\b"
DECIDES = r"^(?:(?:i'll|i will|we'll|we will|i'd|rather|let us) )*(?:go|stick|settle) (?:with|for|on) "
FILTER_CUES = (
    r"^(?:but|not|without|only|no|just|and|or|also|with|in|under|over|below|above|less|between|at (?:most|least)|"
    r"what about|how about|make (?:it|them|that)|maybe|preferably|rather|instead|except|excluding|nothing|anything but|"
    r"i (?:don't|do not) (?:want|like)|i(?:'d)? prefer|make|they should|it should|should be|must be|"
    r"of those|of these|from these|among|any|"
    r"don't|do not|up to|max|from|too)\b|\b(?:ones|one|them|those|these|instead|they)\b"
)
EVERYTHING = (
    r"(?:(?:show|list|see|browse|display) )?(?:me )?"
    r"(?:everything|all(?: items| products)?|the (?:whole )?catalog(?:ue)?)|what do you (?:have|sell)"
)
MAKE_IT = r"\bmake (?:it|that|them|this|those)\b"
_NEGATING = (
    "not no without except excluding exclude non never isn't aren't ain't don't doesn't shouldn't mustn't nothing "
    "avoid nor minus neither"
)
NEGATIONS = frozenset(_NEGATING.split())
NEGATION_PHRASES = (
    r"\b(?:(?:all|any|every|anything|everything)(?: (?:other )?\w+)? (?:but(?! not)|bar|barring|save|except)|other "
    r"than|instead of|rather than|apart from|aside from|free of|"
    r"(?:leave|take|filter|rule|cut|throw|sort|chuck|toss|kick|weed) (?:out|off|away)|besides|"
    r"(?:hide|skip|remove|drop|omit|exclude|ditch|lose|ban|eliminate|discard|strike|scratch|dump)"
    r"(?: everything| all| any)?|"
    r"get rid of|not (?:really |exactly )?(?:a|the) (?:big |huge |great )?(?:fan|friend|lover) of|"
    r"not (?:very |so |too |really )?(?:fond|keen) (?:of|on)|not (?:into|interested in)|"
    r"(?:can't|cannot|couldn't|won't|wouldn't) (?:do|be|have|take|use|wear|stand|bear|abide|want|like|go for)|"
    r"(?:don't|doesn't|do not|does not) (?:really |much )?care (?:much )?for|"
    r"(?:sceptical|skeptical|unsure|not (?:so |too |really )?(?:sure|convinced)|doubtful|wary|worried) (?:about|of|by)|"
    r"none of (?:that|those|these|this|the|your)(?= )|tired of|sick of|bored of|enough of|allergic to|"
    r"(?:hate|dislike|detest|loathe)[sd]?|no longer (?:want|need|like|into|interested in))\b"
)
NEGATION = "without"
PUTS = r"(?:take|leave|throw|filter|put|sort|cut|rule|keep|cross|send|weed|chuck|toss|kick)"
"""Verbs that with `out` or `away` behind what they are about exclude it."""
AWAY = r"(?:out|away|off|aside)\b"
FORGET = (
    r"\b(?:forget|scrap|ignore|never ?mind|drop|remove|strike|scratch|cancel)(?: about)?(?: the| my| any)*"
    r"(?= [\ue000-\ue7ff])|"
    r"\b(?:i|we|he|she|they)(?:'ve|'s)? (?:already (?:have|has|got|own)|(?:have|has|got) (?:got )?(?:enough|plenty|"
    r"loads|tons)(?: of)?)"
    r"(?: an?| some| the| enough)*(?= [\ue000-\ue7ff])"
)
"""Verbs by which a value goes: the condition that wants it, or else every item that has it."""
ENDS_NEGATION = frozenset(
    ["but", "only", "instead", ";", ".", "?", "with", "in", "because", "since", "though", "although"]
)
_BEGINNINGS = "for from by at under over made i we he she they it's preferably maybe ideally"
BEGINS_ANEW = frozenset(_BEGINNINGS.split())
"""Words that behind a comma begin something else than the next thing that is not wanted."""
NOT_MY = (
    r"(?:isn't|is not|aren't|are not) (?:(?:really|quite|exactly) )?(?:for (?:me|us)|"
    r"to (?:my|our|his|her|their)(?: \S+)? (?:taste|liking)|(?:my|our|his|her|their) \S+)"
)
DISLIKED = (
    r"(?:(?: is| are| would be)? (?:so |too |just )?"
    r"(?:awful|ugly|horrible|hideous|boring|out(?: too| as well)?(?= [,;.]|$))|"
    r" (?:is|are|would be) (?:out|not for me|no good|not my (?:thing|style|taste)|"
    r"(?:a bit|a little|a touch|rather) (?!cheap|expensive|pricey|dear|costly|better|more|less)\w+|"
    r"(?:a bit |just |far |way )?too (?!cheap|expensive|pricey|dear|costly)\w+))"
)
ABOUT_ONESELF = (
    r"\b(?:i'm|i am|we're|we are|he's|she's|they're) not(?! (?:looking|after|searching|interested|fond|into|keen|"
    r"wearing|"
    r"going|buying|paying|spending)\b)(?: (?![,;.?\ue000-\uf8ff])\S+)+(?= [,;.?]|$)"
)
"""What somebody is not, and no thing shall be: I'm not daft."""
_REPAIRS = (
    r"no(?! [\ue000-\ue7ff])|nah|nope|oh|ah|er|erm|um|uh|well|but|oops|whoops|sorry|wait|hang on|hold on|actually|"
    r"rather|or rather|"
    r"scratch that|strike that|correction|i (?:tell a )?lie|my (?:mistake|bad|error)|let me rephrase|what am i saying|"
    r"silly me|on second thoughts?|come to think of it|(?:what )?i (?:really |actually )?meant?(?: to say)?(?: was| "
    r"is)?|"
    r"(?:i should|should i|shall i|shall we) say|that's (?:wrong|not right)|not that"
)
REPAIR = (
    rf"(?<=\S)(?P<run>(?: [,;.?-]| (?:{_REPAIRS})(?!\w))+)(?: make (?:it|that))?(?: (?:it|that) was(?= an? ))?(?= \S)"
)
"""A run of the words by which people take back what they said, and of signs."""
REPAIRS = (
    r"\b(?:no (?:wait|hang on|hold on|sorry|actually|rather)|wait no|actually no|(?<!you know what )i (?:\w+ )?meant?|"
    r"scratch that|strike that|or rather|i (?:tell a )?lie|my (?:mistake|bad|error)|rephrase|what am i saying|silly me|"
    r"(?:should i|i should|shall i|shall we) say|second thoughts?|correction)\b|"
    r"[,;.?-] (?:no|oops|whoops|sorry|wait|hang on|hold on)(?: [,;.?-])"
)
"""What such a run has, if it takes something back: a bare `no` or `sorry` only between signs."""
_VALUES = "[\ue000-\ue7ff](?: (?:(?:and|or) )?(?:the )?[\ue000-\ue7ff])*"
DONE_WITH = (
    rf"(?:\b(?:that's|that is|i'm|i am|we're|we are|me|us|now|all) )*(?:\b(?:done|finished|sorted|through) with|"
    rf"\benough about|\b(?:i've |we've )?(?:seen|had) enough(?: of)?) "
    rf"(?:the |my |our |looking at )*{_VALUES}|"
    rf"(?:\b(?:that's|that is|that|so|me|us|got) )*(?:\b(?:the|my|our) )?{_VALUES} "
    r"(?:(?:is|are|all|now|both|can|could|will|have|has|to|been) )*"
    r"(?:done|sorted|finished|chosen|dealt with|settled|taken care of|out of the way|ticked off|covered|wait|later)"
    r"(?: (?:then|now|with|for now))?(?!\w)|"
    rf"^(?:(?:i've|we've|i|we) )?(?:sorted|found|bought|chosen|picked|ordered)(?: out)? (?:the|my|our|an?) "
    rf"{_VALUES}(?= [,;.])"
)
"""What is looked at no longer: clocks can wait, that's pumps sorted."""
NONE_OF_THEM = (
    r"(?: (?!(?:hate|dislike|detest|loathe|can't|don't)\b|[\ue000-\uf8ff])\S+){0,5} "
    r"(?:none of|no|not|without|skip|avoid|exclude|hide) (?:those|them|these)$"
)
KEEPS_TO = (
    r"\b(?:keep|cap|limit|hold|up|raise|increase|push|bump|lower|reduce|bring|change|set|stretch) (?:it|this|that|them|"
    r"things|"
    r"(?:the |my )?(?:price|costs?|budget)) "
    r"(?:down |up )?(?:to|at) (?=\D{0,2}\d|(?:an? )?(?:hundred|thousand|grand|\w+ty|ten)\b)"
)
HAPPY_WITH = (
    r"(?:\b(?:i'd be|i'm|i am|we're|we'd be|she'd be|he'd be) (?:also )?(?:fine|ok(?:ay)?|happy|good|cool) with(?: the|"
    r" an?)?|"
    r"\b(?:i|we|she|he) (?:don't|wouldn't|doesn't) mind(?: the| an?)?)"
)
"""Before a value that is welcome too."""
AVOIDS = (
    r"(?: ones| things)?(?: (?:is|are)(?: an?)?(?: \S+)?)? (?:that |which )?i (?:(?:always|really|usually|rather) )?"
    r"(?:avoid|hate|dislike|can't stand|"
    r"(?:don't|do not) (?:like|want|need|trust|buy|wear|use))(?: to (?:see|have|get))?$"
)
CLASHES = (
    r"(?: ones| things)? (?:don't|doesn't|do not|does not|won't|wouldn't) (?:really )?(?:go|fit|match|work|suit)"
    r"(?: well)?(?: in| into| with| to)? (?:my|our|the|his|her|their) \S+"
)
MAY_GO = (
    r"(?: ones)? (?:(?:can|may|must|should|has to|have to) (?:go|leave|disappear|be (?:dropped|removed|left out))\b|"
    r"(?:(?:are|is|being) )?(?:excluded|excepted|aside|not included)(?= [,;.?]|$))"
)
"""Behind a value that is not wanted: tarn is a brand i avoid, everything by tarn can go."""
SUITS = (
    r"(?:(?:would|will|might|could|should|may) )?(?:suits?|fits?|works?|do(?:es)?) "
    r"(?:for )?(?:me|us|him|her|them|my \S+|our \S+)(?: (?:best|better|well|fine))?"
)
"""Behind a value that is welcome: plain would suit us."""
WELCOME = (
    r"(?: (?:all|both|also|would|will|could|might|can|is|are|be|just|totally|perfectly))+ "
    r"(?:works?|do(?! (?:the|this|that|it|number)\b)|fine|ok(?:ay)?|alright|cool|good|great|acceptable|possible|"
    r"welcome)\b|"
    r" (?:fine|ok(?:ay)?|alright|acceptable|welcome)(?= (?:too|as well|also|now|after all)\b|$)"
)
OF_THEM = r"(?: (?:want|like|need|see|show|to|me))* (?:those|them|these|that|it)(?= |$)"
"""Behind a negation, where what is meant was said just before: stripes? I don't want those."""
A_LITTLE = r"\ba (?:little|bit|tad|touch)(?: bit)?(?= (?:more|less|over|under|above|below|higher|lower|cheaper))"
PEOPLE = frozenset(["people", "men", "women", "children", "teeth", "feet", "mice"])
"""Plurals without their ending."""
NO_THINGS = frozenset(["upwards", "onwards", "tops", "always", "besides", "plus", "sometimes"])
"""Words with the ending of plurals that name nothing."""
_PATTERNS = " ".join(words for words in [*globals().values()] if isinstance(words, str))
NAMED_WORDS = STOP_WORDS | CUE_WORDS | SLIPPED | frozenset(re.findall(r"(?<![a-z\\])[a-z]{4,}", _PATTERNS))
"""All words that rules look for, which are no slips of a catalogue's: to stack up is no stock."""
