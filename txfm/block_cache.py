"""Decoded blocks in bounded memory."""

from collections import OrderedDict

from txfm.store import CsrRows


class BlockCache:
    """Least-recently-used cache of decoded blocks, bounded in bytes."""

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.held_bytes = 0
        self._blocks: OrderedDict[tuple[int, int], CsrRows] = OrderedDict()

    def get(self, key: tuple[int, int]) -> CsrRows | None:
        """The block of (store, first row), or None."""
        if key in self._blocks:
            self._blocks.move_to_end(key)
        return self._blocks.get(key)

    def put(self, key: tuple[int, int], block: CsrRows) -> None:
        """Add a block that is not held yet, and drop the least recently used ones above the limit."""
        self._blocks[key] = block
        self.held_bytes += block.nbytes
        while self.held_bytes > self.memory_bytes:
            _, oldest = self._blocks.popitem(last=False)
            self.held_bytes -= oldest.nbytes
