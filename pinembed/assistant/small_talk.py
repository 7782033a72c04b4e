"""Small talk: what is said to people and not of things, and what no catalogue answers; told apart from wishes."""

from __future__ import annotations

import re

from pinembed.assistant.words import VOWELS

_INTERJECTIONS = (
    "ah aha ahem argh aw aww bah blimey boo brr cheers cor crikey crumbs da dang darn doh drat duh eek eh er erm err "
    "eww ey fab gee golly goodness gosh ha haha hah heh hello hey heya hi hiya hm hmm hmmm ho hooray howdy huh hurrah "
    "jeez mhm nah naw nope och oh oho ohh okey dokey omg oof oi meh ooh oooh oops ouch ow phew pff please "
    "psst shh shucks sigh ta tada tut ugh uh uhh um umm wahey whew whoa whoops woah woohoo wow wowza yay yea yeah yep "
    "yes yikes yippee yo yum yup zzz aye righto "
    "afaik atm asap brb btw cya fwiw fyi gg idk idc ikr imho imo irl iirc jk lmao lmk lol np nvm omw rofl smh soz tbf "
    "rn fr ngl tbh thanks ttyl ty tysm wtf xoxo xx kinda sorta innit perf o bye goodbye cheerio toodles"
)
INTERJECTIONS = frozenset(_INTERJECTIONS.split())
"""Interjections and what is typed for them; nobody's wish, wherever they stand."""
_ADDRESSES = (
    "love dear darling dearie mate buddy bud pal man bro sis sir madam ma'am miss friend hun honey duck pet boss chief "
    "champ sweetie sweetheart chap folks guys team people lads ladies gents star legend lifesaver gem angel"
)
ADDRESSES = frozenset(_ADDRESSES.split())
"""What people are called; a wish too, where nothing else is said."""
_ALONE = (
    "ok okay all anyway anyhow anyways anybody anyone everyone everybody there good gd very morning afternoon evening "
    "night "
    "day today tonight greetings welcome right so well now then look listen see mind honestly frankly basically "
    "literally seriously obviously apologies excuse pardon sorry me bother bothering you your to a an the my for is "
    "brilliant wonderful splendid marvellous marvelous fantastic excellent super superb fabulous amazing awesome sweet "
    "terrific smashing ace jolly great nice lovely perfect cool fine fair enough neat understood agreed "
    "no worries problem luck joy dice thank many much so cheers gracias merci hola bonjour word lord god heavens days "
    "goodness bless "
    "her him alas shame pity how are ya doing doin going things life indeed absolutely exactly totally truly "
    "play quite really such true later soon take care day one"
)
ALONE = frozenset(_ALONE.split()) | ADDRESSES
"""Greetings, thanks, praise and forms of address, which are noise where nothing else stands between two signs."""
SIGN = re.compile(r"(?:^| )([,;.?])(?= |$)")
SERVICE = re.compile(
    r"\b(?:deliver(?:y|ies|s|ed|ing)?|shipping|shipped|shipment|ship (?:to|abroad|overseas|internationally|it|them)|"
    r"postage|refund(?:s|ed|able)?|(?:returns?|refund|exchange|privacy|cancellation) polic(?:y|ies)|returns|"
    r"(?:return|exchange|send back) (?:it|them|this|that|something|an? (?:item|order))|send \S+ back|money back|"
    r"(?:can|could|may|do|how do) (?:i|we) (?:return|exchange)(?! to\b)|(?:when|how long) .*(?:arrive|get here|come)|"
    r"pay(?:ing)? (?:by|with|using|via|in (?:cash|instal+ments)|later|cash|on (?:delivery|credit))|"
    r"payment|paypal|klarna|mastercard|amex|american express|(?:apple|google) pay|instal+ments|"
    r"(?:credit|debit) cards?(?! (?:holder|case|wallet))|(?:promo(?:tion(?:al)?)?|discount|voucher) codes?|"
    r"(?:student|nhs|military|staff|bulk|trade) discounts?|loyalty (?:card|scheme|program(?:me)?|points)|"
    r"my (?:order|parcel|package|account|password)|order number|price match(?:ing|es|ed)?|gift ?wrap(?:ping|ped|$)|say "
    r"(?:hi|hello)|"
    r"wrap (?:it|them)|opening (?:hours|times?)|(?:what|which) (?:hours|time|days)|are you (?:open|closed|shut)|"
    r"(?:click|call) and collect|in store|showroom|(?:outlet|shop|store) (?:in|near|around|at)|where are you|"
    r"customer (?:service|care|support)|phone number|email address|contact (?:you|us|details)|complain(?:ts?)?|"
    r"(?:speak|talk|chat) (?:to|with) (?:an?|the|some|your)|(?:real|actual) (?:person|human)|human being|chatbot|"
    r"(?:size|sizing) (?:guide|chart)|vacanc(?:y|ies)|unsubscribe|"
    r"book an? (?:appointment|repair|fitting|visit|table)|any(?:one|body) (?:home|there|around)|tell me a (?:joke|"
    r"story)|"
    r"weather (?:like|today|tomorrow|out|outside|forecast)|(?:lovely|nice|terrible|awful|good|bad|the) weather|"
    r"your name|how old are you|who (?:are|made|built) you|are you (?:an? )?(?:bot|robot|ai|human|real)|"
    r"(?:think|sleep|mull) (?:about|on|over) (?:it|that|this)|leave it (?:there|at that|for (?:now|today))|"
    r"that(?:'s| is|'ll be| will be) (?:it|all)(?: for (?:now|today))?$)\b"
)
"""What a shop is asked beside its goods: a closed class, and none of it stands in a catalogue."""
SERVICE_TOO = re.compile(
    r"\b(?:visa|discounts?|invoices?|receipts?|vouchers?|coupons?|parcel|track(?:ing)?|branch(?:es)?|warehouse|located|robot|"
    r"courier|"
    r"hiring|newsletter|tax|vat|appointment|wi ?fi|toilets?|car park|open|closed?)\b"
)
"""The same, in a question alone: a branch and a robot may be goods."""
REQUEST = re.compile(
    r"\b(?:(?:have|has) (?:you|they|y'all) (?:got|any)|(?:^|you )got|got (?:any|an?|some)|any|anything|something|some|"
    r"do(?:es)? (?:you|u|anyone|somebody|y'all) (?:\w+ )?(?:have|sell|stock|carry|offer|keep|make|do)|"
    r"(?:show|find|give|get|bring|fetch|recommend|suggest|see|browse|list|display|search|looking|after|hunting|seeking|"
    r"hoping|searching|shopping|ideas?|like|love|fancy|prefer|rather|want|wants|wanted|wish|gift|present)|"
    r"(?:can|could|may|might) (?:i|we) (?:\w+ )?(?:have|get|see|look|browse|try|buy)|have you|"
    r"would you (?:\w+ )?(?:have|stock|carry)|(?<!do i )(?<!do we )(?:need|needs)|(?:is|are) there|where (?:are|is) "
    r"(?:the|your)|available|in stock|what about|how "
    r"about|for (?:an?|the|my|our|his|her|their))\b"
)
"""How a thing is asked for."""
QUESTION = re.compile(
    r"^(?:what|who|whom|whose|when|where|why|how|which|is|are|was|were|am|do|does|did|can|could|will|would|shall|"
    r"should|may|might|must|has|have|had)(?:n't|'s|'re|'ll|'d)?\b"
)
STATEMENT = re.compile(
    r"^(?:(?:and|but|so|because|well) )?(?:i|we|you|he|she|it|they|that|this|there|these|those|my|our|your)"
    r"(?:'(?:m|s|re|ve|ll|d))? |^(?:isn't|aren't|wasn't) "
)
TAG = re.compile(
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should)n't (?:it|they|you|we|i|he|she)$"
)
"""Behind a remark that wants nothing but a nod: lovely day, isn't it?"""
KEYS = ("asdf", "sdfg", "dfgh", "fghj", "ghjk", "hjkl", "qwer", "zxcv", "xcvb", "cvbn", "vbnm", "uiop")
"""Runs of a keyboard's rows that stand in no word."""


