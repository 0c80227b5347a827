"""Which studies a recipe leaves out the samples of, checked before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from curation.errors import InputError
from curation.recipe import Recipe
from curation.schema_check import nearest

Pair = tuple[str, str]


def pairs_left_out(
    recipes: Mapping[str, Recipe], training: Iterable[Pair], evaluation: Iterable[Pair]
) -> dict[Pair, tuple[Pair, ...]]:
    """Return, for each (study, recipe) that is built, those whose samples its recipe's `drop_samples_of` leaves out.

    Raises
    ------
    InputError
        A study of `drop_samples_of` is not built, is the study itself, or two studies wait for each other.
    """
    training, evaluation = tuple(training), tuple(evaluation)
    built = (*training, *evaluation)
    found = {}
    for study, recipe in training:
        for other in recipes[recipe].drop_samples_of:
            where = f"config, key recipes.{recipe}.drop_samples_of"
            if other == study:
                raise InputError(
                    f"{study!r} would leave out its own samples",
                    where=where,
                    expected="other studies",
                    todo=f"give {study} a recipe of its own",
                )
            if other not in {name for name, _ in built}:
                raise InputError(
                    f"{other!r} is in none of the selected variants and not evaluated",
                    where=where,
                    expected="studies that this run builds, so that the store is the same in every run",
                    todo=nearest(other, sorted({name for name, _ in built} - {study})),
                )
        names = recipes[recipe].drop_samples_of
        found[study, recipe] = tuple(pair for pair in built if pair[0] in names)
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        raise InputError(
            "these studies leave out each other's samples",
            where="config, key recipes, drop_samples_of",
            expected="an order: of two studies, one leaves out the samples of the other",
            found=" -> ".join(study for study, _ in error.args[1]),
            todo="take one of them out of the list",
        ) from None
    return found
