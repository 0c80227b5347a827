"""Arrays whose memory is used again: the system clears fresh memory, which costs a fifth of the time of reading."""

import os
from collections import deque
from threading import Lock

import numpy as np

# Smaller arrays come from the allocator's own reserves
LEAST_BYTES = 2**18
# Of a buffer beside what is asked for
MOST_TOO_LARGE = 1.5
# Of memory that waits to be used again
MOST_FREE_BYTES = 2**29


class BufferPool:
    """Hands out uninitialised arrays, and takes their memory back when the last view is gone; safe for threads."""

    def __init__(self, most_free_bytes: int = MOST_FREE_BYTES) -> None:
        self._most_free_bytes = most_free_bytes
        self.reset()

    def reset(self) -> None:
        """Forget all free memory; a forked process begins so, because a thread of its parent may have held the lock."""
        self._lock = Lock()
        self._free: deque[np.ndarray] = deque()
        self.free_bytes = 0

    def empty(self, length: int, dtype: np.dtype) -> np.ndarray:
        """An array of `length` elements with arbitrary content; views of it and tensors over it may live on."""
        n_bytes = length * dtype.itemsize
        if n_bytes < LEAST_BYTES:
            return np.empty(length, dtype=dtype)
        return np.asarray(_Lease(self, self._buffer(n_bytes), length, dtype))

    def take_back(self, buffer: np.ndarray) -> None:
        """Keep memory that nobody uses any more, below the limit; without the lock: any thread may drop a view."""
        if self.free_bytes + len(buffer) <= self._most_free_bytes:
            self.free_bytes += len(buffer)
            self._free.append(buffer)

    def _buffer(self, n_bytes: int) -> np.ndarray:
        """The smallest free buffer that is hardly too large, or a new one."""
        with self._lock:
            free = [self._free.popleft() for _ in range(len(self._free))]
            free.sort(key=len)
            fits = next(
                (i for i, buffer in enumerate(free) if n_bytes <= len(buffer) <= n_bytes * MOST_TOO_LARGE), None
            )
            found = None if fits is None else free.pop(fits)
            self._free.extend(free)
            self.free_bytes = sum(map(len, self._free))
        # An eighth more, so that the next one, a little larger, fits as well
        return np.empty(n_bytes + n_bytes // 8, dtype=np.uint8) if found is None else found


class _Lease:
    """Memory in use; NumPy's array interface keeps this object alive as long as a view is."""

    def __init__(self, pool: BufferPool, buffer: np.ndarray, length: int, dtype: np.dtype) -> None:
        self._pool, self._buffer = pool, buffer
        self.__array_interface__ = {
            "data": (buffer.ctypes.data, False),
            "shape": (length,),
            "typestr": dtype.str,
            "version": 3,
        }

    def __del__(self) -> None:
        self._pool.take_back(self._buffer)


BUFFERS = BufferPool()
os.register_at_fork(after_in_child=BUFFERS.reset)
