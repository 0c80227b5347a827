"""Tables of phenoprints that a build computes itself, and the circles that they may not close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curation.catalog import Study
from curation.errors import InputError
from curation.recipe import Recipe
from curation.schema_check import require_known
from curation.variants import Variant


@dataclass(frozen=True, kw_only=True)
class Phenoprint:
    """An entry of the config's `phenoprints`.

    Attributes
    ----------
    study, recipe : str
        The screen and how it is filtered before its perturbations are judged.
    embedding : {"pca", "txfm"}
    variant, model : str or None
        The model that embeds the screen; None for PCA.
    seed : int
        Of the model, and of the random cells of the null.
    null_distribution : {"pooled", "per_perturbation"}
        Which reading of the null the p-value is of.
    """

    study: str
    recipe: str
    embedding: str = "pca"
    variant: str | None = None
    model: str | None = None
    seed: int = 0
    null_distribution: str = "pooled"


def read_phenoprint_entries(
    entries: Mapping[str, Mapping[str, Any]],
    studies: Mapping[str, Study],
    recipes: Mapping[str, Recipe],
    variants: Mapping[str, Variant],
) -> dict[str, Phenoprint]:
    """Return all entries, every name of which exists and none of which chooses its own samples.

    Parameters
    ----------
    entries : mapping
        `phenoprints` of a config, defaults filled in.
    studies, recipes, variants : mapping
        What names may refer to.

    Raises
    ------
    InputError
        An unknown name; a recipe that itself keeps phenoprints; a screen without controls; an embedder that was trained
        on the screen.
    """
    found = {name: Phenoprint(**fields) for name, fields in entries.items()}
    for name, entry in found.items():
        where = f"config, key phenoprints.{name}"
        require_known(entry.study, studies, "study", f"{where}.study")
        require_known(entry.recipe, recipes, "recipe", f"{where}.recipe")
        if not studies[entry.study].obs.control_labels:
            raise InputError(
                f"the catalogue names no control of study {entry.study!r}, so nothing can be compared with controls",
                where=f"{where}.study",
                expected="a study with `obs.control_labels`",
            )
        if recipes[entry.recipe].perturbations != "all":
            raise InputError(
                f"recipe {entry.recipe!r} already chooses perturbations, so phenoprints would come out of themselves",
                where=f"{where}.recipe",
                expected="a recipe with `perturbations: all`",
                found=f"perturbations: {recipes[entry.recipe].perturbations}",
                todo="name the recipe of the whole screen, such as `full`",
            )
        if entry.embedding == "txfm":
            _check_embedder(entry, where, studies, variants)
    return found


def check_phenoprints_used(
    phenoprints: Mapping[str, Phenoprint],
    recipes: Mapping[str, Recipe],
    variants: Mapping[str, Variant],
    runs: Iterable[tuple[str, str, int]],
) -> dict[str, Phenoprint]:
    """Return the entries that selected variants need, all of which this build can compute.

    Parameters
    ----------
    phenoprints : mapping
        What `read_phenoprint_entries` returns.
    recipes : mapping
    variants : mapping
        The selected variants.
    runs : iterable of (variant, model, seed)
        What the build trains.

    Raises
    ------
    InputError
        A recipe takes the phenoprints of one study for another; an embedder is not trained by this build, or waits for
        a table that waits for it.
    """
    trained = set(runs)
    used: dict[str, Phenoprint] = {}
    waiting: dict[str, tuple[str, ...]] = {}

    def visit(entry: str, above: tuple[str, ...]) -> None:
        if entry in above:
            raise InputError(
                "phenoprints wait for a model that waits for them",
                where=f"config, key phenoprints.{entry}",
                found=" -> ".join([*above, entry]),
                todo="use `embedding: pca` for one of them",
            )
        for other in waiting.get(entry, ()):
            visit(other, (*above, entry))

    def needed(variant: Variant) -> tuple[str, ...]:
        names = []
        for study, recipe in variant.studies.items():
            name = recipes[recipe].phenoprints_from
            if recipes[recipe].perturbations != "phenoprint" or name is None:
                continue
            if phenoprints[name].study != study:
                raise InputError(
                    f"recipe {recipe!r} takes the phenoprints of {phenoprints[name].study!r} for study {study!r}",
                    where=f"config, key variants.{variant.name}, study {study}",
                    expected=f"phenoprints of {study}",
                    found=f"recipes.{recipe}.phenoprints_from: {name}",
                    todo="give this study a recipe and an entry of `phenoprints` of its own",
                )
            names.append(name)
        return tuple(names)

    for variant in variants.values():
        for name in needed(variant):
            used[name] = phenoprints[name]
    for name, entry in used.items():
        if entry.variant is None:
            continue
        if (entry.variant, entry.model, entry.seed) not in trained:
            raise InputError(
                f"phenoprints {name!r} need a model that this run does not train",
                where=f"config, key phenoprints.{name}",
                expected=", ".join(f"{v}.{m}.s{s}" for v, m, s in sorted(trained)) or "a model in select.models",
                found=f"{entry.variant}.{entry.model}.s{entry.seed}",
                todo="add variant, model and seed to `select`, or use `embedding: pca`",
            )
        waiting[name] = needed(variants[entry.variant])
    for name in used:
        visit(name, ())
    return dict(sorted(used.items()))


def _check_embedder(
    entry: Phenoprint, where: str, studies: Mapping[str, Study], variants: Mapping[str, Variant]
) -> None:
    assert entry.variant is not None, "the schema asks for it"
    require_known(entry.variant, variants, "variant", f"{where}.variant")
    screen = studies[entry.study]
    for study in variants[entry.variant].studies:
        if study == entry.study or studies[study].publication_key == screen.publication_key:
            raise InputError(
                f"variant {entry.variant!r} is trained on {study!r}, whose phenoprints its model would choose",
                where=f"{where}.variant",
                expected=f"a variant without {entry.study}, under any recipe",
                found=f"{study}: {variants[entry.variant].studies[study]}",
                todo=f"name a variant with `without: [{study}]`, or use `embedding: pca`",
            )
