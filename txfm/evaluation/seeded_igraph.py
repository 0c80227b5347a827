"""The package igraph, which clusters graphs, with a seed of our own."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from txfm.errors import InputError


def load_igraph(what: str, todo: str) -> ModuleType:
    """The package.

    Raises
    ------
    InputError
        It is not installed: `what` needs it; `todo` is what else can be done.
    """
    try:
        import igraph
    except ImportError as error:
        raise InputError(
            f"{what} need the package igraph",
            found=str(error),
            todo=f"pip install 'diverserna[evaluate]', or pip install igraph; or {todo}",
        ) from error
    return igraph


@contextmanager
def seeded(igraph: ModuleType, seed: int) -> Iterator[None]:
    """What igraph draws inside depends on the seed alone; afterwards it draws from Python's generator again."""
    igraph.set_random_number_generator(random.Random(seed))
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)
