"""How scripted people say each act: wordings that the rules were made by, and others that are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Phrasings:
    """Sentences with places in braces.

    Attributes:
        known: that the rules were made by.
        held_out: that judge them.
    """

    known: Sequence[str]
    held_out: Sequence[str]


PHRASINGS: Mapping[str, Phrasings] = {
    "search": Phrasings(
        known=(
            *("{values} {kinds}", "show me {values} {kinds}", "I'm looking for a {values} {kind}"),
            *("got any {values} {kinds}?", "could you find me some {values} {kinds}"),
            *("my flat needs a {values} {kind}", "we are after {values} {kinds}", "where are the {values} {kinds}?"),
            *("do you sell {values} {kinds}?", "I could use a {values} {kind}", "let's see your {values} {kinds}"),
            *("time for a new {values} {kind}", "I'd like to see {values} {kinds}", "{kind} wanted: {values}"),
            *("what {values} {kinds} have you got?", "please find a {values} {kind} for my mother"),
            *("I need a {values} {kind}", "can I have a look at {values} {kinds}?", "{values} {kinds} please"),
            *("anything like a {values} {kind}?", "are there any {values} {kinds}?"),
            *("my sister wants a {values} {kind}", "which {values} {kinds} do you offer?"),
            *("hello, {values} {kinds}, please", "I was hoping for a {values} {kind}"),
            *("take me to the {values} {kinds}", "we want {values} {kinds}", "got {values} {kinds}?"),
            *("could I see a few {values} {kinds}", "a {kind} that is {values}"),
            *("I am searching for a {values} {kind}", "good morning, where do I find {values} {kinds}?"),
            *("do you happen to have {values} {kinds}?", "let me have {values} {kinds}"),
            *(
                "are {values} {kinds} in your range?",
                "please list {values} {kinds}",
                "show all {values} {kinds}",
                "I came for a {values} {kind}",
            ),
            "which {values} {kinds} would you recommend?",
        ),
        held_out=(
            *("I would like a {values} {kind}", "can you help me find {values} {kinds}?"),
            *("I want to buy a {values} {kind}", "do you carry {values} {kinds}?"),
        ),
    ),
    "search <": Phrasings(
        known=(
            *("{values} {kinds} under {limit}", "show me {values} {kinds} below {limit} euros"),
            *("a {values} {kind} that costs less than {limit}", "{values} {kinds}, cheaper than {limit} please"),
            *("{values} {kinds} with a price below {limit}", "a {values} {kind} for less than {limit} euros"),
            *("any {values} {kinds} under {limit}?", "{values} {kinds} priced below {limit}"),
            *("{values} {kinds} for under {limit}", "a {values} {kind} below {limit} euros"),
            *("a {values} {kind}, it has to be under {limit}", "do you have {values} {kinds} for less than {limit}?"),
            *("{kinds} under {limit}, {values}", "find me a {values} {kind} that is below {limit}"),
            *("{values} {kinds} that stay below {limit}", "a {values} {kind}, cheaper than {limit}"),
            *("what {values} {kinds} are there under {limit}?", "only {values} {kinds} below {limit}"),
            *("{values} {kinds} at a price below {limit}", "could you look for {values} {kinds} under {limit}?"),
            *("is there a {values} {kind} for less than {limit}?", "{values} {kinds} less than {limit} euros"),
        ),
        held_out=(
            *("{values} {kinds} under {limit} please", "I need a {values} {kind} below {limit}"),
            "show {values} {kinds} that cost less than {limit}",
        ),
    ),
    "search <=": Phrasings(
        known=(
            *("{values} {kinds} for at most {limit}", "{values} {kinds} up to {limit}"),
            *("{values} {kinds}, spending no more than {limit}", "find {values} {kinds}, {limit} or less"),
            *("a {values} {kind}, max {limit}", "{values} {kinds}, my budget is {limit}"),
            *("{values} {kinds} that don't cost more than {limit}", "{values} {kinds} within {limit}"),
            *("a {values} {kind}, {limit} at most", "I can pay up to {limit} for {values} {kinds}"),
            *("{values} {kinds} for {limit} or under", "{values} {kinds}, maximum {limit}"),
            *("I have {limit} to spend on a {values} {kind}", "{values} {kinds}, {limit} or cheaper"),
            *("a {values} {kind} not above {limit}", "{values} {kinds} costing {limit} at most"),
            *("{values} {kinds} with a price up to {limit}", "my limit is {limit}, {values} {kinds} please"),
            *("{values} {kinds}, no more than {limit}", "{limit} at most for a {values} {kind}"),
            *("{values} {kinds}, I'd spend {limit} at most", "a {values} {kind} for {limit} euros or less"),
            *("show {values} {kinds} up to {limit} euros", "a {values} {kind} with a budget of {limit}"),
        ),
        held_out=(
            *("{values} {kinds} for no more than {limit}", "a {values} {kind} up to {limit}, please"),
            "I can spend {limit} on a {values} {kind}",
        ),
    ),
    "narrow": Phrasings(
        known=(
            *("only {value} ones", "in {value}", "{value}", "just the {value} ones"),
            *("can you narrow it down to {value}?", "I'd prefer {value}", "{value} please"),
            *("do you have them in {value}?", "{value} would be nice", "make it {value}", "I only want {value}"),
            *("how about {value}?", "could they be {value}?", "which of them are {value}?", "they should be {value}"),
            *("{value} only", "let me see the {value} ones", "preferably {value}", "give me {value} ones"),
            *("and {value}?", "what do you have in {value}?", "I'd rather have {value}"),
            *("could you show only {value}?", "let's go with {value}", "any {value} ones among them?"),
            *("I was thinking of {value}", "keep only the {value} ones", "I want {value} ones", "just {value}"),
            *("filter by {value}", "what about {value} ones?", "ideally in {value}", "it needs to be {value}"),
            *("are some of them {value}?", "then {value}", "I need them in {value}", "{value} ones please"),
            *("can I have {value}?", "limit it to {value}"),
        ),
        held_out=(
            *("show me just the {value} ones", "I'd like {value}", "do any come in {value}?", "must be {value}"),
            "what else is there in {value}?",
        ),
    ),
    "exclude": Phrasings(
        known=(
            *("not {value}", "without {value}", "anything but {value}", "I don't want {value}"),
            *("leave out the {value} ones", "skip {value}", "no {value}, please", "hide everything {value}"),
            *("{value} is out", "nothing {value}", "get rid of the {value} ones", "I'm not into {value}"),
            *("except {value}", "I hate {value}", "not {value} though", "without anything {value}"),
            *("please no {value}", "just not {value}", "everything except {value}", "I dislike {value}"),
            *("no {value} ones", "I can't stand {value}", "remove the {value} ones", "no more {value}"),
            *("avoid {value} please", "everything but {value}", "I don't like {value}", "hide the {value} ones"),
            *("anything that is not {value}", "but please not {value}", "I want them without {value}"),
            *("drop the {value} ones", "{value} is not for me", "no {value} for me", "please leave {value} out"),
            *("nothing in {value}", "all but {value}", "I'd rather not have {value}", "take the {value} ones away"),
        ),
        held_out=(
            *("I do not want {value}", "without the {value} ones", "exclude {value}", "not the {value} ones"),
            "forget about {value}",
        ),
    ),
    "cheaper": Phrasings(
        known=(
            *("cheaper", "a bit cheaper please", "show me cheaper ones", "that's too expensive"),
            *("have you got anything less pricey?", "something more affordable", "lower prices please"),
            *("is there anything cheaper?", "show me less expensive ones", "I can't spend that much"),
            *("do these come cheaper?", "any that cost less?", "hm, too pricey", "anything for less money?"),
            *("cheaper options?", "go lower", "do you have cheaper ones?", "less expensive please"),
            *("I want to spend less", "can you go any lower in price?", "those cost too much"),
            *("something easier on the wallet", "that is more than I want to pay", "not so expensive please"),
            *("got something for a smaller budget?", "too much money", "cheaper ones please"),
            *("is there something at a lower price?", "show me the ones that cost less", "reduce the price"),
            *("more affordable ones", "I'd like to pay less", "they are too expensive for me"),
            *("anything below these prices?", "can it be cheaper?", "do you have less expensive options?"),
            "this is over my budget",
        ),
        held_out=(
            *("anything cheaper?", "show cheaper alternatives", "I need something less expensive"),
            "the prices are too high",
        ),
    ),
    "cheaper than": Phrasings(
        known=(
            *("cheaper than the {ordinal}", "less expensive than the {ordinal} one"),
            *("ones costing less than the {ordinal}", "anything below the price of the {ordinal}?"),
            *("I want to pay less than for the {ordinal}", "anything that costs less than the {ordinal}?"),
            *("cheaper ones than the {ordinal}", "cheaper alternatives to the {ordinal}"),
            *("find ones that are less expensive than the {ordinal}", "it should be cheaper than the {ordinal}"),
            *("which are cheaper than the {ordinal}?", "anything less expensive than the {ordinal} one?"),
            *("I need something cheaper than the {ordinal}", "show those priced below the {ordinal}"),
            *("does anything cost less than the {ordinal}?", "less than the {ordinal} costs"),
            *("show ones with a lower price than the {ordinal}", "something that costs less than the {ordinal} one"),
            *("beat the price of the {ordinal}", "show me all that are cheaper than the {ordinal}"),
            *("the {ordinal} is too expensive, anything cheaper?", "is anything less expensive than the {ordinal}?"),
            "list those under the price of the {ordinal}",
        ),
        held_out=(
            *("cheaper than the {ordinal} one please", "which ones cost less than the {ordinal}?"),
            "only those that are cheaper than the {ordinal}",
        ),
    ),
    "dearer than": Phrasings(
        known=(
            *("more expensive than the {ordinal}", "pricier than the {ordinal} one"),
            *("show me something dearer than the {ordinal}", "ones that cost more than the {ordinal}"),
            *("something above the price of the {ordinal}", "a more expensive one than the {ordinal}"),
            *("something pricier than the {ordinal}", "I'd pay more than for the {ordinal}"),
            *("more expensive ones than the {ordinal}", "what costs more than the {ordinal}?"),
            *("a pricier one than the {ordinal}, please", "show me ones above the {ordinal} in price"),
            *("I can spend more than the {ordinal} costs", "anything more expensive than the {ordinal}?"),
            *("ones with a higher price than the {ordinal}", "which cost more than the {ordinal}?"),
            "it can be more expensive than the {ordinal}",
            "show the ones that are more expensive than the {ordinal}",
            *("do you have something more expensive than the {ordinal}?", "higher priced than the {ordinal}"),
            "give me pricier ones than the {ordinal}",
        ),
        held_out=(
            *("more expensive than the {ordinal} one", "anything that costs more than the {ordinal}?"),
            "something a bit more expensive than the {ordinal}",
        ),
    ),
    "sort": Phrasings(
        known=(
            *("cheapest first", "sort by {price}", "order them by {price}", "start with the cheapest"),
            *("show the least expensive first", "by {price}, please", "sort these from cheap to expensive"),
            *("lowest {price} first", "cheapest at the top", "sort ascending by {price}", "in order of {price}"),
            *("cheapest ones first please", "sort them by {price}", "from cheap to expensive", "rank them by {price}"),
            *("list the cheapest ones first", "could you order by {price}?", "begin with the lowest {price}"),
            *("sort the list by {price}", "cheapest to most expensive", "the cheapest should come first"),
            *("arrange by {price}", "please sort by {price}", "cheapest on top", "order the results by {price}"),
            "from the cheapest to the most expensive",
        ),
        held_out=(
            *("sort by {price} please", "show the cheapest first", "can you sort them from cheap to expensive?"),
        ),
    ),
    "about": Phrasings(
        known=(
            *("tell me about the {ordinal}", "the {ordinal} one", "what about the {ordinal}?"),
            *("can you give me details on the {ordinal} one?", "what do you know about the {ordinal}?"),
            *("more info on number {number}", "describe the {ordinal} for me", "I like the {ordinal} one"),
            *("what can you tell me about the {ordinal} one?", "give me information about the {ordinal}"),
            *("is the {ordinal} any good?", "what is number {number} like?", "and the {ordinal}?"),
            *("show me the {ordinal} one in detail", "what's the {ordinal} one?", "tell me more on the {ordinal}"),
            *("item {number}", "I want to know about the {ordinal}", "tell me something about the {ordinal}"),
            *("can I see the {ordinal}?", "what about number {number}?", "details of the {ordinal} one please"),
            *("what's special about the {ordinal}?", "how about the {ordinal} one, what is it?", "open the {ordinal}"),
            *("I'm interested in the {ordinal} one", "say more about number {number}", "let me look at the {ordinal}"),
            *("explain the {ordinal} one", "what is the {ordinal} like?", "show me number {number}"),
            *("give me more about the {ordinal}", "the {ordinal} looks good", "click on the {ordinal}"),
            *("I want details on the {ordinal}", "could you describe the {ordinal} one?"),
            *("tell me everything about number {number}", "so what is the {ordinal} one?", "the {ordinal}, please"),
        ),
        held_out=(
            *("tell me more about the {ordinal} one", "what is the {ordinal}?", "more about number {number}"),
            *("I want to see the {ordinal} one", "and what about the {ordinal} one?"),
        ),
    ),
    "modify": Phrasings(
        known=(
            *("the {ordinal} one, but in {value}", "same as the {ordinal} but {value}"),
            *("do you have the {ordinal} one in {value} as well?", "I'd take the {ordinal} if it were {value}"),
            *("something like the {ordinal}, only {value}", "show me the {ordinal} in {value} instead"),
            *("can I get the {ordinal} in {value}?", "the {ordinal} looks nice, does it come in {value}?"),
            *("find me the {ordinal} in {value}", "is there a {value} version of the {ordinal}?"),
            *("like number {number}, but {value}", "what about the {ordinal} in {value}?"),
            *("would the {ordinal} exist in {value}?", "the same as number {number} in {value}, please"),
            *("I love the {ordinal}, but I need it {value}", "the {ordinal}, just {value}"),
            *("similar to the {ordinal} but in {value}", "the {ordinal} in {value}"),
            *("I want the {ordinal} but {value}", "do you sell the {ordinal} in {value}?"),
            *("same as the {ordinal}, in {value}", "the {ordinal} would be perfect in {value}"),
            *("could you find the {ordinal} in {value}?", "I'd like the {ordinal} better in {value}"),
            *("any chance of the {ordinal} in {value}?", "show me the {value} version of the {ordinal}"),
            *("number {number}, only {value}", "I want the {ordinal}, in {value} though"),
            *("the {ordinal} one, {value} please", "can you get the {ordinal} in {value}?"),
            *("is the {ordinal} available in {value}?", "take the {ordinal} and make it {value}"),
            *("find a {value} one like the {ordinal}", "can you show me the {ordinal} in {value}?"),
            *("the {ordinal} is nice but I want {value}", "same thing as the {ordinal}, just in {value}"),
            *("do they make the {ordinal} in {value}?", "number {number} in {value} please"),
            "how about the {ordinal} but {value}?",
        ),
        held_out=(
            *("the {ordinal} but {value}", "is there something like the {ordinal} in {value}?"),
            *("can I have the {ordinal} in {value}?", "like the {ordinal}, but {value}"),
            "I'd like number {number} in {value}",
        ),
    ),
    "compare": Phrasings(
        known=(
            *("compare the {ordinal} and the {other}", "what's the difference between the {ordinal} and the {other}?"),
            *("how do the {ordinal} and the {other} differ?", "put the {ordinal} and the {other} side by side"),
            *("{ordinal} versus {other}?", "which is cheaper, the {ordinal} or the {other}?"),
            *("the {ordinal} or the {other}?", "how does the {ordinal} compare to the {other}?"),
            *("tell me how the {ordinal} is different from the {other}", "{ordinal} against {other}"),
            *("what distinguishes the {ordinal} from the {other}?", "is the {ordinal} better than the {other}?"),
            *("the {ordinal} compared with the {other}", "compare the {ordinal} with the {other}"),
            *("difference between the {ordinal} and {other}?", "what makes the {ordinal} different from the {other}?"),
            *("how is the {ordinal} different from the {other}?", "show me the {ordinal} next to the {other}"),
            *("what sets the {ordinal} apart from the {other}?", "should I take the {ordinal} or the {other}?"),
            *("{ordinal} or {other}, which is better?", "contrast the {ordinal} with the {other}"),
            "tell me the differences of the {ordinal} and the {other}",
            *("is there a difference between the {ordinal} and the {other}?", "{ordinal} and {other} side by side"),
            *("which do you prefer, the {ordinal} or the {other}?", "how do the {ordinal} and the {other} compare?"),
            *("compare {ordinal} and {other}", "is the {ordinal} or the {other} cheaper?"),
            *("the {ordinal} vs the {other}", "what do the {ordinal} and the {other} have in common?"),
        ),
        held_out=(
            *("compare the {ordinal} to the {other}", "the {ordinal} and the {other}: what's different?"),
            "which is the better one, the {ordinal} or the {other}?",
        ),
    ),
    "goes-with": Phrasings(
        known=(
            *("what goes with the {ordinal}?", "find something that matches the {ordinal}"),
            *("what would match the {ordinal} one?", "what can I pair with the {ordinal}?"),
            *("anything to go with the {ordinal}?", "help me find something that complements the {ordinal}"),
            *("what would look good with the {ordinal}?", "suggest something to combine with the {ordinal}"),
            *("I need things that fit the {ordinal} one", "what suits the {ordinal}?"),
            *("what should I buy with the {ordinal}?", "which things go well with the {ordinal}?"),
            *("something to match the {ordinal} please", "what fits with the {ordinal}?"),
            *("show me what goes well with the {ordinal}", "match the {ordinal} with something"),
            *("what could I put next to the {ordinal}?", "I bought the {ordinal}, what matches it?"),
            *("what else would suit the {ordinal}?", "complete the look of the {ordinal}"),
            *("which items go together with the {ordinal}?", "what would you combine the {ordinal} with?"),
            *("find me a match for the {ordinal}", "I'll take the {ordinal}, what goes with that?"),
            *("what works with the {ordinal}?", "something that goes nicely with the {ordinal}"),
            *("what else goes with the {ordinal}?", "I need something matching the {ordinal}"),
            *("which products would match the {ordinal}?", "show me what suits the {ordinal}"),
            "anything that pairs well with the {ordinal}?",
        ),
        held_out=(
            *("what goes well with the {ordinal} one?", "find something to go with the {ordinal}"),
            "does anything match the {ordinal}?",
        ),
    ),
    "more": Phrasings(
        known=(
            *("show me more", "more", "what else do you have?", "what other options are there?", "next ones please"),
            *("anything else?", "can I see some more?", "keep them coming", "more results", "is that all?"),
            *("show the next page", "what else is there?", "some others, please", "have you got more?"),
            *("and what else?", "other suggestions?", "next", "show others", "any more of these?", "continue"),
            *("what more is there?", "show me some other ones", "are there others?", "go on"),
            *("I'd like to see more of them", "give me more", "further results", "what else?", "load more"),
            *("and others?", "a few more please", "can you show me others?", "what other ones are there?"),
            *("show additional results", "any others?"),
        ),
        held_out=(*("show more", "more please", "see more results", "are there any more?"),),
    ),
    "undo": Phrasings(
        known=(
            *("go back", "undo", "never mind", "take me back to the previous list", "no, the one before"),
            *("return to what we had before", "scrap that", "back to the last results", "I want the list from before"),
            *("that was better before, go back", "revert", "show me the previous ones again", "go back one step"),
            *("cancel that", "undo that", "please go back", "back to the previous ones", "forget that last step"),
            *("take me one step back", "I want to go back", "the list before this one, please", "no, back please"),
            *("return to the last list", "let's go back", "undo the last step", "the earlier results again"),
            *("I liked the previous list better", "can we go back?", "that was wrong, go back"),
            *("return to the previous results", "please undo", "one step back please"),
        ),
        held_out=(*("back", "go back please", "undo my last change", "take that back"),),
    ),
}
