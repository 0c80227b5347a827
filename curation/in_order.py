"""Work of many threads whose results come in the order of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(pool: Executor, function: Callable[[T], R], items: Iterable[T], *, ahead: int) -> Iterator[tuple[T, R]]:
    """Yield (item, function(item)) in the order of `items`, up to `ahead` of them made before they are asked for."""
    coming: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            coming.append((item, pool.submit(function, item)))
            if len(coming) > ahead:
                done, result = coming.popleft()
                yield done, result.result()
        while coming:
            done, result = coming.popleft()
            yield done, result.result()
    finally:
        for _, future in coming:
            future.cancel()
