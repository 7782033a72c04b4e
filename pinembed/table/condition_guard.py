"""A condition that a stranger wrote, let through where it only compares columns with values.

Lance reads any SQL expression, functions among them, and some of these cost memory and time without end. Here a
condition is names of columns, values, comparisons, AND, OR, NOT and parentheses, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pinembed.errors import UsageError

TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|`(?P<quoted>[^`]+)`|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|[<>=(),]))\s*"""
)
WORDS = {"and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false"}
BEFORE_A_LIST = {"and", "or", "not", "in", "between"}
"""Words that a parenthesis may follow; behind another name it would be the call of a function."""
LONGEST, MOST_DEEP = 1000, 20


def check_condition(where: str, columns: Collection[str]) -> None:
    """Let a condition pass.

    Args:
        where: SQL.
        columns: that it may name.

    Raises:
        UsageError: it is too long, or holds more than comparisons of these columns with values.
    """
    if len(where) > LONGEST:
        raise _refused(f"is {len(where):,} characters long; at most {LONGEST:,} are read")
    depth, before = 0, ""
    for token in _tokens(where.strip()):
        if token["sign"] == "(" and before and before not in BEFORE_A_LIST:
            raise _refused(f"calls {before!r}; functions are not read")
        depth += {"(": 1, ")": -1}.get(token["sign"] or "", 0)
        if not 0 <= depth <= MOST_DEEP:
            raise _refused(f"has parentheses that do not fit, or more than {MOST_DEEP} in one another")
        before = _word(token, columns)
    if depth:
        raise _refused("has a parenthesis that is not closed")


def _tokens(where: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(where):
        found = TOKEN.match(where, place)
        if found is None:
            raise _refused(f"has {where[place : place + 20]!r}, which is not read")
        place = found.end()
        yield found


def _word(token: re.Match[str], columns: Collection[str]) -> str:
    """A token's word in lower case, or its column; empty for a value or a sign."""
    name, quoted = token["name"], token["quoted"]
    if name is not None and name.casefold() in WORDS:
        return str(name.casefold())
    column = name or quoted
    if column and column not in columns:
        raise _refused(f"names {column[:100]!r}, which is no column; columns are {', '.join(sorted(columns))[:500]}")
    return column or ""


def _refused(found: str) -> UsageError:
    return UsageError(
        f"The condition {found}.", remedy="Write comparisons of columns, such as: category = 'mug' AND price < 20"
    )
