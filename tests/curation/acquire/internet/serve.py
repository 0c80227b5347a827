"""The internet on one port of loopback: a proxy that plays every host itself.

    python serve.py --folder FOLDER

Clients reach it by the standard environment: https_proxy and http_proxy name it, SSL_CERT_FILE and REQUESTS_CA_BUNDLE
the authority that signs its certificates. FOLDER/ready.json says port and authority once it listens. Plain requests to
http://127.0.0.1:PORT/... get the files that are served at that address; POST /__control__ arranges everything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import trustme
from messages import REASONS, Answer, Body, Request
from players import is_played, play
from world import World, body_of

CHUNK_BYTES = 2**20
CONTROL = "/__control__"
# A query that is redirected to itself
LOOP = "?again=1"
# What of a request's body the log keeps
LOGGED_BODY_BYTES = 2**16
LAST_MODIFIED = "Mon, 05 Jan 2026 10:00:00 GMT"


class Authorities:
    """The authority that clients trust and one that they do not, with a certificate a host."""

    def __init__(self, folder: Path) -> None:
        self._trusted, self._stranger = trustme.CA(), trustme.CA()
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.bundle = folder / "authority.pem"
        self._trusted.cert_pem.write_to_path(self.bundle)

    def context(self, host: str, fault: str) -> ssl.SSLContext:
        """Return what serves TLS for a host: rightly, signed by a stranger, or with another host's name."""
        with self._lock:
            if (host, fault) not in self._contexts:
                authority = self._stranger if fault == "stranger" else self._trusted
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                authority.issue_cert("elsewhere.example" if fault == "other_host" else host).configure_cert(context)
                self._contexts[host, fault] = context
            return self._contexts[host, fault]


