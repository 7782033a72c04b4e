"""ShopTools: a catalogue as other assistants ask it; nothing is written and no image is opened."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from pinembed.assistant.act import SEARCH, ActError, act_from_json
from pinembed.assistant.answer import title_of
from pinembed.assistant.condition import AT_LEAST, AT_MOST, IN, Condition, number_in
from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.shop_types import (
    Input,
    LookupAnswer,
    Message,
    PageOf,
    Price,
    Product,
    ProductAnswer,
    SearchAnswer,
    Variant,
)
from pinembed.assistant.state import Search
from pinembed.assistant.words import clean
from pinembed.errors import UsageError
from pinembed.nouns.item import FieldValue, is_missing, text_of_value
from pinembed.reports.table import SearchResult
from pinembed.table.condition_guard import check_condition
from pinembed.table.embedding_table import id_conditions

MOST_RESULTS, MOST_IDS, MOST_VARIANTS = 50, 50, 50
DEEPEST = 1000
"""Results that pages reach."""
TOLD = 12  # values of a column
LONGEST_VALUE, LONGEST_QUERY = 2000, 500
DESCRIPTIONS = ("description", "text", "caption")
WITHOUT_CENTS = {"JPY", "KRW", "ISK", "CLP", "VND"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A search.

    Attributes:
        query: words for the encoder; empty for none.
        where: SQL of comparisons; empty for none.
        attributes: values by column, of which an item has one each.
        categories: of which an item has one, by any of its levels.
        price_min, price_max: amounts; None for no limit.
        like: id of an item that results resemble; empty for none.
    """

    query: str = ""
    where: str = ""
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    categories: Sequence[str] = ()
    price_min: int | None = None
    price_max: int | None = None
    like: str = ""

    @property
    def is_empty(self) -> bool:
        given = (self.query, self.where, self.attributes, self.categories, self.like)
        return not any(given) and self.price_min is None and self.price_max is None


