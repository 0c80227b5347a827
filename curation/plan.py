"""The plan of a run: every name of a config looked up, before any work starts."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from curation.ablation import Ablation, read_ablation, refuse_new_stores
from curation.acquire.addresses import with_data_folder
from curation.catalog import Annotation, Catalog, RemoteFile, Study, read_catalog
from curation.config import complete
from curation.errors import InputError
from curation.evaluation_files import EvaluationFile, read_evaluation_files
from curation.finetuning import FineTuning, read_finetuning
from curation.phenoprints import Phenoprint, check_phenoprints_used, read_phenoprint_entries
from curation.recipe import Recipe
from curation.schema_check import nearest, require_known
from curation.shared_samples import pairs_left_out
from curation.variants import Variant, expand_variants, refuse_held_out

SPLITS = ("train", "validation", "evaluation")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the workflow builds. Only what the config selects is here, and every name in it exists.

    Attributes
    ----------
    name : str
        Products go to results/<name>/.
    catalog : Catalog
        Everything that the sheets hold, selected or not.
    annotation : Annotation
        The gene table of the axis; with HGNC's names in `annotation.hgnc` where the sheet says so.
    split : mapping
        {"validation_share", "seed"}.
    recipes : mapping of str to Recipe
    variants : mapping of str to Variant
        The selected variants; `variants[v].studies` maps study -> recipe.
    models : mapping of str to mapping
        Every model that a selected variant is trained with -> {"preset": ..., overrides}.
    seeds : tuple of int
    evaluation : mapping of str to str
        Study of the selected evaluation studies -> recipe.
    evaluation_labels : mapping of str to str
        Study -> store column that its evaluation predicts.
    evaluation_files : mapping of str to EvaluationFile
        The user's own files, all of which are scored on.
    baselines : tuple of str
        `select.baselines`: kinds that `txfm baseline` fits on each variant for the evaluations.
    selected_models : tuple of str
        `select.models`, for variants that name no models of their own.
    phenoprints : mapping of str to Phenoprint
        The tables of phenoprints that selected variants need and the build computes.
    references : tuple of str
        `select.references`: reference tables to fetch, which no step reads yet.
    benchmarks : tuple of str
        `select.benchmarks`, of "study", "layers" and "genes".
    relations : str or None
        Folder of databases of related genes; None = of the installed package.
    true_modules : str or None
        A simulated screen of the build, with whose modules of genes those of the models are compared.
    finetuning : mapping of str to FineTuning
        Trained models that go on with other samples.
    ablation : Ablation or None
        The grid that the target `ablation` trains beside the selected variants and models.
    """

    name: str
    catalog: Catalog
    annotation: Annotation
    split: Mapping[str, Any]
    recipes: Mapping[str, Recipe]
    variants: Mapping[str, Variant]
    models: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    evaluation: Mapping[str, str]
    evaluation_labels: Mapping[str, str]
    evaluation_files: Mapping[str, EvaluationFile]
    baselines: tuple[str, ...]
    selected_models: tuple[str, ...]
    phenoprints: Mapping[str, Phenoprint] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    relations: str | None = None
    true_modules: str | None = None
    finetuning: Mapping[str, FineTuning] = field(default_factory=dict)
    ablation: Ablation | None = None

    @cached_property
    def training_pairs(self) -> tuple[tuple[str, str], ...]:
        """(study, recipe) pairs that some selected variant trains on, sorted."""
        return tuple(sorted({pair for variant in self.variants.values() for pair in variant.studies.items()}))

    @cached_property
    def screen_pairs(self) -> tuple[tuple[str, str], ...]:
        """(study, recipe) pairs of screens that no variant trains on, to find phenoprints in: outside the corpus."""
        screens = {(entry.study, entry.recipe) for entry in self.phenoprints.values()}
        return tuple(sorted(screens - set(self.training_pairs)))

    @cached_property
    def curated_pairs(self) -> tuple[tuple[str, str], ...]:
        """(study, recipe) pairs with a train and a validation store: to train on, or to find phenoprints in; sorted."""
        return tuple(sorted((*self.training_pairs, *self.screen_pairs)))

    @cached_property
    def evaluation_pairs(self) -> tuple[tuple[str, str], ...]:
        """(study, recipe) pairs to evaluate on, sorted."""
        return tuple(sorted(self.evaluation.items()))

    @cached_property
    def left_out(self) -> dict[tuple[str, str], tuple[tuple[str, str], ...]]:
        """(study, recipe) with stores -> (study, recipe) pairs whose samples its stores leave out."""
        return pairs_left_out(self.recipes, self.curated_pairs, self.evaluation_pairs)

    @cached_property
    def runs(self) -> tuple[tuple[str, str, int], ...]:
        """(variant, model, seed) triples to train."""
        return training_runs(self.variants, self.selected_models, self.seeds)

    @cached_property
    def all_variants(self) -> dict[str, Variant]:
        """The selected variants and those of the grid."""
        return dict(self.variants) | (dict(self.ablation.variants) if self.ablation else {})

    @cached_property
    def all_models(self) -> dict[str, Mapping[str, Any]]:
        """The models of the selected variants and those of the grid."""
        return dict(self.models) | (dict(self.ablation.models) if self.ablation else {})

    @cached_property
    def all_seeds(self) -> tuple[int, ...]:
        """Of the selection and of the grid, sorted."""
        return tuple(sorted({*self.seeds, *(self.ablation.seeds if self.ablation else ())}))

    def grid(self) -> Ablation:
        """Return the grid, ready to be built.

        Raises
        ------
        InputError
            The config selects none, there is no study to evaluate on, or the grid needs stores that nothing builds.
        """
        if self.ablation is None:
            raise InputError("the config selects no grid of ablations", where="config, key select.ablation")
        if not self.evaluation_labels:
            raise InputError(
                "a grid of ablations has nothing to be evaluated on",
                where="config, key select.studies_for_evaluation",
                expected="a study of evaluation.studies",
                todo="name one",
            )
        refuse_new_stores(self.ablation, self.variants)
        return self.ablation

    @cached_property
    def studies(self) -> tuple[str, ...]:
        """Names of the studies that are needed, sorted."""
        return tuple(sorted({study for study, _ in (*self.curated_pairs, *self.evaluation_pairs)}))

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """Studies that no variant may train on: all of role evaluation, and those evaluated here."""
        fixed = {study.name for study in self.catalog.studies.values() if study.role == "evaluation"}
        return tuple(sorted(fixed | set(self.evaluation)))

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        """The gene table and the table of other names, if any."""
        return (self.annotation,) if self.annotation.hgnc is None else (self.annotation, self.annotation.hgnc)

    @cached_property
    def axis_files(self) -> tuple[str, ...]:
        """Files below sources/ that the gene axis is built from."""
        files = [f"{table.name}/{table.file.path}" for table in self.annotations]
        if history := self.annotation.history:
            files += [f"{history.name}/{path}" for path in history.files]
        return tuple(files)

    @cached_property
    def sources(self) -> dict[str, dict[str, RemoteFile]]:
        """Source (study, annotation, reference) -> path below sources/<source>/ -> file, for all that is needed."""
        needed = {name: dict(self.catalog.studies[name].files) for name in self.studies}
        needed |= {table.name: {table.file.path: table.file} for table in self.annotations}
        if history := self.annotation.history:
            needed[history.name] = dict(history.files)
        return needed | {name: dict(self.catalog.references[name].files) for name in self.references}

    @cached_property
    def simulated(self) -> tuple[str, ...]:
        """Names of the needed studies whose file `curation simulate` writes; it is not fetched."""
        return tuple(name for name in self.studies if self.catalog.studies[name].simulation is not None)

    def obstacles(self) -> tuple[str, ...]:
        """Return what this release cannot build of the plan, one sentence each."""
        # the readers import polars and pandas, which a download needs neither the time nor the memory for
        from curation.readers import READERS

        found = []
        for name in self.studies:
            study = self.catalog.studies[name]
            for form in sorted({part.format for part in study.parts} - set(READERS)):
                found.append(f"{name}: there is no reader for format {form}")
        for name in sorted({recipe for _, recipe in self.training_pairs}):
            table = self.recipes[name].phenoprints
            if table and self.recipes[name].phenoprints_from is None and not Path(table).exists():
                found.append(f"recipe {name}: {table} does not exist yet")
        return tuple(found)

    def files(self, source: str) -> tuple[str, ...]:
        """Paths of a source's files below sources/<source>/, in the sheet's order."""
        return tuple(self.sources[source])

    def file_json(self, source: str, path: str) -> str:
        """Return `--file` of `curation fetch`."""
        return self.sources[source][path].to_json()

    def study_json(self, study: str) -> str:
        """Return `--study` of `curation curate`: without prose, so that a better note does not curate it again."""
        return self.catalog.studies[study].for_curation().to_json()

    def screen_json(self, study: str) -> str:
        """Return `--screen` of `curation simulate`."""
        return json.dumps(self.catalog.studies[study].simulation, sort_keys=True)

    def annotation_json(self) -> str:
        """Return `--annotation` of `curation genes`: without citations, which do not decide the axis."""
        return self.annotation.for_axis().to_json()

    def recipe_json(self, recipe: str) -> str:
        """Return `--recipe` of `curation curate`."""
        return self.recipes[recipe].to_json()

    def phenoprint_of(self, recipe: str) -> str | None:
        """Return the table that curating under a recipe reads, wherever it comes from; None for other recipes."""
        fields = self.recipes[recipe]
        return fields.phenoprints if fields.perturbations == "phenoprint" else None

    def split_json(self) -> str:
        """Return `--split` of `curation curate`."""
        return json.dumps(self.split, sort_keys=True)

    def members_json(self, variant: str) -> str:
        """Return `--members` of `curation compose`: study -> recipe."""
        return json.dumps(self.all_variants[variant].studies, sort_keys=True)

    def held_out_json(self) -> str:
        """Return `--held-out` of `curation compose`: names of studies."""
        return json.dumps(self.held_out)

    def studies_json(self) -> str:
        """Return `--studies` of `curation assemble`: training study -> title, citation, licence."""
        trained = sorted({study for study, _ in self.training_pairs})
        entries = {name: self.catalog.studies[name] for name in trained}
        printed = {
            name: {"title": s.title, "citation": s.citation, "licence": s.licence} for name, s in entries.items()
        }
        return json.dumps(printed, sort_keys=True)

    def model_json(self, model: str) -> str:
        """Return `--model` of `txfm train`."""
        return json.dumps(self.all_models[model], sort_keys=True)

    @cached_property
    def constraints(self) -> dict[str, str]:
        """Wildcard -> regular expression of its possible values."""
        values: dict[str, Iterable[object]] = {
            "source": self.sources,
            "study": self.studies,
            "recipe": self.recipes,
            "split": SPLITS,
            "variant": self.all_variants,
            "model": self.all_models,
            "baseline": self.baselines,
            "seed": self.all_seeds,
            "phenoprint": self.phenoprints,
            "finetuning": self.finetuning,
        }
        return {name: _any_of(found) for name, found in values.items()}


