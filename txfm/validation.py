"""Validation on a fixed sample and mask set: running values are noise, because expression has heavy tails."""

from itertools import islice
from typing import Any

import numpy as np
import torch

from txfm.corpus import Corpus
from txfm.losses import mean_over_genes, poisson
from txfm.masking import seeded_generator
from txfm.model import TxFM
from txfm.objective import Inputs, inputs_of, masked_task
from txfm.statistics import MeanExpression

BATCH_SAMPLES = 64
SEED = 0  # samples and masks are the same for every training seed, so curves of seeds can be compared


class Validation:
    """Held-out samples kept on the CPU as sparse batches, scored with the same masks every time.

    Parameters
    ----------
    corpus : Corpus
        The validation split opened with ``batch_size=BATCH_SAMPLES, seed=SEED`` and the model's vocabulary.
    means : MeanExpression
        Of the training samples.
    n_samples : int
        Size of the fixed set, rounded up to whole batches.
    """

    def __init__(self, corpus: Corpus, means: MeanExpression, n_samples: int) -> None:
        self.batches = list(islice(corpus, -(-n_samples // BATCH_SAMPLES)))
        self.studies = corpus.studies
        self.measured = corpus.measured
        self.log_means = np.log(means.by_study)

    @torch.no_grad()
    def score(self, network: TxFM, device: torch.device, precision: str) -> dict[str, Any]:
        """Score the network, and leave it in training mode.

        Returns
        -------
        dict
            loss, loss_masked, loss_visible: mean over genes, then over the samples that have such a gene; None if no
            sample has. explained_deviance and explained_deviance_masked: 1 - D(model) / D(mean of the sample's study
            over training samples), D the Poisson deviance of normalised count + 1; explained_deviance_by_study.
            cls_rank: participation ratio of the embeddings' covariance. dead_gene_share: genes of these samples without
            one positive logit. n_samples; n_samples_masked: those with a measured gene that was masked.
        """
        network.eval()
        measured_SG = torch.from_numpy(self.measured).to(device)
        log_means_SG = torch.from_numpy(self.log_means).to(device, torch.float32)
        per_sample: list[torch.Tensor] = []
        counted: list[torch.Tensor] = []
        embeddings: list[torch.Tensor] = []
        alive_G = torch.zeros(network.n_genes, dtype=torch.bool, device=device)
        present_G = torch.zeros_like(alive_G)
        for index, batch in enumerate(self.batches):
            inputs = inputs_of(batch, measured_SG, network.config.library_size_counts)
            outcome = masked_task(network, inputs, seeded_generator(device, "validation", SEED, index), precision)
            study_mean_BG = log_means_SG[torch.from_numpy(batch.study_index).to(device)]
            baseline_BG = poisson(study_mean_BG, inputs.x_BG)
            per_sample.append(_sample_columns(outcome.loss_BG, baseline_BG, inputs, outcome.visible_BG))
            masked_BG = inputs.measured_BG & ~outcome.visible_BG
            counted.append(torch.stack([has.any(dim=1) for has in (inputs.measured_BG, masked_BG)], dim=1))
            embeddings.append(outcome.cls_BD)
            alive_G |= ((outcome.logits_BG > 0) & inputs.measured_BG).any(dim=0)
            present_G |= inputs.measured_BG.any(dim=0)
        network.train()
        columns = torch.cat(per_sample).double().cpu().numpy()
        has_measured, has_masked = torch.cat(counted).cpu().numpy().T  # K >= 1: what measured a gene shows one
        study_index = np.concatenate([batch.study_index for batch in self.batches])
        return {
            "loss": _mean(columns[has_measured, 0]),
            "loss_masked": _mean(columns[has_masked, 1]),
            "loss_visible": _mean(columns[has_measured, 2]),
            "explained_deviance": _explained(columns[has_measured][:, [0, 3, 5]]),
            "explained_deviance_masked": _explained(columns[has_masked][:, [1, 4, 6]]),
            "explained_deviance_by_study": {
                self.studies[study]: _explained(columns[has_measured & (study_index == study)][:, [0, 3, 5]])
                for study in np.unique(study_index)
            },
            "cls_rank": participation_ratio(torch.cat(embeddings)),
            "dead_gene_share": float(1 - alive_G.sum() / present_G.sum().clamp(min=1)),
            "n_samples": len(columns),
            "n_samples_masked": int(has_masked.sum()),
        }


def participation_ratio(embeddings_ND: torch.Tensor) -> float:
    """Effective rank of the embeddings, ``(sum of eigenvalues)^2 / sum of squared eigenvalues`` of their covariance.

    1 when they lie on a line, D when they fill all directions alike; 0 when they are all equal.
    """
    centred = embeddings_ND.double() - embeddings_ND.double().mean(dim=0)
    covariance = centred.T @ centred
    squared = float((covariance**2).sum())
    return float(covariance.trace()) ** 2 / squared if squared > 0 else 0.0


def _sample_columns(
    loss_BG: torch.Tensor, baseline_BG: torch.Tensor, inputs: Inputs, visible_BG: torch.Tensor
) -> torch.Tensor:
    """(B, 7): model loss on all, masked, visible genes; study-mean loss on all, masked; least loss on all, masked."""
    masked_BG = inputs.measured_BG & ~visible_BG
    least_BG = poisson(inputs.x_BG, inputs.x_BG)
    pairs = [
        (loss_BG, inputs.measured_BG),
        (loss_BG, masked_BG),
        (loss_BG, visible_BG),
        (baseline_BG, inputs.measured_BG),
        (baseline_BG, masked_BG),
        (least_BG, inputs.measured_BG),
        (least_BG, masked_BG),
    ]
    return torch.stack([mean_over_genes(values, counted) for values, counted in pairs], dim=1)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _explained(columns: np.ndarray) -> float | None:
    """Deviance is twice the loss above its least value, so the factor cancels.

    None if the means are perfect, or without a sample.
    """
    if not len(columns):
        return None
    model, baseline, least = columns.mean(axis=0)
    return float(1 - (model - least) / (baseline - least)) if baseline > least else None
