"""Every choice of the benchmark; the record of a run holds them all."""

from dataclasses import dataclass, field

from txfm.evaluation.cells.probes import DEFAULT, ProbeSettings

# task -> the metrics that enter its score
TASKS = {
    "clusters": ("nmi", "ari"),
    "silhouettes": ("asw_label", "asw_batch"),
    "linear": ("accuracy", "macro_f1"),
    "mlp": ("accuracy", "macro_f1"),
}
TITLES = {
    ("clusters", "nmi"): "NMI",
    ("clusters", "ari"): "ARI",
    ("clusters", "n_clusters"): "clusters",
    ("silhouettes", "asw_label"): "ASW",
    ("silhouettes", "asw_batch"): "ASW batch",
    ("linear", "accuracy"): "linear accuracy",
    ("linear", "macro_f1"): "linear macro-F1",
    ("mlp", "accuracy"): "MLP accuracy",
    ("mlp", "macro_f1"): "MLP macro-F1",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and how often.

    Attributes
    ----------
    seeds : tuple of int
        Draws of `max_cells` cells for clusters and silhouettes, and the seed of Louvain. Of a file with fewer cells
        each draw is all of it, and silhouettes are computed once.
    max_cells : int
        Of a draw.
    split_seeds : tuple of int
        Splits of all cells for the probes, and the seed of their first weights.
    tasks : tuple of str
        Of `TASKS`.
    probe : ProbeSettings
    device : str
        Of the probes.
    """

    seeds: tuple[int, ...] = tuple(range(10))
    max_cells: int = 10_000
    split_seeds: tuple[int, ...] = (0, 1, 2)
    tasks: tuple[str, ...] = tuple(TASKS)
    probe: ProbeSettings = field(default=DEFAULT)
    device: str = "cpu"
