"""Sums over validation samples, and the scores that they give: memory does not grow with the samples.

Shapes as in model.py; S studies.
"""

from dataclasses import dataclass
from typing import Any

import torch

from txfm.activations import ACTIVATIONS
from txfm.config import ModelConfig
from txfm.inputs import Inputs
from txfm.losses import mean_over_genes, poisson
from txfm.objective import Outcome
from txfm.preprocess import size_factors

# Per sample and added up per study. A sample enters a mean if it has such genes: n_* count these samples.
COLUMNS = (
    "n n_masked n_pearson loss loss_masked loss_visible deviance deviance_masked baseline baseline_masked pearson"
).split()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreSums:
    """Everything is a sum over samples, so that sums of several processes can be added.

    Attributes
    ----------
    by_study : torch.Tensor (S, len(COLUMNS)), float64
    seen_S : torch.Tensor (S,), int64
        Samples of each study, with or without a measured gene.
    alive_G, present_G : torch.Tensor (G,), int64
        Samples in which the gene's logit had a gradient, and in which the gene was measured.
    cls_D, cls_DD : torch.Tensor, float64
        Sums of the embeddings and of their outer products.
    """

    by_study: torch.Tensor
    seen_S: torch.Tensor
    alive_G: torch.Tensor
    present_G: torch.Tensor
    cls_D: torch.Tensor
    cls_DD: torch.Tensor

    @classmethod
    def zero(cls, n_studies: int, n_genes: int, width: int, device: torch.device) -> "ScoreSums":
        """Of no samples."""
        return cls(
            by_study=torch.zeros(n_studies, len(COLUMNS), dtype=torch.float64, device=device),
            seen_S=torch.zeros(n_studies, dtype=torch.int64, device=device),
            alive_G=torch.zeros(n_genes, dtype=torch.int64, device=device),
            present_G=torch.zeros(n_genes, dtype=torch.int64, device=device),
            cls_D=torch.zeros(width, dtype=torch.float64, device=device),
            cls_DD=torch.zeros(width, width, dtype=torch.float64, device=device),
        )

    def add(
        self,
        outcome: Outcome,
        inputs: Inputs,
        visible_BG: torch.Tensor,
        study_means_BG: torch.Tensor,
        study_index_B: torch.Tensor,
        config: ModelConfig,
    ) -> None:
        """Add some samples.

        Parameters
        ----------
        outcome, inputs
            Of the masked task.
        visible_BG : torch.Tensor (B, G), bool
            Measured genes that were shown.
        study_means_BG : torch.Tensor (B, G)
            Logarithm of the study's mean of normalised count + 1 over training samples.
        study_index_B : torch.Tensor (B,), int64
        config : ModelConfig
        """
        library_size = config.library_size_counts
        measured_BG, masked_BG = inputs.measured_BG, inputs.measured_BG & ~visible_BG
        # Deviance and correlation are taken on the normalised scale whatever the preprocessing, so that models compare
        factors_B1 = size_factors(inputs.counts_BG, "library_size_log1p", library_size)
        x_BG = torch.log1p(inputs.counts_BG / factors_B1)
        predicted_BG = torch.log1p(outcome.expected() * (inputs.size_factors_B1 / factors_B1))
        least_BG = poisson(x_BG, x_BG)
        deviance_BG, baseline_BG = poisson(predicted_BG, x_BG) - least_BG, poisson(study_means_BG, x_BG) - least_BG
        pearson_B, has_pearson_B = correlation(predicted_BG, x_BG, masked_BG)
        values = {
            "n": measured_BG.any(dim=1),
            "n_masked": masked_BG.any(dim=1),
            "n_pearson": has_pearson_B,
            "loss": mean_over_genes(outcome.loss_BG, measured_BG),
            "loss_masked": mean_over_genes(outcome.loss_BG, masked_BG),
            "loss_visible": mean_over_genes(outcome.loss_BG, visible_BG),
            "deviance": mean_over_genes(deviance_BG, measured_BG),
            "deviance_masked": mean_over_genes(deviance_BG, masked_BG),
            "baseline": mean_over_genes(baseline_BG, measured_BG),
            "baseline_masked": mean_over_genes(baseline_BG, masked_BG),
            "pearson": pearson_B,
        }
        self.by_study.index_add_(0, study_index_B, torch.stack([values[name].double() for name in COLUMNS], dim=1))
        self.seen_S.index_add_(0, study_index_B, torch.ones_like(study_index_B))
        is_alive_BG = ACTIVATIONS[config.activation].is_alive(outcome.output.logits_BG, library_size)
        self.alive_G.add_((is_alive_BG & measured_BG).sum(dim=0))
        self.present_G.add_(measured_BG.sum(dim=0))
        cls_BD = outcome.output.cls_BD.double()
        self.cls_D.add_(cls_BD.sum(dim=0))
        self.cls_DD.add_(cls_BD.T @ cls_BD)

    def scores(self, studies: tuple[str, ...]) -> dict[str, Any]:
        """The scores of `Validation.score`, for json."""
        by_study = [dict(zip(COLUMNS, row, strict=True)) for row in self.by_study.tolist()]
        total = dict(zip(COLUMNS, self.by_study.sum(dim=0).tolist(), strict=True))
        seen = self.seen_S.tolist()
        in_set = {study: sums for study, sums, n in zip(studies, by_study, seen, strict=True) if n}
        return {
            "loss": _mean(total, "loss", "n"),
            "loss_masked": _mean(total, "loss_masked", "n_masked"),
            "loss_visible": _mean(total, "loss_visible", "n"),  # K >= 1: what measured a gene shows one
            "loss_by_study": {study: _mean(sums, "loss", "n") for study, sums in in_set.items()},
            "explained_deviance": _explained(total, ""),
            "explained_deviance_masked": _explained(total, "_masked"),
            "explained_deviance_by_study": {study: _explained(sums, "") for study, sums in in_set.items()},
            "pearson_masked": _mean(total, "pearson", "n_pearson"),
            "cls_rank": participation_ratio(self.cls_D, self.cls_DD, sum(seen)),
            "dead_gene_share": _dead_share(self.alive_G, self.present_G),
            "n_samples": sum(seen),
            "n_samples_masked": int(total["n_masked"]),
            "n_samples_pearson": int(total["n_pearson"]),
        }


