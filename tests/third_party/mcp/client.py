"""A client of MCP, made with the official Python SDK; prints what it saw of the server that the arguments start."""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def visit() -> dict:
    parameters = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])
    async with stdio_client(parameters) as (reader, writer), ClientSession(reader, writer) as session:
        await session.initialize()
        tools = await session.list_tools()
        text = await session.call_tool("test_simple_text", {})
        failed = await session.call_tool("test_error_handling", {})
        return {"tools": len(tools.tools), "text": text.content[0].text, "failed": failed.is_error}


print(json.dumps(asyncio.run(visit())))
