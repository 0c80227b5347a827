"""What makes one corpus, one model or one baseline better than another: benchmarks and their metrics.

The names below stay; each is imported when it is first asked for, so that `import txfm` stays light.
They take arrays, lists, or Series by position; what does not fit, is missing or is not finite is an `InputError`.
"""

import importlib
from typing import Any

# name -> module
NAMES: dict[str, str] = {
    "center_on_controls": "txfm.evaluation.postprocessing",
    "clustering_scores": "txfm.evaluation.cells.clustering",
    "efaar_consistency": "txfm.evaluation.perturbation.consistency",
    "ilisi": "txfm.evaluation.perturbation.lisi",
    "knn_probe": "txfm.evaluation.perturbation.knn_probe",
    "linear_probe": "txfm.evaluation.perturbation.linear_probe",
    "perturbation_consistency": "txfm.evaluation.perturbation.consistency",
    "relationship_recall": "txfm.evaluation.relationships",
    "silhouette_scores": "txfm.evaluation.cells.silhouettes",
    "spearman_by_gene": "txfm.evaluation.perturbation.reconstruction",
    "split_screen": "txfm.evaluation.perturbation.splits",
    "standardise_on_controls": "txfm.evaluation.postprocessing",
    "structural_integrity": "txfm.evaluation.perturbation.reconstruction",
    "tvn": "txfm.evaluation.postprocessing",
}
__all__ = list(NAMES)


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *NAMES])
