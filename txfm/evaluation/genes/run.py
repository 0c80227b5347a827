"""The gene benchmark from paths to frames: one pass over the embedders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.errors import InputError
from txfm.evaluation.genes.checkpoints import n_training_samples, read_states
from txfm.evaluation.genes.gene_sets import read_gene_sets
from txfm.evaluation.genes.gene_types import GeneTypes, read_gene_types
from txfm.evaluation.genes.gene_vectors import GeneEmbedder, read_gene_embedder
from txfm.evaluation.genes.module_report import ModuleReport, report_modules
from txfm.evaluation.genes.recall import (
    ComparedGenes,
    RecalledPairs,
    measure_one,
    measure_recall,
    sweep_components,
)
from txfm.evaluation.genes.settings import ModuleSettings, RecallSettings
from txfm.evaluation.genes.true_modules import read_true_modules
from txfm.evaluation.relation_files import read_relations


@dataclass(frozen=True, kw_only=True)
class GeneBenchmark:
    """What is compared, by what.

    Attributes
    ----------
    sources : tuple of str
        As `read_gene_embedder` takes them.
    relations : Path, optional
        Folder; None = of the installed package.
    databases : tuple of str, optional
        None = all of the folder.
    gene_types : Path, optional
        None = all genes of a vocabulary are compared.
    recall : RecallSettings
    sweep : bool
    checkpoints : Path, optional
        Of the training of the one source.
    modules : ModuleSettings, optional
    gene_sets : tuple of Path
    truth : Path, optional
    """

    sources: tuple[str, ...]
    relations: Path | None = None
    databases: tuple[str, ...] | None = None
    gene_types: Path | None = None
    recall: RecallSettings = field(default_factory=RecallSettings)
    sweep: bool = False
    checkpoints: Path | None = None
    modules: ModuleSettings | None = None
    gene_sets: tuple[Path, ...] = ()
    truth: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneResults:
    """What came out.

    Attributes
    ----------
    recall : pandas.DataFrame
        `measure_recall` of all embedders, with the columns of their label, kind, variant, model and seed.
    pairs : dict of (str, str) to RecalledPairs
        By the embedder's label and the task.
    sweep, checkpoints : pandas.DataFrame or None
        The columns of `recall`; of checkpoints also state, step, samples_seen, epoch.
    modules : tuple of ModuleReport
    misses : pandas.DataFrame
        Names of the relations that no gene of an embedder answers to: embedder, name, reason, databases.
    embedders : tuple of dict
        Identity, numbers of genes and of matched names.
    dropped : dict of str to str
        Embedder to why it was not measured.
    warnings : tuple of str
    """

    recall: pd.DataFrame
    pairs: dict[tuple[str, str], RecalledPairs]
    sweep: pd.DataFrame | None
    checkpoints: pd.DataFrame | None
    modules: tuple[ModuleReport, ...]
    misses: pd.DataFrame
    embedders: tuple[dict[str, Any], ...]
    dropped: dict[str, str]
    warnings: tuple[str, ...]


def evaluate_genes(benchmark: GeneBenchmark) -> GeneResults:
    """Measure all embedders; everything that is wrong with an input is said before the first is measured.

    Raises
    ------
    InputError
        As the readers raise it; two embedders have one name, or none has vectors of genes.
    """
    relations = read_relations(benchmark.relations, benchmark.databases)
    gene_types = None if benchmark.gene_types is None else read_gene_types(benchmark.gene_types)
    sets = _read_sets(benchmark.gene_sets, taken=relations)
    truth = None if benchmark.truth is None else read_true_modules(benchmark.truth)
    embedders, dropped = _with_vectors(_read_embedders(benchmark.sources))
    if benchmark.checkpoints is not None and len(embedders) != 1:
        raise InputError(
            "Checkpoints belong to one model", expected="one model beside --checkpoints", found=f"{len(embedders)}"
        )
    compared = [ComparedGenes.of(embedder, relations, gene_types) for embedder in embedders]
    states = []
    if benchmark.checkpoints is not None:
        for state in read_states(benchmark.checkpoints, embedders[0]):
            measured = measure_one(state.embedder, compared[0], benchmark.recall)
            epoch = state.samples_seen / n_training_samples(embedders[0])
            measured = measured.assign(state=state.name, step=state.step, samples_seen=state.samples_seen, epoch=epoch)
            states.append(_labelled(measured, embedders[0]))

    recalls, sweeps, reports, misses, described = [], [], [], [], []
    pairs: dict[tuple[str, str], RecalledPairs] = {}
    for embedder, genes in zip(embedders, compared, strict=True):
        measured, recalled = measure_recall(embedder, genes, benchmark.recall)
        recalls.append(_labelled(measured, embedder))
        pairs |= {(embedder.label, task): of_task for task, of_task in recalled.items()}
        if benchmark.sweep:
            sweeps.append(_labelled(sweep_components(embedder, genes, benchmark.recall), embedder))
        if benchmark.modules is not None:
            reports.append(report_modules(embedder, genes, benchmark.modules, sets, truth))
        misses.append(genes.match.misses.assign(embedder=embedder.label))
        sizes = {"genes": len(embedder.vocabulary), "compared_genes": int(genes.is_compared.sum())}
        described.append(embedder.identity | sizes | {"names_of_relations": genes.match.as_mapping()})
    return GeneResults(
        recall=pd.concat(recalls, ignore_index=True),
        pairs=pairs,
        sweep=pd.concat(sweeps, ignore_index=True) if sweeps else None,
        checkpoints=pd.concat(states, ignore_index=True) if states else None,
        modules=tuple(reports),
        misses=pd.concat(misses, ignore_index=True)[["embedder", "name", "reason", "databases"]],
        embedders=tuple(described),
        dropped=dropped,
        warnings=tuple(_warnings(gene_types, compared)),
    )


def _read_sets(paths: tuple[Path, ...], taken: Mapping[str, object]) -> dict[str, dict[str, frozenset[str]]]:
    sets: dict[str, dict[str, frozenset[str]]] = {}
    for path in paths:
        if path.stem in {*taken, *sets}:
            raise InputError(
                "Two sources of gene sets and relations have one name",
                where=str(path),
                found=path.stem,
                todo="rename the file: tables name its sets by it",
            )
        sets[path.stem] = read_gene_sets(path)
    return sets


def _read_embedders(sources: tuple[str, ...]) -> list[GeneEmbedder]:
    embedders = []
    for source in sources:
        label, is_given, path = source.partition("=")
        embedders.append(read_gene_embedder(path, label) if is_given else read_gene_embedder(source))
    labels = [embedder.label for embedder in embedders]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise InputError(
            "Two models have one name",
            found=", ".join(repeated),
            todo="give them names: NAME=FOLDER",
        )
    return embedders


def _with_vectors(embedders: list[GeneEmbedder]) -> tuple[list[GeneEmbedder], dict[str, str]]:
    kept = [embedder for embedder in embedders if embedder.tables]
    dropped = {
        embedder.label: f"a model of kind {embedder.kind} has no vectors of genes"
        for embedder in embedders
        if not embedder.tables
    }
    if not kept:
        raise InputError(
            "None of the models has vectors of genes",
            expected="a TxFM, a PCA, an scVI, or a table of vectors",
            found="; ".join(f"{label}: {reason}" for label, reason in dropped.items()),
        )
    return kept, dropped


def _labelled(measured: pd.DataFrame, embedder: GeneEmbedder) -> pd.DataFrame:
    return measured.assign(
        embedder=embedder.label,
        kind=embedder.kind,
        variant=embedder.card.get("variant", {}).get("name", ""),
        model=embedder.source.rstrip("/").rsplit("/", 1)[-1] if embedder.card else "",
        model_seed=pd.array([embedder.card.get("seed")] * len(measured), dtype="Int64"),
    )


def _warnings(gene_types: GeneTypes | None, compared: list[ComparedGenes]) -> list[str]:
    found = []
    if gene_types is None:
        found.append(
            "no gene types were given: null and components are of all genes of a vocabulary, not of protein-coding ones"
        )
    numbers = {int(genes.is_compared.sum()) for genes in compared}
    if len({tuple(sorted(genes.ensembl_ids)) for genes in compared}) > 1:
        found.append(
            "the embedders do not have the same genes "
            f"({min(numbers):,} to {max(numbers):,} compared): their recalls are of different pairs"
        )
    return found