def training_runs(
    variants: Mapping[str, Variant], models: Iterable[str], seeds: Iterable[int]
) -> tuple[tuple[str, str, int], ...]:
    """Return (variant, model, seed) triples to train; `models` are those of variants that name none."""
    models, seeds = tuple(models), tuple(seeds)
    return tuple(
        (name, model, seed)
        for name, variant in variants.items()
        for model in variant.models or models
        for seed in seeds
    )


def read_plan(config: Mapping[str, Any], catalogs_root: Path) -> Plan:
    """Turn a merged config into a plan.

    Parameters
    ----------
    config : mapping
        What `curation.config.read_config` or Snakemake gives.
    catalogs_root : Path
        Folder that the sheets' paths start from: the project's root.

    Raises
    ------
    InputError
        A key or a name is wrong, a variant is circular or empty, a recipe lacks what it needs, or training meets a
        held-out study.
    """
    settings = complete(config)
    catalog = read_catalog([catalogs_root / path for path in settings["catalogs"].values()])
    recipes = {name: Recipe.from_mapping(fields) for name, fields in settings["recipes"].items()}
    _check_recipes(recipes, settings["phenoprints"])
    # A computed table lies where the workflow puts it; curation only ever sees a path.
    recipes = {
        name: recipe
        if recipe.phenoprints_from is None
        else dataclasses.replace(
            recipe, phenoprints=f"results/{settings['name']}/phenoprints/{recipe.phenoprints_from}.tsv"
        )
        for name, recipe in recipes.items()
    }
    axis = settings["gene_axis"]["annotation"]
    require_known(axis, catalog.annotation, "annotation entry", "config, key gene_axis.annotation")
    if catalog.annotation[axis].format == "hgnc_tsv":
        raise InputError(
            f"{axis!r} holds other names of genes, not an axis",
            where="config, key gene_axis.annotation",
            todo=nearest(axis, (name for name, table in catalog.annotation.items() if table.format != "hgnc_tsv")),
        )
    variants = expand_variants(settings["variants"], catalog.studies, recipes)
    select = settings["select"]
    for i, name in enumerate(select["variants"]):
        require_known(name, variants, "variant", f"config, key select.variants[{i}]")
    chosen = {name: variants[name] for name in select["variants"]}
    for i, name in enumerate(select["references"]):
        require_known(name, catalog.references, "reference", f"config, key select.references[{i}]")
    evaluation = settings["evaluation"]
    _check_evaluation(evaluation, catalog.studies, recipes)
    for i, name in enumerate(select["studies_for_evaluation"]):
        require_known(
            name, evaluation["studies"], "evaluation study", f"config, key select.studies_for_evaluation[{i}]"
        )
    selected = {name: evaluation["studies"][name] for name in select["studies_for_evaluation"]}
    grids = {
        name: read_ablation(name, entry, variants, settings["models"]) for name, entry in settings["ablations"].items()
    }
    if select["ablation"] is not None:
        require_known(select["ablation"], grids, "grid", "config, key select.ablation")
    refuse_held_out(variants, chosen, catalog.studies, selected)
    models = _models(settings, chosen)
    entries = read_phenoprint_entries(settings["phenoprints"], catalog.studies, recipes, variants)
    seeds, selected_models = tuple(select["seeds"]), tuple(select["models"])
    runs = training_runs(chosen, selected_models, seeds)
    for name in selected if models else ():
        if name not in evaluation["labels"]:
            raise InputError(
                f"evaluation study {name!r} has no label, so there would be no table",
                where=f"config, key evaluation.labels.{name}",
                expected="a column of its store, such as cell_line",
                todo="add the key, or take the study out of select.studies_for_evaluation",
            )
    plan = Plan(
        name=settings["name"],
        catalog=catalog,
        annotation=catalog.annotation[axis],
        split=settings["split"],
        recipes=recipes,
        variants=chosen,
        models=models,
        seeds=seeds,
        evaluation=selected,
        evaluation_labels={name: label for name, label in evaluation["labels"].items() if name in selected},
        evaluation_files=read_evaluation_files(evaluation["files"], catalog.studies),
        baselines=tuple(select["baselines"]),
        selected_models=selected_models,
        phenoprints=check_phenoprints_used(entries, recipes, chosen, runs),
        references=tuple(select["references"]),
        benchmarks=tuple(select["benchmarks"]),
        relations=evaluation["relations"] and with_data_folder(evaluation["relations"]),
        true_modules=evaluation["true_modules"],
        finetuning=read_finetuning(settings["finetuning"], runs, chosen),
        ablation=grids.get(select["ablation"]),
    )
    if plan.true_modules is not None:
        require_known(
            plan.true_modules, plan.simulated, "simulated screen of the build", "config, key evaluation.true_modules"
        )
    _ = plan.left_out  # a mistake in it is reported here, with all others
    return plan


