"""`ehrdb mcp`: for assistants."""

from __future__ import annotations

from ehrdb.cli.common import current_database, settings


def mcp() -> None:
    """Answer an assistant by the Model Context Protocol, over standard input and output. Off unless configured.

    Read-only tools under the role that EHRDB_MCP_ROLE names: find patients, nearest, explain, timeline, predict,
    outcomes, status. Ids and figures alone, unless EHRDB_MCP_TEXTS allows what records say. Every question is in the
    audit. An assistant starts this command itself.

    Example: `EHRDB_MCP_ROLE=assistant ehrdb mcp`
    """
    from ehrdb.assistant import make_server

    with current_database() as database:
        make_server(database, settings()).run("stdio")
