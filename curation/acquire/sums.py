"""Checksums computed in threads of their own, while the next bytes arrive."""

from __future__ import annotations

import hashlib
import queue
import threading
import zlib
from collections.abc import Callable

# Pieces are joined to this size before they are hashed: a hand-over between threads costs as much as hashing 20 kB.
BATCH_BYTES = 2**18
# Batches that may wait for a thread; the download waits when the disk and the sums are slower than the network.
WAITING_BATCHES = 8


class StreamSums:
    """Feeds every byte to some consumers, each in its own thread.

    hashlib and zlib let other threads run while they work, so a download costs the slower of network and slowest sum,
    not the total.

    Parameters
    ----------
    consumers : callables
        Take bytes; called in order from one thread each. What they raise appears at `finish`.
    """

    def __init__(self, *consumers: Callable[[bytes], object]) -> None:
        self._threads = [_Consumer(consumer) for consumer in consumers]
        self._pieces: list[bytes] = []
        self._n_bytes = 0

    def take(self, piece: bytes) -> None:
        """Add bytes."""
        self._pieces.append(piece)
        self._n_bytes += len(piece)
        if self._n_bytes >= BATCH_BYTES:
            self._hand_over()

    def finish(self) -> None:
        """Return when every byte so far was consumed; raises what a consumer raised."""
        self._hand_over()
        for thread in self._threads:
            thread.finish()

    def close(self) -> None:
        """End the threads; what waits is not consumed."""
        for thread in self._threads:
            thread.close()

    def _hand_over(self) -> None:
        if not self._pieces:
            return
        batch = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._n_bytes = [], 0
        for thread in self._threads:
            thread.take(batch)


class _Consumer:
    """One thread, started by the first batch."""

    def __init__(self, consume: Callable[[bytes], object]) -> None:
        self._consume = consume
        self._batches: queue.Queue[bytes | None] = queue.Queue(WAITING_BATCHES)
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._closed = False

    def take(self, batch: bytes) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._batches.put(batch)

    def finish(self) -> None:
        self._batches.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        if self._thread is not None and not self._closed:
            self._closed = True
            self._batches.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            if self._error is None and not self._closed:
                try:
                    self._consume(batch)
                except Exception as error:  # the thread that waits for the sum raises it
                    self._error = error
            self._batches.task_done()
        self._batches.task_done()


class GzipEnd:
    """Unpacks a gzip stream without keeping it, to see whether it is whole: its members carry CRC and length.

    Used where no checksum is known. Memory stays at one block however well the stream is packed.
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False  # a member that has not ended
        self.damage = ""

    def take(self, batch: bytes) -> None:
        """Add bytes."""
        rest = batch
        while rest and not self.damage:
            if not self._begun:
                rest = rest.lstrip(b"\0") if self._member.eof else rest  # tar pads with zeros after the last member
                if not rest:
                    return
                self._member, self._begun = zlib.decompressobj(wbits=31), True
            try:
                self._member.decompress(rest, BATCH_BYTES)
            except zlib.error as error:
                self.damage = str(error)
                return
            rest = self._member.unconsumed_tail
            if self._member.eof:
                rest, self._begun = self._member.unused_data, False

    @property
    def whole(self) -> bool:
        """Whether every member ended."""
        return not self.damage and not self._begun and self._member.eof


def new_sum(algorithm: str) -> hashlib._Hash:
    """Return an empty sum: sha256 or md5 (a repository's sum, not a defence)."""
    return hashlib.new(algorithm, usedforsecurity=False)
