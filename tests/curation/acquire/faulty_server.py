"""A web server on loopback that misbehaves as it is told, one fault a request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One wrong answer: another status, body or header, a body cut after some bytes or sent in drips, or no length."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    drip: tuple[int, float] | None = None
    no_length: bool = False


@dataclass(kw_only=True)
class Served:
    """What a path serves once its faults are used up, whether answers hide its version, and the requests that came."""

    body: bytes
    etag: str = '"v1"'
    faults: list[Fault] = field(default_factory=list)
    ignore_range: bool = False
    hide_etag: list[bool] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    bytes_sent: int = 0


class Server(ThreadingHTTPServer):
    """Serves `files` by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}

    def serve(self, path: str, body: bytes, *faults: Fault, **fields: Any) -> Served:
        """Serve `body` at `path` after the faults."""
        self.files[path] = Served(body=body, faults=list(faults), **fields)
        return self.files[path]

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        """Answer with the next fault of the path, or with the file."""
        served = self.server.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        served.requests.append(dict(self.headers))
        fault = served.faults.pop(0) if served.faults else Fault()
        body, status, headers = served.body if fault.body is None else fault.body, fault.status, dict(fault.headers)
        asked = self.headers.get("Range")
        unchanged = self.headers.get("If-Range", served.etag) == served.etag
        if asked and unchanged and not served.ignore_range and status == 200 and fault.body is None:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(body):
                self._refuse_range(len(body))
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self.send_response(status)
        length = {} if fault.no_length else {"Content-Length": str(len(body))}
        etag = {} if served.hide_etag and served.hide_etag.pop(0) else {"ETag": served.etag}
        for name, value in {**length, **etag, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = body if fault.cut_after is None else body[: fault.cut_after]
        n_bytes, pause_s = fault.drip or (max(len(sent), 1), 0.0)
        with suppress(ConnectionError):  # the client may hang up as soon as it knows enough
            for start in range(0, len(sent), n_bytes):
                self.wfile.write(sent[start : start + n_bytes])
                served.bytes_sent += len(sent[start : start + n_bytes])
                time.sleep(pause_s)
        self.close_connection = True

    def _refuse_range(self, size: int) -> None:
        self.send_response(416)
        self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