class Internet:
    """Accepts connections, one thread each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = Authorities(folder)
        self.world = World()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]

    def run(self) -> None:
        """Serve until the process ends."""
        ready = {"port": self.port, "authority": str(self.authorities.bundle)}
        partial = self.folder / "ready.part"
        partial.write_text(json.dumps(ready))
        partial.replace(self.folder / "ready.json")
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=Connection(self, connection).run, daemon=True).start()

    def control(self, order: dict[str, Any]) -> Any:
        """Do one thing that a test asks for."""
        world = self.world
        match order["do"]:
            case "serve":
                world.serve(order["url"], body_of(order), order["etag"], order["headers"])
            case "remove":
                world.remove(order["url"])
            case "fault":
                world.queue(order["place"], order["faults"])
            case "scene":
                world.scenes.setdefault(order["player"], {}).update(order["scene"])
            case "hosts":
                world.hosts.update(order["hosts"])
            case "state":
                with world.lock:
                    log = [entry for entry in world.log if order["host"] in ("", entry["host"])]
                    state = {"log": log, "unknown": world.unknown, "most": world.most}
                    return {**json.loads(json.dumps(state)), "memory_kb": _memory_kb()}
            case "faults_left":
                return world.faults_left()
            case "reset":
                self.world = World()
        return None


class HangUpError(Exception):
    """The connection ends here, without a word."""


class Connection:
    """One client's connection: plain, or a tunnel that ends in this process."""

    def __init__(self, internet: Internet, connection: socket.socket) -> None:
        self.internet = internet
        self.socket: socket.socket = connection
        self.reader: BinaryIO = connection.makefile("rb", 2**16)
        self.scheme, self.host = "http", ""

    def run(self) -> None:
        """Answer requests until one side hangs up."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while self._next():
                pass
        except (ConnectionError, HangUpError, ssl.SSLError, TimeoutError):
            pass
        finally:
            with contextlib.suppress(OSError):
                self.reader.close()
            with contextlib.suppress(OSError):
                self.socket.close()

    def _next(self) -> bool:
        line = self.reader.readline(2**16)
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split()
        headers = {}
        while header := self.reader.readline(2**16).strip():
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if method == "CONNECT":
            return self._tunnel(target.rpartition(":")[0].lower())
        body = self._body(headers)
        scheme, host = self.scheme, self.host
        if "://" in target:
            scheme, _, rest = target.partition("://")
            host, slash, target = rest.partition("/")
            target = slash + target
        elif not host:
            host = headers.get("host", "127.0.0.1")
        if host.startswith("127.0.0.1") and target == CONTROL:
            result = json.dumps(self.internet.control(json.loads(body))).encode()
            self.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(result) + result)
            return True
        request = Request(
            method=method,
            scheme=scheme,
            host=host.partition(":")[0].lower(),
            target=target or "/",
            headers=headers,
            body=body,
        )
        return self._respond(request) and headers.get("connection", "").lower() != "close"

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.reader.readline().split(b";")[0], 16):
                pieces.append(self.reader.read(size))
                self.reader.readline()
            self.reader.readline()
            return b"".join(pieces)
        return self.reader.read(int(headers.get("content-length", 0)))

    def _tunnel(self, host: str) -> bool:
        """End a tunnel here, with the certificate of the host that was asked for."""
        world = self.internet.world
        if host not in world.hosts and not is_played(host):
            world.unknown.append(host)
            self.socket.sendall(b"HTTP/1.1 502 No such host here\r\nContent-Length: 0\r\n\r\n")
            return False
        fault = world.take_fault(host, "", "CONNECT", of_tls=True)
        self.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        context = self.internet.authorities.context(host, fault.get("tls", ""))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.reader = self.socket.makefile("rb", 2**16)
        self.scheme, self.host = "https", host
        return True

    def _respond(self, request: Request) -> bool:
        """Answer one request; return whether the connection may stay open."""
        world = self.internet.world
        fault = world.take_fault(request.host, request.target, request.method)
        entry = {
            "method": request.method,
            "scheme": request.scheme,
            "host": request.host,
            "target": request.target,
            "headers": request.headers,
            "body": request.body[:LOGGED_BODY_BYTES].decode("utf-8", "replace"),
            "time": time.time(),
            "status": 0,
            "bytes_sent": 0,
        }
        world.begin(entry)
        try:
            if fault.get("hang_up"):
                self._reset()
            answer = self._answer(world, request, fault)
            entry["status"] = answer.status
            return Transfer(self, request, answer, fault, entry).run()
        finally:
            world.end(entry)

    def _answer(self, world: World, request: Request, fault: dict[str, Any]) -> Answer:
        if fault.get("redirect_loop") or request.target.endswith(LOOP):
            place = request.headers.get("host", request.host) + request.target.partition("?")[0]
            return Answer.redirect(f"{request.scheme}://{place}{LOOP}")
        if "body" in fault:
            return Answer(status=fault.get("status", 200), body=Body.of(fault["body"].encode("latin-1")))
        served = world.find(request.host, request.target)
        if served is not None:
            answer = Answer(body=served.body, etag=served.etag, headers=served.headers)
        else:
            answer = play(world, request)
            if answer is None and request.host not in world.hosts and not is_played(request.host):
                world.unknown.append(request.host)
                return Answer(status=502)
            if answer is None:
                return Answer.of_bytes(b"<html><body>no such page</body></html>", "text/html", 404)
        if "status" in fault:
            return Answer(status=fault["status"])
        return _changed(answer, fault)

    def _reset(self) -> None:
        """Break the connection off with RST, not FIN."""
        # A socket without its TLS wrapper, so that nothing is said before
        raw = socket.socket(fileno=self.socket.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        raise HangUpError

    def wait(self, seconds: float) -> None:
        """Do nothing for so long, or until the client hangs up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self.socket], [], [], min(left, 0.2))
            if readable and not self.reader.peek(1):
                raise HangUpError


