"""What the loopback internet knows: files, faults to come, scenes of the repositories, and the log of requests."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from messages import Body


@dataclass(frozen=True, kw_only=True)
class Served:
    """A file at an address."""

    body: Body
    etag: str
    headers: dict[str, str]


@dataclass(kw_only=True)
class World:
    """The state between two resets; handlers of an older state keep it to their end."""

    files: dict[tuple[str, str], Served] = field(default_factory=dict)
    scenes: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    log: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _faults: dict[str, list[tuple[str, deque[dict[str, Any]]]]] = field(default_factory=dict)
    _active: dict[str, int] = field(default_factory=dict)

    def serve(self, url: str, body: Body, etag: str, headers: dict[str, str]) -> None:
        """Put a file at a url."""
        host, target = address(url)
        self.files[host, target] = Served(body=body, etag=etag, headers=headers)
        self.hosts.add(host)

    def remove(self, url: str) -> None:
        """Take the file at a url away; the host stays."""
        self.files.pop(address(url), None)

    def find(self, host: str, target: str) -> Served | None:
        """Return the file at a target, or at its path whatever the query."""
        return self.files.get((host, target)) or self.files.get((host, target.partition("?")[0]))

    def queue(self, place: str, faults: list[dict[str, Any]]) -> None:
        """Have the next requests to a url, or those below a url that ends with *, or a whole host fail."""
        host, target = address(place) if "://" in place else (place.lower(), "*")
        with self.lock:
            for known, waiting in self._faults.setdefault(host, []):
                if known == target:
                    waiting.extend(faults)
                    return
            self._faults[host].append((target, deque(faults)))

    def take_fault(self, host: str, target: str, method: str, *, of_tls: bool = False) -> dict[str, Any]:
        """Return the next fault for a request, and strike it off; {} for none."""
        if host not in self._faults:
            return {}
        with self.lock:
            for pattern, waiting in self._faults[host]:
                if not waiting or not (of_tls or _matches(pattern, target)):
                    continue
                fault = waiting[0]
                if bool(fault.get("tls")) == of_tls and fault.get("method", method) == method:
                    return waiting.popleft()
        return {}

    def faults_left(self) -> int:
        """Return how many queued faults no request met yet."""
        with self.lock:
            return sum(len(waiting) for patterns in self._faults.values() for _, waiting in patterns)

    def begin(self, entry: dict[str, Any]) -> None:
        """Log a request and count it among those that run now."""
        host = entry["host"]
        with self.lock:
            self.log.append(entry)
            self._active[host] = self._active.get(host, 0) + 1
            self.most[host] = max(self.most.get(host, 0), self._active[host])

    def end(self, entry: dict[str, Any]) -> None:
        """The answer was sent, or broke off."""
        with self.lock:
            self._active[entry["host"]] -= 1


def body_of(order: dict[str, Any]) -> Body:
    """Return the stretch of a file that an order names."""
    return Body(path=Path(order["path"]), start=order["start"], size=order["size"])


def address(url: str) -> tuple[str, str]:
    """Return host and target of a url."""
    parts = urlsplit(url)
    target = parts.path or "/"
    return (parts.hostname or "").lower(), f"{target}?{parts.query}" if parts.query else target


def _matches(pattern: str, target: str) -> bool:
    if pattern.endswith("*"):
        return target.startswith(pattern[:-1])
    return pattern in (target, target.partition("?")[0])
