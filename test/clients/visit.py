# Lists the tools of a server and calls one, over HTTP+SSE or Streamable HTTP:
# MCP_TOKEN=… python visit.py http://localhost:3000/mcp hello '{"name": "Ada"}' legacy
import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

url, tool, arguments, mode = sys.argv[1:5]
token = os.environ.get("MCP_TOKEN")
headers = {"Authorization": f"Bearer {token}"} if token else {}


async def show(progress: float, total: float | None, message: str | None) -> None:
    print("progress", json.dumps(message), flush=True)


async def main() -> None:
    async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300)) as http:
        is_sse = url.endswith("/sse")
        transport = sse_client(url, headers=headers) if is_sse else streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            print("tools", json.dumps([tool.name for tool in (await client.list_tools()).tools]))
            result = await client.call_tool(tool, json.loads(arguments), progress_callback=show)
            print("result", json.dumps(result.content[0].text))


asyncio.run(main())
