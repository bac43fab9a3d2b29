"""Show what physiology_server measures: the newest frame with its values in a browser, the values in the terminal.

    python samples/alt_ipc_example_on_prem_client.py file_ipc_output
    python samples/alt_ipc_example_on_prem_client.py file_ipc_output --port 8010 --seconds 60

The page is for this computer only. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from labwire.file_backend import Record, follow, latest_frame

PAGE = b"""<!doctype html><meta charset="utf-8"><title>file IPC</title>
<style>body{font:20px sans-serif;margin:2em;background:#111;color:#eee}img{max-width:100%}</style>
<p id="values">waiting</p><img id="frame" alt="no frame yet">
<script>
const image = document.getElementById("frame"), values = document.getElementById("values");
const next = () => setTimeout(() => { image.src = "frame?" + Date.now(); }, 40);
image.onload = image.onerror = next; next();
setInterval(async () => { values.textContent = (await (await fetch("values")).json()).text; }, 250);
</script>"""


class Values:
    """The newest values."""

    def __init__(self) -> None:
        self.core: dict[str, dict[str, dict[str, float]]] = {}
        self.status = "no status yet"

    def take(self, record: Record) -> None:
        """Take one line."""
        if record.type == "core_metrics":
            self.core = record.payload
        elif record.type == "status":
            self.status = f"{record.payload['code']} {record.payload['message']}"

    def text(self) -> str:
        """Return them as a person reads them."""
        parts: list[str] = []
        for name, unit in (("pulse", "bpm"), ("breathing", "/min")):
            strict = self.core.get(name, {}).get("strict")
            shown = f"{strict['value']:.1f} {unit} ({strict['confidence']:.2f})" if strict else "—"
            parts.append(f"{name} {shown}")
        return "   ".join([*parts, self.status])


def serve(folder: Path, values: Values, port: int) -> ThreadingHTTPServer:
    """Serve the page on this computer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/frame":
                frame = latest_frame(folder)
                self.answer(200 if frame else 404, "image/jpeg", frame or b"")
            elif path == "/values":
                self.answer(200, "application/json", json.dumps({"text": values.text()}).encode())
            else:
                self.answer(200, "text/html", PAGE)

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with contextlib.suppress(OSError):  # the browser went on without waiting
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: the terminal shows the values."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Follow the folder until Ctrl-C, or for so many seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("file_ipc_output"))
    parser.add_argument("--port", type=int, default=0, help="of the page; by default any free one")
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    asked = parser.parse_args()
    values, stop = Values(), threading.Event()
    server = serve(asked.folder, values, asked.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"frames and values: http://127.0.0.1:{server.server_address[1]}/", flush=True)
    if asked.seconds:
        threading.Timer(asked.seconds, stop.set).start()
    shown_s = 0.0
    try:
        for record in follow(asked.folder, stop=stop):
            values.take(record)
            if time.monotonic() - shown_s > 1:
                shown_s = time.monotonic()
                print(values.text(), flush=True)
    except KeyboardInterrupt:
        pass
    print(values.text())
    server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
