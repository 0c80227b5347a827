"""Recall of known relationships by the learned vectors of genes (paper, Figures 2 and 6, Table 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from txfm.errors import InputError
from txfm.evaluation.genes.gene_names import NameMatch, match_names
from txfm.evaluation.genes.gene_types import GeneTypes
from txfm.evaluation.genes.gene_vectors import GeneEmbedder
from txfm.evaluation.genes.projection import components_of, project
from txfm.evaluation.genes.settings import SWEEP, RecallSettings
from txfm.evaluation.relationships import UNION, recall_by_pair

SHUFFLE_SEED = 0
# metric -> what it differs in from the benchmark's number
METRICS: Mapping[str, str] = {
    "recall": "scaler and components fitted on the genes that are compared",
    "recall_all_genes_fit": "scaler and components fitted on the whole vocabulary",
    "recall_shuffled_genes": "the genes' names shuffled: chance, 10 %",
}
COLUMNS = "task metric database n_components seed value hits trials null_size n_genes".split()


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedGenes:
    """The genes of one embedder that are compared, and the relations in its names.

    Attributes
    ----------
    is_compared : numpy.ndarray (G,), bool
        Protein-coding ones; all where no gene types are known.
    ensembl_ids : numpy.ndarray (n,)
        Their ids.
    relations : mapping of str to pandas.DataFrame
    match : NameMatch
    """

    is_compared: np.ndarray
    ensembl_ids: np.ndarray
    relations: Mapping[str, pd.DataFrame]
    match: NameMatch

    @classmethod
    def of(
        cls, embedder: GeneEmbedder, relations: Mapping[str, pd.DataFrame], gene_types: GeneTypes | None
    ) -> "ComparedGenes":
        """Match an embedder's genes.

        Raises
        ------
        InputError
            Fewer than two of its genes are compared, or no pair of any database is among them.
        """
        vocabulary = embedder.vocabulary
        is_compared = np.ones(len(vocabulary), bool) if gene_types is None else gene_types.is_coding(vocabulary)
        if is_compared.sum() < 2:
            raise InputError(
                "There are no genes to compare",
                where=embedder.source,
                expected="two or more protein-coding genes",
                found=f"{int(is_compared.sum())} of {len(vocabulary):,}, such as {', '.join(vocabulary.symbols[:3])}",
                todo="give the gene types of the same kind of names, or leave --gene-types out",
            )
        names = None if gene_types is None else gene_types.id_of_name
        translated, match = match_names(relations, vocabulary, is_compared, names)
        if (match.table["reason"] != "").all():
            raise InputError(
                "No gene of the relations is a gene of the model",
                where=embedder.source,
                expected=f"names such as {vocabulary.symbols[0]} or {vocabulary.ensembl_ids[0]}",
                found=", ".join(match.misses["name"][:5]),
            )
        return cls(
            is_compared=is_compared,
            ensembl_ids=np.array(vocabulary.ensembl_ids, dtype=object)[is_compared],
            relations=translated,
            match=match,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RecalledPairs:
    """What became of the pairs of the union, for the comparison of two embedders pair by pair.

    Attributes
    ----------
    genes : numpy.ndarray (p, 2), object
        Ensembl ids.
    is_hit : numpy.ndarray (n_draws, p), bool
        By draw of the null.
    """

    genes: np.ndarray
    is_hit: np.ndarray


def measure_recall(
    embedder: GeneEmbedder, genes: ComparedGenes, settings: RecallSettings
) -> tuple[pd.DataFrame, dict[str, RecalledPairs]]:
    """Recall of every table of an embedder, by each of `METRICS`; by fewer where all of its genes are compared.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`: task is the table, a row a database (with union and mean) and draw; value is NaN where a database has
        no pair among the genes; hits and trials, of the mean as well as seed of an exhaustive null, are missing.
    dict of str to RecalledPairs
        By task, of metric "recall".
    """
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(len(genes.ensembl_ids))
    parts: list[pd.DataFrame] = []
    pairs: dict[str, RecalledPairs] = {}
    for task, vectors, n_components in _tables(embedder):
        same = _same_table(embedder, task)
        if same is not None:  # the loadings of a PCA are both
            measured = pd.concat([part[part["task"] == same] for part in parts])
            parts.append(measured.assign(task=task))
            pairs[task] = pairs[same]
            continue
        by_compared = project(vectors, genes.is_compared, n_components)[genes.is_compared]
        versions = {"recall": by_compared, "recall_shuffled_genes": by_compared[shuffled]}
        if not genes.is_compared.all():
            by_all = project(vectors, np.ones(len(vectors), bool), n_components)[genes.is_compared]
            versions["recall_all_genes_fit"] = by_all
        for metric, projected in versions.items():
            # One draw says what chance is
            few = replace(settings, seeds=settings.seeds[:1]) if metric == "recall_shuffled_genes" else settings
            measured, recalled = _recall(task, metric, projected, genes, few)
            parts.append(measured)
            if metric == "recall":
                pairs[task] = recalled
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS), pairs


def sweep_components(
    embedder: GeneEmbedder, genes: ComparedGenes, settings: RecallSettings, components: Sequence[int] = SWEEP
) -> pd.DataFrame:
    """Recall with different numbers of components (Figure 6); numbers that a table has not are left out.

    Returns
    -------
    pandas.DataFrame
        As the frame of `measure_recall`, metric "recall".
    """
    parts = []
    for task, vectors, _ in _tables(embedder):
        projected = project(vectors, genes.is_compared, max(components))[genes.is_compared]
        for n_components in sorted({min(n, projected.shape[1]) for n in components}):
            parts.append(_recall(task, "recall", projected[:, :n_components], genes, settings)[0])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def measure_one(embedder: GeneEmbedder, genes: ComparedGenes, settings: RecallSettings) -> pd.DataFrame:
    """The frame of `measure_recall`, of metric "recall" alone: for the many states of one training."""
    parts = [
        _recall(task, "recall", project(vectors, genes.is_compared, n)[genes.is_compared], genes, settings)[0]
        for task, vectors, n in _tables(embedder)
    ]
    return pd.concat(parts, ignore_index=True)


def _tables(embedder: GeneEmbedder) -> list[tuple[str, np.ndarray, int]]:
    return [(task, vectors, components_of(embedder.kind, task)) for task, vectors in embedder.tables.items()]


def _same_table(embedder: GeneEmbedder, task: str) -> str | None:
    """An earlier table with the very same numbers."""
    for earlier, vectors in embedder.tables.items():
        if earlier == task:
            return None
        if np.array_equal(vectors, embedder.tables[task]):
            return earlier
    return None


def _recall(
    task: str, metric: str, projected: np.ndarray, genes: ComparedGenes, settings: RecallSettings
) -> tuple[pd.DataFrame, RecalledPairs]:
    parts, of_draws = [], []
    for seed in settings.seeds_for(len(projected)):
        recall, pairs = recall_by_pair(
            projected,
            genes.ensembl_ids,
            genes.relations,
            settings.thresholds,
            n_null=settings.n_null,
            seed=0 if seed is None else seed,
        )
        if recall.set_index("database").loc[UNION, "pairs"] == 0:
            raise InputError("No pair of any database is among the genes that are compared")
        parts.append(recall.rename(columns={"recall": "value", "pairs": "trials"}).assign(seed=seed))
        of_draws.append(pairs.is_hit)
    frame = pd.concat(parts).assign(task=task, metric=metric, n_components=projected.shape[1], n_genes=len(projected))
    recalled = RecalledPairs(genes=genes.ensembl_ids[pairs.rows], is_hit=np.array(of_draws))
    return frame[COLUMNS].astype({"seed": "Int64"}), recalled
