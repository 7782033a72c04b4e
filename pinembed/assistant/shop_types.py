"""What the tools of a catalogue take and give, after the catalogue capability of UCP (ucp.dev): typed for JSON schemas.

Amounts are whole numbers in the currency's smallest unit. `metadata` has an item's own columns.
"""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict


class Price(TypedDict):
    """An amount of money: 1450 of EUR is 14.50."""

    amount: int
    currency: str


class PriceRange(TypedDict):
    min: Price
    max: Price


class Text(TypedDict):
    plain: str


class Category(TypedDict):
    value: str
    taxonomy: str


class Input(TypedDict):
    """Which id of the request an item answers, and whether it is that item or stands for that product."""

    id: str
    match: Literal["exact", "featured"]


class Variant(TypedDict):
    """One row of the catalogue."""

    id: str
    title: str
    description: Text
    price: NotRequired[Price]
    inputs: NotRequired[list[Input]]
    metadata: dict[str, Any]


class Product(TypedDict):
    """Rows that are one product, of which some are shown."""

    id: str
    title: str
    description: Text
    categories: list[Category]
    price_range: NotRequired[PriceRange]
    variants: list[Variant]


class Message(TypedDict):
    type: Literal["info", "warning", "error"]
    code: str
    content: str


class PageOf(TypedDict):
    """A page; `cursor` asks for the next one."""

    has_next_page: bool
    cursor: NotRequired[str]
    total_count: NotRequired[int]


class SearchAnswer(TypedDict):
    products: list[Product]
    pagination: PageOf
    messages: list[Message]


class LookupAnswer(TypedDict):
    products: list[Product]
    messages: list[Message]


class ProductAnswer(TypedDict):
    product: NotRequired[Product]
    messages: list[Message]