def without_fillers(text: str) -> str:
    """A wish of words and marks without interjections, and without parts that only greet, thank or address."""
    text = " ".join(word for word in text.split() if word not in INTERJECTIONS)
    parts = SIGN.split(text)
    said = ["" if _is_noise(part) else part.strip() for part in parts[::2]]
    if not any(said) and set(text.split()) <= ADDRESSES:
        return text
    kept = "".join(f" {part} {sign if part else ''}" for part, sign in zip(said, [*parts[1::2], ""], strict=True))
    return " ".join(kept.split())


def _is_noise(part: str) -> bool:
    return all(word in ALONE for word in part.split())


def is_service(said: str, plain: str) -> bool:
    """Whether something is asked of a shop that stands in no catalogue.

    Args:
        said: all of the words.
        plain: those without courtesies.
    """
    return bool(SERVICE.search(said) or (SERVICE_TOO.search(said) and is_remark(said, plain)))


def is_small_talk(text: str) -> bool:
    """Whether a remark wants nothing but a nod."""
    return TAG.search(text) is not None


def parts_of(text: str) -> list[str]:
    """What stands between the signs."""
    return [part.strip() for part in SIGN.split(text)[::2]]


def is_remark(said: str, plain: str) -> bool:
    """Whether words in which no value or limit was found ask for no thing: a question to a person, or a remark.

    Args:
        said: all of the words.
        plain: those without courtesies.
    """
    if re.search(r"\d", said) or REQUEST.search(said):
        return False
    return any(QUESTION.search(text) or STATEMENT.search(text) for text in (said, plain))


def is_gibberish(word: str) -> bool:
    """Whether no word of a language looks so: no vowel, a run of keys, consonants that never stand together."""
    if not word.isalpha() or not word.isascii() or len(word) < len(KEYS[0]):
        return False
    clusters = re.findall(r"[^aeiouy]{5,}", word)
    return (
        (len(word) > len(KEYS[0]) and not set(word) & VOWELS)
        or any(keys in word or keys[::-1] in word for keys in KEYS)
        or any(set(cluster) & set("jqvxz") for cluster in clusters)
        or re.search(r"(.)\1{3}|(.{2,3})\2{2}", word) is not None
    )
