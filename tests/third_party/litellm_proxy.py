"""Serves a `litellm` proxy before the two wires of `mock-ai-api`, whose addresses are the arguments.

It prints its port, and ends with its standard input.
The models `says` and `calls` stand for OpenAI's, `claude-says` and `claude-calls` for Anthropic's, and `mocked` is
answered by the proxy itself.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile
import threading


def end_with_standard_input() -> None:
    """The pipe closes when whoever started this ends, however it ends."""
    sys.stdin.read()
    os._exit(0)


def models(openai: str, anthropic: str) -> list[dict[str, object]]:
    """What the proxy offers."""
    upstream = {
        "says": ("openai/gpt-4.1:mock-text", openai),
        "calls": ("openai/gpt-4.1:mock-tool-stream", openai),
        "claude-says": ("anthropic/claude-sonnet-4-5:mock-text", anthropic),
        "claude-calls": ("anthropic/claude-sonnet-4-5:mock-tool-stream", anthropic),
    }
    offered: list[dict[str, object]] = [
        {"model_name": name, "litellm_params": {"model": model, "api_base": base, "api_key": "key"}}
        for name, (model, base) in upstream.items()
    ]
    mocked = {"model": "openai/mocked", "api_key": "key", "mock_response": "It is true."}
    return [*offered, {"model_name": "mocked", "litellm_params": mocked}]


async def main(folder: str) -> None:
    config = os.path.join(folder, "config.yaml")
    with open(config, "w", encoding="utf-8") as file:
        # JSON is YAML too.
        json.dump({"model_list": models(*sys.argv[1:3])}, file)
    os.environ.update(CONFIG_FILE_PATH=config, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_TELEMETRY="False")
    import uvicorn
    from litellm.proxy.proxy_server import app

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    # Whoever started this reads no further, and a full or closed pipe would stop the proxy.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    await uvicorn.Server(uvicorn.Config(app, log_level="error")).serve(sockets=[listener])


threading.Thread(target=end_with_standard_input, daemon=True).start()
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