class ShopTools:
    """Three read-only questions to a table; several threads may ask.

    Args:
        retriever: of the table.
        group: column whose equal values are one product; None for a product a row.
        currency: of the prices; empty where nobody knows it, and no price is told then but the column's number.
    """

    def __init__(self, retriever: Retriever, *, group: str | None, currency: str) -> None:
        self._retriever, self._group, self._currency = retriever, group, currency
        self._digits = 0 if currency in WITHOUT_CENTS else 2
        self._lock = threading.Lock()

    @property
    def told(self) -> str:
        """What can be asked, for the model that asks."""
        vocabulary = self._retriever.vocabulary
        columns = vocabulary.described(lambda value: clean(str(value)), most=TOLD, examples=TOLD)
        heading = f"A catalogue of {vocabulary.rows:,} items. Columns for attributes and where:"
        return "\n".join([heading, *columns])

    def search(self, asked: Asked, *, cursor: str = "", limit: int = 10) -> SearchAnswer:
        """One page of products, the best first; each satisfies all that was asked.

        Args:
            asked: what for; one thing at least.
            cursor: of the page before.
            limit: of products, 1 to MOST_RESULTS.

        Raises:
            UsageError: nothing was asked, a cursor of another search, or values that the table does not have.
            UnknownItemError: no such item to be like.
            TableError: the table cannot be read.
        """
        if asked.is_empty:
            raise UsageError("The search is empty.", remedy="Give a query, or at least one filter.")
        limit = max(1, min(limit, MOST_RESULTS))
        page, search = _page_of(cursor, asked), Search(text=asked.query, filters=self._filters(asked), like=asked.like)
        where = asked.where or None
        if where is not None:
            check_condition(where, [*self._retriever.vocabulary.fields, "id"])
        end = min((page + 1) * limit, DEEPEST)
        with self._lock:
            found = self._retriever.find(search, k=end + 1, where=where)
            count = None if self._group else self._retriever.count(search.filters, where)
        told = PageOf(has_next_page=len(found) > end and end < DEEPEST)
        if told["has_next_page"]:
            told["cursor"] = _cursor(page + 1, asked)
        if count is not None:
            told["total_count"] = count
        products = [self._product([row]) for row in found[page * limit : end]]
        return SearchAnswer(products=products, pagination=told, messages=[])

    def lookup(self, ids: Sequence[str]) -> LookupAnswer:
        """The products of these ids of items or products, each once, with one item that answers each id.

        Raises:
            TableError: the table cannot be read.
        """
        rows, unknown = self._resolved(ids)
        by_product: dict[str, dict[str, tuple[SearchResult, list[Input]]]] = {}
        for item_id, row, is_item in rows:
            shown = by_product.setdefault(self._product_id(row), {})
            _, inputs = shown.setdefault(row.id, (row, []))
            inputs.append(Input(id=item_id, match="exact" if is_item else "featured"))
        products = []
        for shown in by_product.values():
            product = self._product([row for row, _ in shown.values()])
            for variant, (_, inputs) in zip(product["variants"], shown.values(), strict=True):
                variant["inputs"] = inputs
            products.append(product)
        return LookupAnswer(products=products, messages=[_not_found("info", one) for one in unknown])

    def product(self, item_id: str) -> ProductAnswer:
        """A product with its items, the one that was named first, at most MOST_VARIANTS.

        Raises:
            TableError: the table cannot be read.
        """
        rows, _ = self._resolved([item_id])
        if not rows:
            return ProductAnswer(messages=[_not_found("error", item_id)])
        _, first, _ = rows[0]
        others = [first]
        if self._group and self._product_id(first) != first.id:
            with self._lock:
                same = self._retriever.rows_where(self._of_products([self._product_id(first)]), limit=MOST_VARIANTS)
            others += [row for row in same if row.id != first.id][: MOST_VARIANTS - 1]
        return ProductAnswer(product=self._product(others), messages=[])

    def _resolved(self, ids: Sequence[str]) -> tuple[list[tuple[str, SearchResult, bool]], list[str]]:
        """For each id its row, and whether it is the row's own; and the ids of neither an item nor a product."""
        wanted = list(dict.fromkeys(ids))
        with self._lock:
            items = {row.id: row for one in id_conditions(wanted) for row in self._retriever.rows_where(one)}
            rest = [one for one in wanted if one not in items]
            products: dict[str, SearchResult] = {}
            if self._group:
                for one in rest:
                    for row in self._retriever.rows_where(self._of_products([one]), limit=1):
                        products[one] = row
        rows = [
            (one, items[one], True) if one in items else (one, products[one], False)
            for one in wanted
            if one in items or one in products
        ]
        return rows, [one for one in rest if one not in products]

    def _of_products(self, names: Sequence[str]) -> str:
        return " OR ".join(id_conditions(names, f"CAST(`{self._group}` AS STRING)"))

    def _filters(self, asked: Asked) -> tuple[Condition, ...]:
        vocabulary = self._retriever.vocabulary
        wanted = [{"column": name, "op": IN, "values": list(values)} for name, values in asked.attributes.items()]
        if asked.categories:
            wanted.append({"column": vocabulary.kind, "op": IN, "values": self._kinds(asked.categories)})
        for op, amount in ((AT_LEAST, asked.price_min), (AT_MOST, asked.price_max)):
            if amount is not None:
                wanted.append({"column": self._price_column(), "op": op, "values": [amount / 10**self._digits]})
        try:
            return act_from_json({"name": SEARCH, "arguments": {"filters": wanted}}, vocabulary).filters
        except ActError as error:
            raise UsageError(f"The filters are not of this catalogue: {error}.", remedy=self.told[:3000]) from error

    def _kinds(self, names: Sequence[str]) -> list[Any]:
        """The values of the column of kinds that people call so."""
        vocabulary = self._retriever.vocabulary
        phrases = vocabulary.choices[vocabulary.kind].phrases if vocabulary.kind else {}
        called = {phrase.casefold(): values for phrase, values in phrases.items()}
        return [value for name in names for value in called.get(name.casefold(), (name,))]

    def _price_column(self) -> str:
        price = self._retriever.vocabulary.price
        if not price or not self._currency:
            raise UsageError(
                f"The catalogue has {'prices in no known currency' if price else 'no prices'}.",
                remedy=f"Compare the column in `where`: {price} < 20." if price else "Leave the price out.",
            )
        return price

    def _product_id(self, row: SearchResult) -> str:
        return (text_of_value(row.fields.get(self._group)) if self._group else "") or row.id

    def _product(self, rows: Sequence[SearchResult]) -> Product:
        """A product of these rows, of which the first speaks for it."""
        variants = [self._variant(row) for row in rows]
        first, kind = rows[0], self._retriever.vocabulary.kind
        values = first.fields.get(kind) if kind else None
        named = values if isinstance(values, list | tuple) else [] if is_missing(values) else [values]
        product = Product(
            id=self._product_id(first),
            title=variants[0]["title"],
            description=variants[0]["description"],
            categories=[{"value": clean(str(value)), "taxonomy": "merchant"} for value in named],
            variants=variants,
        )
        prices = sorted((one["price"] for one in variants if "price" in one), key=lambda price: price["amount"])
        if prices:
            product["price_range"] = {"min": prices[0], "max": prices[-1]}
        return product

    def _variant(self, row: SearchResult) -> Variant:
        vocabulary = self._retriever.vocabulary
        texts = (clean(text_of_value(row.fields.get(name))) for name in DESCRIPTIONS)
        description = next(filter(None, texts), "") or clean(vocabulary.caption(row.fields))
        variant = Variant(
            id=row.id,
            title=title_of(row),
            description={"plain": description[:LONGEST_VALUE]},
            metadata={name: _plain(value) for name, value in row.fields.items() if not is_missing(value)},
        )
        amount = number_in(row.fields, vocabulary.price) if vocabulary.price else None
        if self._currency and amount is not None and math.isfinite(amount):
            variant["price"] = Price(amount=round(Decimal(str(amount)) * 10**self._digits), currency=self._currency)
        return variant


def _plain(value: FieldValue) -> Any:
    """A value as JSON, texts bounded and without marks of chat templates."""
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value[:MOST_RESULTS]]
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return clean(text_of_value(value))[:LONGEST_VALUE]


def _not_found(kind: Any, item_id: str) -> Message:
    return Message(type=kind, code="not_found", content=clean(item_id)[:LONGEST_VALUE])


def _cursor(page: int, asked: Asked) -> str:
    return base64.urlsafe_b64encode(f"{page}.{_mark(asked)}".encode()).decode()


def _mark(asked: Asked) -> str:
    return hashlib.sha256(json.dumps(asdict(asked), sort_keys=True, default=list).encode()).hexdigest()[:16]


def _page_of(cursor: str, asked: Asked) -> int:
    """The page that a cursor asks for.

    Raises:
        UsageError: it is none of this search.
    """
    if not cursor:
        return 0
    try:
        page, _, mark = base64.urlsafe_b64decode(cursor.encode()).decode().partition(".")
        if mark == _mark(asked) and 0 <= int(page) < DEEPEST:
            return int(page)
    except ValueError:
        pass
    raise UsageError(
        "The cursor is none of this search.", remedy="Give the cursor of the page before with the same search, or none."
    )
