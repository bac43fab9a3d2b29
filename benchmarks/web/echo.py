"""The limit: a WebSocket that sends back what it gets, on the same server: ``python -m benchmarks.web.echo``.

Prints its address, and ends with its standard input.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any

import uvicorn


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Echo."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


def main() -> None:
    """Serve until standard input ends."""
    door = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, lifespan="off", ws="websockets-sansio", ws_per_message_deflate=False, log_level="error"
    )
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(f"ws://127.0.0.1:{door.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[door])


if __name__ == "__main__":
    main()