def _models(settings: Mapping[str, Any], variants: Mapping[str, Variant]) -> dict[str, Any]:
    """Return the definitions of all models that some selected variant is trained with."""
    models, select = settings["models"], settings["select"]
    for i, name in enumerate(select["models"]):
        require_known(name, models, "model", f"config, key select.models[{i}]")
    for name, fields in settings["variants"].items():
        for i, model in enumerate(fields["models"]):
            require_known(model, models, "model", f"config, key variants.{name}.models[{i}]")
    used = {model for variant in variants.values() for model in variant.models or select["models"]}
    return {name: models[name] for name in models if name in used}


def _check_evaluation(
    evaluation: Mapping[str, Any], studies: Mapping[str, Study], recipes: Mapping[str, Recipe]
) -> None:
    for name, recipe in evaluation["studies"].items():
        require_known(name, studies, "study", f"config, key evaluation.studies.{name}")
        require_known(recipe, recipes, "recipe", f"config, key evaluation.studies.{name}")
    for name in evaluation["labels"]:
        require_known(name, evaluation["studies"], "evaluation study", f"config, key evaluation.labels.{name}")


def _check_recipes(recipes: Mapping[str, Recipe], phenoprints: Mapping[str, Any]) -> None:
    for name, recipe in recipes.items():
        where = f"config, key recipes.{name}"
        if recipe.phenoprints_from is not None:
            require_known(
                recipe.phenoprints_from,
                phenoprints,
                "entry of phenoprints",
                f"config, key recipes.{name}.phenoprints_from",
            )
        tables = sum(table is not None for table in (recipe.phenoprints, recipe.phenoprints_from))
        if tables > 1 or (recipe.perturbations == "phenoprint" and tables == 0):
            raise InputError(
                "a phenoprint recipe needs a table of p-values"
                if tables == 0
                else "a recipe names two tables of p-values",
                where=where,
                expected="`phenoprints: PATH` of a TSV with columns perturbation, n_cells, statistic, p_value, or "
                "`phenoprints_from: NAME` of an entry of `phenoprints`, which computes it",
                todo="add one of the keys, or choose `perturbations: all`"
                if tables == 0
                else "set one of them to null",
            )
        largest = recipe.max_genes_per_sample
        if largest is not None and largest < recipe.min_genes_per_sample:
            raise InputError(
                "no sample can pass this recipe",
                where=where,
                expected="min_genes_per_sample <= max_genes_per_sample",
                found=f"{recipe.min_genes_per_sample} and {largest}",
            )


def _any_of(values: Iterable[object]) -> str:
    """Return a regular expression for exactly these values; one that matches nothing if there are none."""
    return "|".join(sorted(re.escape(str(value)) for value in values)) or "(?!)"
