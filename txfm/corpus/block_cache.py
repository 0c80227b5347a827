"""Decoded blocks in bounded memory."""

from threading import Lock

from txfm.corpus.rows import CsrRows


class BlockCache:
    """Keeps blocks from the second time that they are decoded, up to a limit in bytes; safe for threads.

    Whoever reads an epoch once pays for no memory that is touched for the first time: that costs more than decoding
    where a virtual machine has to ask its host for it. An epoch reads every block once, so a cache that drops what was
    used longest ago would drop each block just before it is wanted again. What is kept stays, and is a hit in every
    later epoch.
    """

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.held_bytes = 0
        self._blocks: dict[tuple[int, int], CsrRows] = {}
        self._decoded: set[tuple[int, int]] = set()
        self._lock = Lock()

    def get(self, key: tuple[int, int]) -> CsrRows | None:
        """The block of (store, first row), or None."""
        return self._blocks.get(key)

    def put(self, key: tuple[int, int], block: CsrRows) -> None:
        """Keep a block that was decoded before, if there is room for it."""
        with self._lock:
            if key not in self._decoded:
                self._decoded.add(key)
            elif key not in self._blocks and self.held_bytes + block.nbytes <= self.memory_bytes:
                self._blocks[key] = block
                self.held_bytes += block.nbytes
