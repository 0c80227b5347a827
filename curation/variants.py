"""Variants of a corpus: from `base`, `with` and `without` to study -> recipe, and the hold-out rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.catalog import Study
from curation.errors import InputError
from curation.recipe import Recipe
from curation.schema_check import nearest


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One corpus: study -> recipe, and the models it is trained with (empty: those that the config selects)."""

    name: str
    studies: Mapping[str, str]
    models: tuple[str, ...] = ()


def expand_variants(
    entries: Mapping[str, Mapping[str, Any]], studies: Mapping[str, Study], recipes: Mapping[str, Recipe]
) -> dict[str, Variant]:
    """Return every variant of a config with its base resolved.

    Parameters
    ----------
    entries : mapping
        `variants` of a config, defaults filled in.
    studies, recipes : mapping
        What names may refer to.

    Raises
    ------
    InputError
        An unknown name, a circle of bases, a `without` that the base does not have, an empty variant, or a recipe that
        asks for controls of a study without controls.
    """
    expanded: dict[str, Variant] = {}
    for name in entries:
        members = _members(name, entries, studies, ())
        for study, recipe in members.items():
            _check_pair(name, study, recipe, studies, recipes)
        if not members:
            raise InputError(
                "a variant has no study", where=f"config, key variants.{name}", todo="add studies to it, or remove it"
            )
        expanded[name] = Variant(
            name=name, studies=dict(sorted(members.items())), models=tuple(entries[name]["models"])
        )
    return expanded


def _members(
    name: str, entries: Mapping[str, Mapping[str, Any]], studies: Mapping[str, Study], above: tuple[str, ...]
) -> dict[str, str]:
    entry, where = entries[name], f"config, key variants.{name}"
    if "studies" in entry:
        return dict(entry["studies"])
    base = entry["base"]
    if base not in entries:
        raise InputError(
            f"unknown variant {base!r}", where=f"{where}.base", todo=nearest(base, (v for v in entries if v != name))
        )
    if base in (*above, name):
        raise InputError(
            "variants are based on each other in a circle",
            where=f"{where}.base",
            found=" -> ".join([*above, name, base]),
            todo="give one of them `studies`",
        )
    members = _members(base, entries, studies, (*above, name))
    for i, study in enumerate(entry["without"]):
        if study not in members:
            raise InputError(
                f"{study!r} is not a study of variant {base!r}",
                where=f"{where}.without[{i}]",
                todo=nearest(study, members),
            )
        del members[study]
    return members | dict(entry["with"])


def _check_pair(
    variant: str, study: str, recipe: str, studies: Mapping[str, Study], recipes: Mapping[str, Recipe]
) -> None:
    where = f"config, key variants.{variant}, study {study}"
    if study not in studies:
        raise InputError(f"unknown study {study!r}", where=where, todo=nearest(study, studies))
    if recipe not in recipes:
        raise InputError(f"unknown recipe {recipe!r}", where=where, todo=nearest(recipe, recipes))
    if studies[study].role == "evaluation":
        trainable = [name for name, other in studies.items() if other.role == "train"]
        raise InputError(
            f"study {study!r} is held out: its role in the catalogue is evaluation, so no variant may train on it",
            where=where,
            expected=f"studies with role train: {', '.join(sorted(trainable))}",
            todo="remove it from the variant; to evaluate on it, name it in `evaluation.studies`",
        )
    if recipes[recipe].perturbations != "all" and not studies[study].obs.control_labels:
        raise InputError(
            f"recipe {recipe!r} selects perturbations, but the catalogue names no control of study {study!r}",
            where=where,
            expected="a study with `obs.control_labels`",
            todo="use a recipe with `perturbations: all`",
        )


def refuse_held_out(
    variants: Mapping[str, Variant],
    selected: Mapping[str, Variant],
    studies: Mapping[str, Study],
    evaluation: Mapping[str, str],
) -> None:
    """Refuse training on what is evaluated.

    Parameters
    ----------
    variants : mapping
        All variants of the config: none may share a (publication, context) key with a study of role evaluation.
    selected : mapping
        The variants that are trained: none may hold, or share a key with, a study that is evaluated in this run.
    studies : mapping
        The catalogue's studies.
    evaluation : mapping
        Evaluation studies of this run -> recipe.

    Raises
    ------
    InputError
        Naming variant, training study and held-out study.
    """
    roles = {name: study for name, study in studies.items() if study.role == "evaluation"}
    here = {name: studies[name] for name in evaluation}
    for checked, held_out in ((variants, roles), (selected, here)):
        owners = {study.publication_key: name for name, study in held_out.items()}
        for name, variant in checked.items():
            for study in variant.studies:
                owner = owners.get(studies[study].publication_key)
                if owner is None:
                    continue
                publication, context = studies[study].publication_key
                what = (
                    f"study {study!r} is both trained on and evaluated"
                    if owner == study
                    else f"training study {study!r} and held-out study {owner!r} are the same cells"
                )
                raise InputError(
                    what,
                    where=f"config, key variants.{name}, study {study}",
                    expected="no training study with the (publication, context) of an evaluation study",
                    found=f"({publication}, {context}) for both",
                    todo=f"remove {study!r} from the variant, or {owner!r} from the evaluation",
                )