def correlation(
    first_BG: torch.Tensor, second_BG: torch.Tensor, counted_BG: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pearson correlation of each sample over its counted genes, float64.

    Returns
    -------
    correlation_B : torch.Tensor (B,)
        0 where it is not defined.
    is_defined_B : torch.Tensor (B,), bool
        Both vary over the counted genes, of which there are two or more.
    """
    n_B1 = counted_BG.sum(dim=1, keepdim=True).clamp(min=1)
    centred, is_defined_B = [], counted_BG.sum(dim=1) >= 2
    for values_BG in (first_BG, second_BG):
        counted = torch.where(counted_BG, values_BG.double(), 0)
        deviation_BG = torch.where(counted_BG, counted - counted.sum(dim=1, keepdim=True) / n_B1, 0)
        # Float32 values that are all equal differ from their mean by rounding
        is_defined_B = is_defined_B & ((deviation_BG**2).sum(dim=1) > 1e-12 * (counted**2).sum(dim=1))
        centred.append(deviation_BG)
    covariance_B = (centred[0] * centred[1]).sum(dim=1)
    scale_B = ((centred[0] ** 2).sum(dim=1) * (centred[1] ** 2).sum(dim=1)).sqrt()
    return torch.where(is_defined_B, covariance_B / torch.where(is_defined_B, scale_B, 1), 0), is_defined_B


def participation_ratio(sum_D: torch.Tensor, outer_DD: torch.Tensor, n_samples: int) -> float:
    """Effective rank of embeddings, ``(sum of eigenvalues)^2 / sum of squared eigenvalues`` of their covariance.

    Parameters
    ----------
    sum_D, outer_DD : torch.Tensor, float64
        Sums of the embeddings and of their outer products.
    n_samples : int
        How many there are.

    Returns
    -------
    float
        1 when they lie on a line, D when they fill all directions alike; 0 when they are all equal.
    """
    if n_samples == 0:
        return 0.0
    covariance_DD = outer_DD - torch.outer(sum_D, sum_D) / n_samples
    trace = float(covariance_DD.trace())
    if trace <= 1e-13 * float(outer_DD.trace()):  # equal embeddings: what float64 leaves of a difference
        return 0.0
    return trace**2 / float((covariance_DD**2).sum())


def _mean(sums: dict[str, float], name: str, number: str) -> float | None:
    return sums[name] / sums[number] if sums[number] else None


def _explained(sums: dict[str, float], of: str) -> float | None:
    """None without a sample, or if the study's means are perfect."""
    baseline = sums[f"baseline{of}"]
    return 1 - sums[f"deviance{of}"] / baseline if baseline > 0 else None


def _dead_share(alive_G: torch.Tensor, present_G: torch.Tensor) -> float:
    return float(1 - (alive_G > 0).sum() / (present_G > 0).sum().clamp(min=1))
