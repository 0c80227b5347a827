"""A grid of ablations: one factor at a time is changed from a default, and every change is trained with every seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curation.errors import InputError
from curation.schema_check import require_known
from curation.variants import Variant

DATA = "data"  # the factor of other variants, which a config need not name
WITHOUT = "without a study"
BUDGETS = ("epochs", "samples_seen", "steps")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One alternative of a factor, or the default, whose factor and alternative are empty."""

    factor: str
    alternative: str
    variant: str
    model: str

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.factor}: {self.alternative}" if self.factor else "the default"


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A grid, with every name looked up.

    Attributes
    ----------
    name : str
    cells : tuple of Cell
        The default first.
    variants : mapping of str to Variant
        What the cells are trained on, those that leave a study out among them.
    models : mapping of str to mapping
        What the cells train: the default, and one a changed factor.
    seeds : tuple of int
    """

    name: str
    cells: tuple[Cell, ...]
    variants: Mapping[str, Variant]
    models: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> tuple[tuple[str, str, int], ...]:
        """(variant, model, seed) triples to train, each once."""
        return tuple(dict.fromkeys((cell.variant, cell.model, seed) for cell in self.cells for seed in self.seeds))

    @property
    def lack_of_seeds(self) -> str:
        """Why most differences will have no p-value; "" where they can have one."""
        if len(self.seeds) > 1:
            return ""
        return (
            f"grid {self.name} has one training seed: only the share of consistent perturbations gets a p-value. "
            f"Two or more in ablations.{self.name}.seeds give every score one"
        )

    def as_list(self) -> list[dict[str, str]]:
        """For `txfm ablation --cells`."""
        return [vars(cell) for cell in self.cells]


def read_ablation(
    name: str, entry: Mapping[str, Any], variants: Mapping[str, Variant], models: Mapping[str, Mapping[str, Any]]
) -> Ablation:
    """Expand an entry of `ablations`.

    Parameters
    ----------
    name : str
    entry : mapping
        Of `ablations`, defaults filled in.
    variants : mapping of str to Variant
        Every variant of the config.
    models : mapping of str to mapping
        Every model of the config.

    Raises
    ------
    InputError
        An unknown variant or model, a budget that a variant's size decides, an alternative that changes nothing, two
        things of one name, or two cells that are the same.
    """
    where = f"config, key ablations.{name}"
    require_known(entry["variant"], variants, "variant", f"{where}.variant")
    require_known(entry["model"], models, "model", f"{where}.model")
    default = Cell(factor="", alternative="", variant=entry["variant"], model=entry["model"])
    fields = models[default.model]
    if fields.get("epochs") is not None:
        raise InputError(
            f"the compute of model {default.model!r} depends on the size of the variant",
            where=f"{where}.model",
            expected="a budget in samples_seen or steps: cells are compared at equal compute",
            found=f"epochs: {fields['epochs']}",
            todo="name a model with samples_seen",
        )
    changed_models = dict(_changed_models(entry, default.model, models, where))
    changed_variants = dict(_changed_variants(entry, variants, where))
    cells = [default]
    cells += [
        Cell(factor=factor, alternative=name, variant=default.variant, model=model)
        for (factor, name), (model, _) in changed_models.items()
    ]
    cells += [
        Cell(factor=factor, alternative=name, variant=variant.name, model=default.model)
        for (factor, name), variant in changed_variants.items()
    ]
    grid = Ablation(
        name=name,
        cells=tuple(cells),
        variants={default.variant: variants[default.variant]}
        | {variant.name: variant for variant in changed_variants.values()},
        models={default.model: fields} | dict(changed_models.values()),
        seeds=tuple(entry["seeds"]),
    )
    refuse_equal_cells(grid, grid.models)
    return grid


def refuse_equal_cells(ablation: Ablation, models: Mapping[str, object]) -> None:
    """Refuse two cells that would train the same, however they are written.

    Parameters
    ----------
    ablation : Ablation
    models : mapping of str to object
        What each model of the grid is; equal for two that are the same. With the fields of their presets filled in, an
        alternative that spells out a preset's value is found as well.

    Raises
    ------
    InputError
        Names both cells.
    """
    for first, second in itertools.combinations(ablation.cells, 2):
        one, other = (ablation.variants[cell.variant].studies for cell in (first, second))
        if one == other and models[first.model] == models[second.model]:
            raise InputError(
                f"{second.title} is the same as {first.title}",
                where=f"config, key ablations.{ablation.name}",
                expected="cells that differ in the studies or in a field of the model, fields of presets included",
                found=f"model {second.model!r} on variant {second.variant!r}, {first.model!r} on {first.variant!r}",
                todo="remove one of them",
            )


def refuse_new_stores(ablation: Ablation, selected: Mapping[str, Variant]) -> None:
    """Refuse a grid that trains on stores which the selected variants do not build.

    Raises
    ------
    InputError
        Names the study, its recipe and the variant.
    """
    built = {pair for variant in selected.values() for pair in variant.studies.items()}
    for variant in ablation.variants.values():
        for study, recipe in variant.studies.items():
            if (study, recipe) not in built:
                raise InputError(
                    f"no selected variant has study {study!r} under recipe {recipe!r}",
                    where=f"config, key ablations.{ablation.name}, variant {variant.name!r}",
                    expected="studies of the variants in select.variants: they decide which stores are built",
                    todo=f"add {variant.name!r} to select.variants, or name another grid in select.ablation",
                )


def _changed_models(
    entry: Mapping[str, Any], default: str, models: Mapping[str, Mapping[str, Any]], where: str
) -> Iterator[tuple[tuple[str, str], tuple[str, Mapping[str, Any]]]]:
    """Yield (factor, alternative) -> (name of a model, its fields)."""
    taken = dict.fromkeys(models, "a model of `models`")
    for factor, alternatives in entry["factors"].items():
        if factor in (DATA, WITHOUT):
            raise InputError(
                f"a factor is called {factor!r}", where=f"{where}.factors", todo="that name is taken: choose another"
            )
        for name, changes in alternatives.items():
            key = f"{where}.factors.{factor}.{name}"
            same = sorted(field for field, value in changes.items() if models[default].get(field, object()) == value)
            if same or not changes:
                raise InputError(
                    "an alternative changes nothing" if not changes else f"{', '.join(same)} is already so",
                    where=key,
                    expected=f"fields that differ from model {default!r}",
                    todo="remove it",
                )
            model = f"{default}__{factor}_{name}"
            if model in taken:
                raise InputError(f"{taken[model]} has this name already", where=key, found=model, todo="rename it")
            taken[model] = f"the model of {factor}: {name}"
            # A budget replaces the default's, as an override replaces a preset's
            kept = {k: v for k, v in models[default].items() if k not in BUDGETS or not set(BUDGETS) & set(changes)}
            yield (factor, name), (model, kept | dict(changes))


def _changed_variants(
    entry: Mapping[str, Any], variants: Mapping[str, Variant], where: str
) -> Iterator[tuple[tuple[str, str], Variant]]:
    """Yield (factor, alternative) -> variant."""
    default = variants[entry["variant"]]
    for i, name in enumerate(entry["variants"]):
        require_known(name, variants, "variant", f"{where}.variants[{i}]")
        if name == default.name:
            raise InputError("the default is no alternative", where=f"{where}.variants[{i}]", todo="remove it")
        yield (DATA, name), variants[name]
    if not entry["leave_one_study_out"]:
        return
    if len(default.studies) == 1:
        raise InputError(
            f"variant {default.name!r} has one study, so none can be left out",
            where=f"{where}.leave_one_study_out",
            todo="set it to false",
        )
    for study in default.studies:
        members = {other: recipe for other, recipe in default.studies.items() if other != study}
        name = f"{default.name}_minus_{study}"
        if name in variants and variants[name].studies != members:
            raise InputError(
                "a variant has the name of one that leaves a study out, and other studies",
                where=f"config, key variants.{name}",
                todo="rename it",
            )
        yield (WITHOUT, study), Variant(name=name, studies=members)
