"""Every number that decides a score of the benchmark and is no setting, by name, for the record."""

from dataclasses import asdict
from typing import Any

from txfm.consistency.align import LEAST_VARIANCE
from txfm.consistency.statistic import N_NULL_CELLS
from txfm.evaluation.components import PCA_SEED, WIDEST_COVARIANCE
from txfm.evaluation.embedders import RANDOM_SEED, RANDOM_WIDTH
from txfm.evaluation.perturbation import decoders, knn_probe, linear_probe, lisi
from txfm.evaluation.perturbation.accuracy import TOP
from txfm.evaluation.perturbation.consistency import EFAAR_SIGNIFICANT, LEAST_NULL, SIGNIFICANT
from txfm.evaluation.perturbation.run import WIDEST_TVN
from txfm.evaluation.perturbation.screen import SAMPLE_SEED, TARGET_SUM
from txfm.evaluation.perturbation.splits import SPLIT_SEED, TRAIN_SHARE
from txfm.evaluation.perturbation.tasks import LEAST_PERTURBATIONS
from txfm.evaluation.postprocessing import TVN_RIDGE
from txfm.evaluation.relationships import THRESHOLDS


def constants() -> dict[str, dict[str, Any]]:
    """Part of the benchmark -> name -> value, ready for json."""
    return {
        "screen": {"sample_seed": SAMPLE_SEED},
        "split": {"seed": SPLIT_SEED, "train_share": TRAIN_SHARE},
        "postprocessing": {"tvn_ridge": TVN_RIDGE, "least_variance_share": LEAST_VARIANCE, "widest_tvn": WIDEST_TVN},
        "ilisi": {
            "n_neighbours": lisi.N_NEIGHBOURS,
            "perplexity": lisi.PERPLEXITY,
            "txeval_perplexity": lisi.TXEVAL_PERPLEXITY,
            "n_bisections": lisi.N_BISECTIONS,
            "entropy_tolerance": lisi.TOLERANCE,
        },
        "lin": asdict(linear_probe.DEFAULT) | {"top": TOP},
        "knn": {
            "n_neighbours": knn_probe.N_NEIGHBOURS,
            "n_components": knn_probe.N_COMPONENTS,
            "distance_offset": knn_probe.NEAREST,
            "widest_exact_pca": WIDEST_COVARIANCE,
            "pca_seed": PCA_SEED,
            "top": TOP,
        },
        "pcst": {
            "n_null_cells": N_NULL_CELLS,
            "p_below": SIGNIFICANT,
            "efaar_p_at_most": EFAAR_SIGNIFICANT,
            "efaar_least_null": LEAST_NULL,
        },
        "bmdb": {"thresholds": list(THRESHOLDS), "least_perturbations": LEAST_PERTURBATIONS},
        "inv": {
            "counts_per_cell": TARGET_SUM,
            "ridge_penalties": list(decoders.PENALTIES),
            "ridge_least_variance_share": decoders.CONSTANT,
            "widest": decoders.WIDEST,
            "network": asdict(decoders.NetworkSettings()),
        },
        "random": {"n_dimensions": RANDOM_WIDTH, "seed": RANDOM_SEED},
    }
