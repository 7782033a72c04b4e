"""The tools of a catalogue as an MCP server; needs the extra `mcp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from pinembed.assistant.shop_tools import LONGEST_QUERY, MOST_IDS, MOST_RESULTS, Asked, ShopTools
from pinembed.assistant.shop_types import LookupAnswer, ProductAnswer, SearchAnswer
from pinembed.errors import PinembedError
from pinembed.table.condition_guard import LONGEST
from pinembed.version import __version__

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
Id = Annotated[str, Field(min_length=1, max_length=500)]
Meta = Annotated[dict[str, Any] | None, Field(description="Of the protocol; passed over.")]
Answer = TypeVar("Answer")


class PriceFilter(TypedDict):
    min: NotRequired[Annotated[int, Field(ge=0, le=10**15, description="In the currency's smallest unit.")]]
    max: NotRequired[Annotated[int, Field(ge=0, le=10**15, description="In the currency's smallest unit.")]]


class Filters(TypedDict):
    categories: NotRequired[Annotated[list[Id], Field(max_length=MOST_RESULTS)]]
    price: NotRequired[PriceFilter]
    attributes: NotRequired[
        Annotated[
            dict[str, Annotated[list[Id], Field(min_length=1, max_length=MOST_RESULTS)]],
            Field(max_length=20, description="Values by column, such as {'color': ['teal', 'navy']}."),
        ]
    ]
    where: NotRequired[
        Annotated[
            str,
            Field(max_length=LONGEST, description="Comparisons of columns, such as: category = 'mug' AND price < 20"),
        ]
    ]


class Pagination(TypedDict):
    cursor: NotRequired[Annotated[str, Field(max_length=200, description="Of the page before.")]]
    limit: NotRequired[Annotated[int, Field(ge=1, le=MOST_RESULTS)]]


class SearchRequest(TypedDict):
    query: NotRequired[Annotated[str, Field(max_length=LONGEST_QUERY, description="What is looked for, in words.")]]
    like: NotRequired[Annotated[Id, Field(description="Id of an item that results resemble.")]]
    filters: NotRequired[Filters]
    pagination: NotRequired[Pagination]


class LookupRequest(TypedDict):
    ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_IDS, description="Of items or products.")]


class ProductRequest(TypedDict):
    id: Annotated[Id, Field(description="Of an item or a product.")]


def shop_server(tools: ShopTools) -> MCPServer:
    """A server of three read-only tools."""
    server = MCPServer("pinembed", version=__version__, instructions=tools.told, log_level="WARNING")

    @server.tool(annotations=READ_ONLY)
    def search_catalog(catalog: SearchRequest, meta: Meta = None) -> SearchAnswer:
        """Find products by words, by likeness to an item, by values, price and category; pages of at most 50."""
        filters, page = catalog.get("filters", {}), catalog.get("pagination", {})
        price = filters.get("price", {})
        asked = Asked(
            query=catalog.get("query", "").strip(),
            where=filters.get("where", "").strip(),
            attributes=filters.get("attributes", {}),
            categories=filters.get("categories", []),
            price_min=price.get("min"),
            price_max=price.get("max"),
            like=catalog.get("like", ""),
        )
        return _told(lambda: tools.search(asked, cursor=page.get("cursor", ""), limit=page.get("limit", 10)))

    @server.tool(annotations=READ_ONLY)
    def lookup_catalog(catalog: LookupRequest, meta: Meta = None) -> LookupAnswer:
        """Products of known ids, at most 50; ids that are unknown are named in the messages."""
        return _told(lambda: tools.lookup(catalog["ids"]))

    @server.tool(annotations=READ_ONLY)
    def get_product(catalog: ProductRequest, meta: Meta = None) -> ProductAnswer:
        """One product with all of its items and all that is known of them."""
        return _told(lambda: tools.product(catalog["id"]))

    return server


def _told(ask: Callable[[], Answer]) -> Answer:
    """What is asked, with a failure as a sentence for the model."""
    try:
        return ask()
    except PinembedError as error:
        raise ToolError(f"{error.message} {error.remedy}") from error
