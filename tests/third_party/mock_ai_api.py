"""Serves both wires of `mock-ai-api` on free loopback ports, prints the ports, and ends with its standard input."""

import asyncio
import os
import socket
import sys
import threading

import uvicorn
from app.anthropic_app import app as anthropic
from app.openai_app import app as openai


def listening() -> socket.socket:
    """A port that takes connections from now on."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def end_with_standard_input() -> None:
    """The pipe closes when whoever started this ends, however it ends."""
    sys.stdin.read()
    os._exit(0)


async def main() -> None:
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    servers = []
    for app in (openai, anthropic):
        listener = listening()
        print(listener.getsockname()[1], flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        servers.append(server.serve(sockets=[listener]))
    await asyncio.gather(*servers)


asyncio.run(main())
