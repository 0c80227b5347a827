"""How a study is filtered."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Thresholds and choices that turn a study into stores.

    Section and table numbers are those of Kenyon-Dean et al. 2026 (arXiv 2605.31562). Genes that a recipe drops are no
    longer measured by the store: they are unknown there, not zero.

    Attributes
    ----------
    min_samples_per_gene : int
        Keep genes with a non-zero count in at least this many of the study's samples. The paper uses 1,000 for
        single-cell studies other than the K562 screen (Table 1) and states no cut for bulk.
    min_genes_per_sample : int
        Keep samples with a non-zero count in at least this many mapped genes. The paper uses 2,000 for single-cell
        studies other than the K562 screen (Table 1).
    max_genes_per_sample : int or None
        Keep samples with at most this many genes (doublets lie above); None for no limit. The paper states none.
    min_counts_per_sample : int
        Keep samples with at least this many counts on mapped genes. The paper states none.
    perturbations : {"all", "controls", "phenoprint"}
        `all` keeps every sample; `controls` the control samples only; `phenoprint` the controls and the perturbations
        whose consistency is significant (sec. C.2, Table 5h).
    phenoprints : str or None
        Path of a TSV with columns perturbation, n_cells, statistic, p_value. Required by `perturbations: phenoprint`.
    phenoprint_p_max : float
        A perturbation is kept if its p-value is below this. 0.1 in sec. C.2 (the evaluation metric itself uses 0.01).
    min_gene_count_share : float
        Refuse a study if less than this share of all its counts falls on mapped genes: then ids or organism are wrong.
        A guard of ours, not of the paper.
    """

    min_samples_per_gene: int = 0
    min_genes_per_sample: int = 0
    max_genes_per_sample: int | None = None
    min_counts_per_sample: int = 0
    perturbations: Literal["all", "controls", "phenoprint"] = "all"
    phenoprints: str | None = None
    phenoprint_p_max: float = 0.1
    min_gene_count_share: float = 0.5

    def to_json(self) -> str:
        """Return every field as one line of JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote; fields that are absent get their default."""
        return cls(**json.loads(text))