class Transfer:
    """One answer on its way, with what the fault does to it."""

    def __init__(
        self, connection: Connection, request: Request, answer: Answer, fault: dict[str, Any], entry: dict[str, Any]
    ) -> None:
        self.connection, self.request, self.answer, self.fault, self.entry = connection, request, answer, fault, entry
        self.chunked = fault.get("chunked", answer.chunked)

    def run(self) -> bool:
        """Send; return whether the connection may stay open."""
        status, body, headers = self._ranged()
        self.entry["status"] = status
        no_length = self.fault.get("no_length", False)
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not no_length:
            headers["Content-Length"] = str(max(0, body.size + self.fault.get("length_delta", 0)))
        keep = not no_length and not self.fault.get("length_delta") and "cut_after" not in self.fault
        if not keep:
            headers["Connection"] = "close"
        headers |= self.fault.get("headers", {})
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in headers.items())]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if self.request.method == "HEAD":
            self.connection.socket.sendall(head)
            return keep
        if body.path is None and not self.fault and not self.chunked and body.size < CHUNK_BYTES:
            self.entry["bytes_sent"] = body.size
            self.connection.socket.sendall(head + body.content)
            return keep
        self.connection.socket.sendall(head)
        self._send_faulty(body)
        if self.chunked and keep:
            self.connection.socket.sendall(b"0\r\n\r\n")
        return keep

    def _ranged(self) -> tuple[int, Body, dict[str, str]]:
        """Return what the request's Range and its conditions leave of the answer."""
        answer, asked = self.answer, self.request.headers
        headers, size = dict(answer.headers), answer.body.size
        if not answer.etag or answer.status != 200:
            return answer.status, answer.body, headers
        headers = {"ETag": answer.etag, "Last-Modified": LAST_MODIFIED, "Accept-Ranges": "bytes", **headers}
        headers.setdefault("Content-Type", "application/octet-stream")
        if asked.get("if-match", answer.etag) not in (answer.etag, "*"):
            return 412, Body(), headers
        valid = asked.get("if-range", answer.etag) in (answer.etag, LAST_MODIFIED)
        unit, _, span = asked.get("range", "").partition("=")
        if unit != "bytes" or not valid or self.fault.get("ignore_range"):
            return 200, answer.body, headers
        first, _, last = span.partition("-")
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= size:
            return 416, Body(), {**headers, "Content-Range": f"bytes */{size}"}
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return 206, answer.body.part(start, stop), headers

    def _send_faulty(self, body: Body) -> None:
        fault, sent = self.fault, 0
        cut = fault.get("cut_after", fault.get("reset_after", body.size))
        stall, rate = fault.get("stall_after"), fault.get("bytes_per_s")
        stops = sorted({min(cut, body.size), min(body.size, cut, stall if stall is not None else cut)})
        for stop in stops:
            if rate:
                self._drip(body.part(sent, stop), rate)
            else:
                self._send(body.part(sent, stop))
            sent = stop
            if stall is not None and sent == min(stall, body.size):
                self.connection.wait(fault.get("stall_s", 3600))
                if "stall_s" not in fault:
                    raise HangUpError
        if "reset_after" in fault:
            time.sleep(0.05)  # what was sent arrives before the reset overtakes it
            self.connection._reset()
        if cut < body.size:
            raise HangUpError

    def _drip(self, body: Body, bytes_per_s: float) -> None:
        step = max(1, int(bytes_per_s / 20))
        for start in range(0, body.size, step):
            self._send(body.part(start, min(start + step, body.size)))
            self.connection.wait(step / bytes_per_s)

    def _send(self, body: Body) -> None:
        """Send bytes and count them; straight from the disk where nothing is between."""
        sender = self.connection.socket
        if body.path is None:
            for start in range(0, body.size, CHUNK_BYTES):
                self._send_piece(memoryview(body.content)[start : start + CHUNK_BYTES])
            return
        with body.path.open("rb", buffering=0) as handle:
            if self.chunked or isinstance(sender, ssl.SSLSocket):
                body.seek(handle)
                left = body.size
                while left and (piece := handle.read(min(CHUNK_BYTES, left))):
                    self._send_piece(piece)
                    left -= len(piece)
                return
            offset, stop = body.start, body.start + body.size
            while offset < stop:
                n_bytes = os.sendfile(sender.fileno(), handle.fileno(), offset, min(CHUNK_BYTES, stop - offset))
                if not n_bytes:
                    break
                offset += n_bytes
                self.entry["bytes_sent"] += n_bytes

    def _send_piece(self, piece: bytes | memoryview) -> None:
        if self.chunked:
            self.connection.socket.sendall(b"%x\r\n" % len(piece) + bytes(piece) + b"\r\n")
        else:
            self.connection.socket.sendall(piece)
        self.entry["bytes_sent"] += len(piece)


def _changed(answer: Answer, fault: dict[str, Any]) -> Answer:
    """Return the answer with the bytes and the name of the version that a fault asks for."""
    body, etag = answer.body, answer.etag
    if body.size and (fault.get("corrupt") or fault.get("other_version")):
        content = bytearray(body.read())
        content[len(content) // 2] ^= 0xFF
        if fault.get("other_version"):
            content = bytearray(content[::-1])
            etag = '"another-version"'
        body = Body.of(bytes(content))
    if fault.get("short_by"):
        body = body.part(0, max(0, body.size - fault["short_by"]))
    return Answer(status=answer.status, headers=answer.headers, body=body, etag=etag, chunked=answer.chunked)


def _memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _end_with(parent: int) -> None:
    """Leave when the tests that started this process are gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        Internet(folder).run()
    except KeyboardInterrupt:
        sys.exit(0)
