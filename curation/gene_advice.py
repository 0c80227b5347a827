"""What to correct where too few of a study's counts are on genes of the axis."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from curation import gene_ids
from curation.genes import EXAMPLES_PER_REASON, GeneMap, GeneNames

ID_KINDS = ("ensembl", "symbol", "symbol_entrez", "entrez")
# A kind of id or a prefix is worth a sentence if it would bring at least this share of the counts more than the sheet's
MIN_GAIN = 0.1
# A sort of id is worth a sentence if at least this share of the ids is of it
MIN_SHARE = 0.2
NOTHING_FITS = (
    "check the organism and `gene_ids` of the study, or lower min_gene_count_share or min_samples_per_gene "
    "of the recipe"
)
_PREFIX = re.compile(r"^([A-Za-z][A-Za-z0-9.]*_{1,3})(?=[A-Za-z0-9])")
_ORGANISMS = {"ENSMUSG": "mouse", "ENSRNOG": "rat", "ENSDARG": "zebrafish", "ENSSSCG": "pig", "ENSGALG": "chicken"}
_OTHER_SORTS = {
    r"^ENST\d{11}": "Ensembl transcripts, not genes: add them up to genes first",
    r"^ENSP\d{11}": "Ensembl proteins, not genes",
    r"^(NM|NR|XM|XR)_\d+": "RefSeq transcripts, not genes",
    r"^chr[\dXYM]+[:_-]\d+": "genome regions, not genes",
    r"^\d+_at$|_[sx]?_?at$": "probe sets of a microarray, whose values are no counts",
    r"^\d+$": "numbers: Entrez ids, or the row numbers of a table whose gene names were lost",
}


def advice(
    names: GeneNames,
    tables: Sequence[list[str]],
    maps: Sequence[GeneMap],
    totals: Sequence[np.ndarray],
    *,
    id_kind: str,
    keep_prefix: str | None = None,
) -> str:
    """Return in one line what the ids look like and what would map them.

    Parameters
    ----------
    names : GeneNames
    tables : sequence of list of str
        Gene ids of each part.
    maps : sequence of GeneMap
        What became of them.
    totals : sequence of ndarray, each of shape (n_table_genes,)
        Sum of the counts of each gene of each part.
    id_kind, keep_prefix : str
        `gene_ids` and `gene_prefix_keep` of the study.
    """
    ids = list(dict.fromkeys(gene.strip() for table in tables for gene in table))
    kept = _share(tables, maps, totals)
    sentences = [*_sorts(ids), *_better_settings(names, tables, totals, kept, id_kind, keep_prefix)]
    sentences = sentences or [NOTHING_FITS]
    sentences += _largest_losses(tables, maps, totals)
    return "; ".join(sentences)


def _share(tables: Sequence[list[str]], maps: Sequence[GeneMap], totals: Sequence[np.ndarray]) -> float:
    """Return the share of the counts on mapped genes; the share of the ids where there are no counts."""
    weights = totals if sum(float(part.sum()) for part in totals) else [np.ones(len(table)) for table in tables]
    mapped = sum(float(part[genes.positions >= 0].sum()) for part, genes in zip(weights, maps, strict=True))
    return mapped / max(1.0, sum(float(part.sum()) for part in weights))


def _sorts(ids: Sequence[str]) -> list[str]:
    """Return what the ids are that can be no human gene."""
    found = []
    foreign = [gene for gene in ids if gene_ids.is_of_other_organism(gene)]
    if len(foreign) >= MIN_SHARE * len(ids):
        organisms = sorted({_ORGANISMS.get(gene[:7], "another organism") for gene in foreign})
        found.append(f"{len(foreign) / len(ids):.0%} of these ids are Ensembl ids of {' and '.join(organisms)}")
    for pattern, words in _OTHER_SORTS.items():
        share = sum(re.search(pattern, gene) is not None for gene in ids) / max(1, len(ids))
        if share >= MIN_SHARE:
            found.append(f"{share:.0%} of these ids are {words}")
    # Xkr4, Sox17: a capital and small letters, where human symbols are capitals
    mouse_like = sum(re.fullmatch(r"[A-Z][a-z]+[a-z0-9-]*", gene) is not None for gene in ids) / max(1, len(ids))
    if mouse_like >= MIN_SHARE:
        found.append(f"{mouse_like:.0%} of these ids are spelled like symbols of mouse or rat (Actb, Sox17)")
    return found


def _better_settings(
    names: GeneNames,
    tables: Sequence[list[str]],
    totals: Sequence[np.ndarray],
    kept: float,
    id_kind: str,
    keep_prefix: str | None,
) -> list[str]:
    """Return the settings of the study's entry under which clearly more would map, the best first."""
    prefixes = [keep_prefix, None, *_prefixes(tables)]
    found = []
    for prefix in dict.fromkeys(prefixes):
        for kind in ID_KINDS:
            maps = [names.map(table, kind, keep_prefix=prefix) for table in tables]
            share = _share(tables, maps, totals)
            if share >= kept + MIN_GAIN:
                wanted = [f"gene_ids: {kind}"] * (kind != id_kind)
                wanted += [f"gene_prefix_keep: {prefix or 'null'}"] * (prefix != keep_prefix)
                found.append((share, -len(wanted), f"`{'` and `'.join(wanted)}` would map {share:.0%} of the counts"))
    return [words for _, _, words in sorted(found, reverse=True)[:1]]


def _prefixes(tables: Sequence[list[str]]) -> list[str]:
    """Return prefixes such as GRCh38_ that many ids share."""
    ids = [gene for table in tables for gene in table]
    found: dict[str, int] = {}
    for gene in ids:
        if match := _PREFIX.match(gene):
            found[match[1]] = found.get(match[1], 0) + 1
    return [prefix for prefix, n in found.items() if n >= MIN_SHARE * len(ids)]


def _largest_losses(tables: Sequence[list[str]], maps: Sequence[GeneMap], totals: Sequence[np.ndarray]) -> list[str]:
    """Return the unmapped ids with most counts, each with its reason."""
    lost = [
        (-count, gene, reason)
        for table, genes, counts in zip(tables, maps, totals, strict=True)
        for gene, reason, count in zip(table, genes.reasons, counts.tolist(), strict=True)
        if reason
    ]
    largest = [f"{gene} ({reason})" for _, gene, reason in sorted(lost)[:EXAMPLES_PER_REASON]]
    return [f"not mapped, most counts first: {', '.join(largest)}"] if largest else []
