"""Validation on a fixed sample and mask set: running values are noise, because expression has heavy tails."""

from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import torch

from txfm.corpus import Corpus
from txfm.inputs import inputs_of
from txfm.masking import choose_visible, sample_keys
from txfm.model import TxFM
from txfm.objective import masked_task
from txfm.scores import ScoreSums
from txfm.statistics import MeanExpression

BATCH_SAMPLES = 64
SEED = 0  # samples and masks are the same for every training seed, so curves of seeds can be compared


class Validation:
    """Held-out samples, read and scored with the same masks every time.

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
        self.corpus = corpus
        self.n_batches = min(-(-n_samples // BATCH_SAMPLES), corpus.n_batches)
        self.means = means

    @torch.no_grad()
    def score(self, network: TxFM, device: torch.device, precision: str) -> dict[str, Any]:
        """Score the network, and leave it in training mode.

        Genes are shown uniformly, whatever the masking temperature, so that curves of ablations can be compared.

        Returns
        -------
        dict
            loss, loss_masked, loss_visible: mean over genes, then over the samples that have such a gene; None if no
            sample has. loss_by_study. explained_deviance and explained_deviance_masked: 1 - D(model) / D(mean of the
            sample's study over training samples), D the Poisson deviance of normalised count + 1 whatever the loss and
            the preprocessing; explained_deviance_by_study. pearson_masked: mean over samples of the correlation, over
            masked measured genes, of the predicted and the true log-normalised expression; samples in which one of them
            does not vary are left out. cls_rank: participation ratio of the embeddings' covariance. dead_gene_share:
            genes of these samples whose logit never had a gradient. n_samples; n_samples_masked: those with a measured
            gene that was masked; n_samples_pearson: those with a correlation.
        """
        network.eval()
        config, corpus = network.config, self.corpus
        measured_SG = torch.from_numpy(corpus.measured).to(device)
        log_means_SG = torch.from_numpy(np.log(self.means.by_study)).to(device, torch.float32)
        sums = ScoreSums.zero(len(corpus.studies), network.n_genes, config.width, device)
        first = 0
        with closing(corpus.batches()) as batches:
            for batch in islice(batches, self.n_batches):
                inputs = inputs_of(batch, measured_SG, config)
                keys_B = sample_keys(torch.arange(first, first + len(batch), device=device), "validation", SEED)
                visible = choose_visible(
                    inputs.measured_BG, config.n_visible_genes, keys_B, n_measured_B=inputs.n_measured_B
                )
                outcome = masked_task(network, config, inputs, visible, precision)
                visible_BG = torch.zeros_like(inputs.measured_BG).scatter_(1, visible.positions_BK, True)
                studies_B = torch.from_numpy(batch.study_index).to(device)
                sums.add(outcome, inputs, visible_BG & inputs.measured_BG, log_means_SG[studies_B], studies_B, config)
                first += len(batch)
        network.train()
        return sums.scores(corpus.studies)
