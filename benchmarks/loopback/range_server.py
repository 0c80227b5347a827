"""One file over plain HTTP with ranges, as fast as the kernel copies or at a fixed rate: `range_server.py FILE [RATE]`.

Prints its port. GET /file serves it, /sent answers with the body bytes handed to sockets so far, others get 404.
"""

import re
import socket
import sys
import threading
import time
from pathlib import Path

PIECE_BYTES = 2**16


class Sent:
    """Bytes handed to sockets."""

    total = 0


def answer(connection: socket.socket, path: Path, rate: float | None) -> None:
    """Serve one request and hang up."""
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            received = connection.recv(2**16)
            if not received:
                return
            request += received
        target = request.split()[1].decode()
        if target == "/sent":
            send(connection, "200 OK", str(Sent.total).encode())
        elif target != "/file":
            send(connection, "404 Not Found", b"no")
        else:
            found = re.search(rb"range: bytes=(\d+)-", request, re.IGNORECASE)
            serve(connection, path, int(found[1]) if found else None, rate)


def send(connection: socket.socket, status: str, body: bytes) -> None:
    """Send a short answer."""
    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)


def serve(connection: socket.socket, path: Path, start: int | None, rate: float | None) -> None:
    """Send the file from a byte on."""
    size, first = path.stat().st_size, start or 0
    head = f"HTTP/1.1 {'200 OK' if start is None else '206 Partial Content'}\r\nContent-Length: {size - first}\r\n"
    head += "" if start is None else f"Content-Range: bytes {first}-{size - 1}/{size}\r\n"
    connection.sendall(f'{head}ETag: "one"\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n'.encode())
    with path.open("rb") as handle:
        handle.seek(first)
        if rate is None:
            try:
                Sent.total += connection.sendfile(handle, first)
            except ConnectionError:
                return
            return
        begun, sent = time.monotonic(), 0
        while piece := handle.read(PIECE_BYTES):
            try:
                connection.sendall(piece)
            except ConnectionError:
                return
            sent += len(piece)
            Sent.total += len(piece)
            time.sleep(max(0.0, sent / rate - (time.monotonic() - begun)))


def main() -> None:
    """Serve until killed."""
    path, rate = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, path, rate), daemon=True).start()


if __name__ == "__main__":
    main()
