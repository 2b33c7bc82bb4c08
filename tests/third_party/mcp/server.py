"""A server of MCP over standard input and output, made with the official Python SDK."""

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("python")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fails."""
    raise ToolError("not today")


@server.resource("note://{name}")
def note(name: str) -> str:
    """A note."""
    return f"note {name}"


server.run()
