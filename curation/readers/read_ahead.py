"""Reading in a thread while the caller works on what was read before."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def read_ahead(items: Generator[T, None, None]) -> Iterator[T]:
    """Yield `items`, one of them made ahead in a thread; an error comes where its item would have come.

    Reading, unpacking and NumPy's loops let go of the interpreter, so a second core is used. Memory holds one item
    more. Whoever stops early closes `items`.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, _END)
        try:
            while (item := coming.result()) is not _END:
                coming = thread.submit(next, items, _END)
                yield item  # type: ignore[misc]  # whatever is not the end is an item
        finally:
            thread.shutdown(cancel_futures=True)
            items.close()
