"""Modules of an embedder's genes, what they are enriched in, and how they compare with true ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from txfm.evaluation.genes.enrichment import SIGNIFICANT, enrich_relations, enrich_sets, joined
from txfm.evaluation.genes.gene_names import match_name_sets
from txfm.evaluation.genes.gene_sets import rows_of_sets
from txfm.evaluation.genes.gene_vectors import GeneEmbedder
from txfm.evaluation.genes.modules import find_modules
from txfm.evaluation.genes.projection import components_of, project
from txfm.evaluation.genes.recall import ComparedGenes
from txfm.evaluation.genes.settings import ModuleSettings
from txfm.evaluation.genes.true_modules import agreement
from txfm.evaluation.relationships import match_pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleReport:
    """The modules of one embedder.

    Attributes
    ----------
    embedder, table : str
        Of which vectors: its decoder, or what it has.
    genes : pandas.DataFrame
        embedder, ensembl_id, symbol, module (missing = none).
    enrichment : pandas.DataFrame
        `txfm.evaluation.genes.enrichment.COLUMNS`, and embedder.
    scores : pandas.DataFrame
        metric, dataset, value, hits, trials.
    small_sets : dict of str to int
        Sets that were left out, by source.
    """

    embedder: str
    table: str
    genes: pd.DataFrame
    enrichment: pd.DataFrame
    scores: pd.DataFrame
    small_sets: dict[str, int]


def report_modules(
    embedder: GeneEmbedder,
    compared: ComparedGenes,
    settings: ModuleSettings,
    sets_of: Mapping[str, Mapping[str, frozenset[str]]],
    truth: pd.Series | None,
) -> ModuleReport:
    """Find and test the modules of the genes that are compared.

    Parameters
    ----------
    embedder : GeneEmbedder
        Its decoder's vectors are used where it has them, else its first table's.
    compared : ComparedGenes
    settings : ModuleSettings
    sets_of : mapping of str to mapping of str to frozenset of str
        Source to name to symbols or Ensembl ids.
    truth : pandas.Series, optional
        `read_true_modules`.

    Raises
    ------
    InputError
        As for `find_modules` and `agreement`.
    """
    table = "decoder" if "decoder" in embedder.tables else next(iter(embedder.tables))
    vectors = project(embedder.tables[table], compared.is_compared, components_of(embedder.kind, table))
    modules = find_modules(vectors[compared.is_compared], settings)
    vocabulary = embedder.vocabulary.subset(np.flatnonzero(compared.is_compared))
    rows_of, small = {}, {}
    for source, sets in sets_of.items():
        rows_of[source], small[source] = rows_of_sets(sets, match_name_sets(sets, vocabulary), settings.min_set_genes)
    index = pd.Index(compared.ensembl_ids)
    pairs = {name: match_pairs(index, frame, name).rows(len(index)) for name, frame in compared.relations.items()}
    enrichment = joined([enrich_sets(modules, rows_of), enrich_relations(modules, pairs)])
    found: list[tuple[str, str, float, int | None, int | None]] = [
        ("n_modules", "modules", modules.n_modules, None, None),
        ("modularity", "modules", modules.modularity, None, None),
        ("agreement_of_seeds", "modules", modules.agreement, None, None),
        ("genes_in_modules", "modules", *_share(int((modules.module_of >= 0).sum()), len(index))),
    ]
    significant = enrichment[enrichment["p_adjusted"] < SIGNIFICANT]
    for source in (*rows_of, *pairs):
        n = significant.loc[significant["source"] == source, "module"].nunique()
        found.append(("enriched_modules", source, *_share(n, modules.n_modules)))
    if truth is not None:
        against = agreement(modules, vocabulary, truth)
        found += [(name, "truth", float(against[name]), None, None) for name in ("nmi", "ari", "n_genes")]
    genes = pd.DataFrame(
        {
            "embedder": embedder.label,
            "ensembl_id": vocabulary.ensembl_ids,
            "symbol": vocabulary.symbols,
            "module": pd.array(modules.module_of, dtype="Int64"),
        }
    )
    genes.loc[genes["module"] < 0, "module"] = pd.NA
    scores = pd.DataFrame(found, columns=["metric", "dataset", "value", "hits", "trials"])
    return ModuleReport(
        embedder=embedder.label,
        table=table,
        genes=genes,
        enrichment=enrichment.assign(embedder=embedder.label),
        scores=scores.astype({"value": float, "hits": "Int64", "trials": "Int64"}),
        small_sets=small,
    )


def _share(hits: int, trials: int) -> tuple[float, int, int]:
    return hits / trials if trials else float("nan"), hits, trials
