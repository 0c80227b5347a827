"""How a study is filtered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


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
    max_mito_share : float or None
        Keep samples with at most this share of their mapped counts on mitochondrial genes, judged before genes are
        dropped; None for no limit. A study whose table has no mitochondrial gene cannot be judged: nothing is dropped.
    min_samples_per_batch : int
        Keep batches with at least this many samples that pass everything else.
    drop_duplicates : bool
        Keep one of the samples of a study that have the same counts at every mapped gene.
    drop_samples_of : tuple of str
        Studies of the same build whose samples are left out here, recognised by their counts at every mapped gene.
    count_kinds : tuple of str
        Keep samples whose counts are of one of these kinds. Rounded TPM of Smart-seq2 and coverage sums are no counts.
    per_technology : mapping of str to mapping
        Value of the label `technology` -> the thresholds of samples, of those above, that differ for it.
    perturbations : {"all", "controls", "phenoprint"}
        `all` keeps every sample; `controls` the control samples only; `phenoprint` the controls and the perturbations
        whose consistency is significant (sec. C.2, Table 5h).
    phenoprints : str or None
        Path of a TSV with columns perturbation, n_cells, statistic, p_value. Required by `perturbations: phenoprint`.
    phenoprints_from : str or None
        Entry of the config's `phenoprints` that computes this table in the build; `phenoprints` is then its path.
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
    max_mito_share: float | None = None
    min_samples_per_batch: int = 0
    drop_duplicates: bool = True
    drop_samples_of: tuple[str, ...] = ()
    count_kinds: tuple[str, ...] = ("umi", "reads", "expected", "mixed")
    per_technology: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    perturbations: Literal["all", "controls", "phenoprint"] = "all"
    phenoprints: str | None = None
    phenoprints_from: str | None = None
    phenoprint_p_max: float = 0.1
    min_gene_count_share: float = 0.5

    def to_json(self) -> str:
        """Return every field as one line of JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote; fields that are absent get their default."""
        return cls.from_mapping(json.loads(text))

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Recipe:
        """Build from a config's entry or from parsed JSON; fields that are absent get their default."""
        lists = {name: tuple(fields[name]) for name in ("drop_samples_of", "count_kinds") if name in fields}
        return cls(**{**fields, **lists})

    @property
    def judges_mito(self) -> bool:
        """Whether some technology has a limit of the mitochondrial share."""
        limits = [self.max_mito_share, *(rule.get("max_mito_share") for rule in self.per_technology.values())]
        return any(limit is not None for limit in limits)

    def for_technology(self, technology: str) -> Recipe:
        """Return the recipe with the thresholds of samples of one technology."""
        return dataclasses.replace(self, **self.per_technology.get(technology, {}))  # type: ignore[arg-type]
