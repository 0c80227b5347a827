"""Every choice of the benchmark; the record of a run holds them all."""

from dataclasses import dataclass

from txfm.evaluation.scores import POSTPROCESSINGS

TASKS = {
    "ilisi": "iLISI",
    "lin": "linear probe",
    "knn": "kNN",
    "pcst": "consistency",
    "bmdb": "relationships",
    "inv": "invertibility",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and how often.

    Attributes
    ----------
    seeds : tuple of int
        Of the evaluation: first weights, order of cells, cells of the null. A metric that draws nothing is computed
        once, without a seed.
    vary_splits : bool
        Draw another split for each seed, 42 + seed. False: the one of seed 42 for all, as in Tx-Evaluation.
    tasks : tuple of str
        Of `TASKS`.
    postprocessings : tuple of str
        The candidates among which the best of each task is chosen.
    fixed : str
        The post-processing that is shown beside the chosen one.
    max_ilisi_cells : int
        Mixing of batches is measured on this many random cells of a larger screen, another draw for each seed.
    network : bool
        Also train the decoder network of Tx-Evaluation's code (minutes to hours without a GPU).
    unexpressed_below : float
        Genes with fewer counts a cell on average are the null of EFAAR's consistency (Tx-Evaluation).
    device : str
        Of the probe and of the network.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    vary_splits: bool = False
    tasks: tuple[str, ...] = tuple(TASKS)
    postprocessings: tuple[str, ...] = POSTPROCESSINGS
    fixed: str = "centering"
    max_ilisi_cells: int = 50_000
    network: bool = False
    unexpressed_below: float = 0.15
    device: str = "cpu"
