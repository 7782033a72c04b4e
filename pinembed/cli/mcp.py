"""`pinembed mcp`: a catalogue as tools of other assistants."""

from __future__ import annotations

from pinembed.cli.console import Console
from pinembed.errors import UsageError
from pinembed.settings.assistant import McpSettings


def run(settings: McpSettings, console: Console) -> None:
    """Serve a table to other assistants over MCP: search_catalog, lookup_catalog and get_product, read-only."""
    from pinembed.jobs.mcp import mcp

    if console.json_output:
        raise UsageError("--json came with mcp, whose output is the protocol.", remedy="Leave --json out.")
    console.progress.say(f"Serving {settings.table} to the program that started this; it ends with its standard input.")
    mcp(settings)
