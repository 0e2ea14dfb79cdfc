"""An MCP server with two tools, over stdio or streamable HTTP: server.py stdio | http PORT."""

import asyncio
import os
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
async def forecast(city: str, delay: float = 0.005) -> str:
    """Return tomorrow's weather in a city, after a delay in seconds."""
    await asyncio.sleep(delay)
    return f"It will be sunny in {city}."


@server.tool()
def process() -> int:
    """Return the id of this process."""
    return os.getpid()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
