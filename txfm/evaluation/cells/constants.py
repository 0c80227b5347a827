"""Every number that decides a score of the benchmark and is no setting, by name, for the record."""

from typing import Any

from txfm.evaluation.cells import clustering, splits
from txfm.evaluation.components import PCA_SEED
from txfm.evaluation.embedders import RANDOM_SEED, RANDOM_WIDTH


def constants() -> dict[str, dict[str, Any]]:
    """Part of the benchmark -> name -> value, ready for json."""
    return {
        "clusters": {"n_neighbours": clustering.N_NEIGHBOURS, "resolutions": list(clustering.RESOLUTIONS)},
        "split": {
            "train_share": splits.TRAIN_SHARE,
            "validation_share": splits.VALIDATION_SHARE,
            "least_batches": splits.LEAST_BATCHES,
        },
        "mlp": {"pca_seed": PCA_SEED},
        "random": {"n_dimensions": RANDOM_WIDTH, "seed": RANDOM_SEED},
    }
