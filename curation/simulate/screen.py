"""A simulated CRISPRi screen with known truth, for demonstrations and tests, marked as simulated."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from curation.axis import GeneAxis
from curation.errors import InputError

CONTROL = "non-targeting"
CELLS_PER_BLOCK = 1_000
# What most symbols of non-coding genes contain: clones, antisense, small RNAs, open reading frames, pseudogenes. A gene
# table of ids and names states no biotype; without these, 20,193 of GENCODE 44's 62,754 genes are left.
NOT_CODING = r"(\.|-|^LINC|^MIR\d|^RNU|^RN7|^RNA5|^SNOR|^U\d|^Y_RNA$|^Metazoa|orf|P\d+$)"


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Size and strength of a simulated screen.

    Attributes
    ----------
    n_cells, n_genes, n_perturbations, n_controls, n_batches : int
        Controls are among the cells. Genes are drawn from those of the axis whose symbol
        looks like a coding gene's.
    effect_share : float
        Share of the perturbations that change anything; the rest leave a cell as a control.
    n_modules : int
        Groups of genes that rise and fall together, by cell state and by perturbation.
    mean_counts : float
        Mean total count of a cell, UMIs. 4,000 gives about 1,100 detected genes of 2,000.
    dispersion : float
        Inverse dispersion r of the negative binomial: variance = mean + mean^2 / r.
    module_sd : float
        Standard deviation of the log activity of a module between cells of one perturbation.
    seed : int
    """

    n_cells: int = 3_000
    n_genes: int = 2_000
    n_perturbations: int = 40
    n_controls: int = 200
    n_batches: int = 6
    effect_share: float = 0.5
    n_modules: int = 6
    mean_counts: float = 4_000.0
    dispersion: float = 8.0
    module_sd: float = 0.6
    seed: int = 0
    experiment: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.n_controls < self.n_cells or self.n_perturbations < 1 or not 0 <= self.effect_share <= 1:
            raise InputError(
                "this screen cannot be simulated",
                where="`simulation` of the study",
                expected="controls fewer than cells, at least one perturbation, effect_share in [0, 1]",
                found=str(asdict(self)),
                todo="correct the numbers",
            )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Screen:
        """Read the `simulation` mapping of a study.

        Raises
        ------
        InputError
            A key is not a field.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(
                f"unknown key {sorted(unknown)[0]!r}",
                where="`simulation` of the study",
                expected=", ".join(field.name for field in fields(cls)),
                found=", ".join(sorted(values)),
                todo="correct the key",
            )
        return cls(**values)


def simulate_screen(screen: Screen, axis: GeneAxis) -> ad.AnnData:
    """Draw a screen.

    Counts are negative binomial around a mean that is the product of a gene's base expression (log-normal), the
    activity of its module in the cell, a batch effect, and the perturbation: the target falls to 10-30 %, and, if
    the perturbation has an effect, two modules change two- to four-fold.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        X: CSR of counts as float32. obs: gem_group, gene (the target, or `non-targeting`), cell_line, simulated.
        var: gene_name, and module, the group of genes that it rises and falls with. uns["truth"]: per perturbation
        whether it has an effect; uns["changed_modules"]: of those that have, which modules, up or down.
    """
    rng = np.random.default_rng(screen.seed)
    symbols_of_axis = axis.genes["symbol"]
    named = np.flatnonzero(((symbols_of_axis != "") & ~symbols_of_axis.str.contains(NOT_CODING)).to_numpy())
    if len(named) < screen.n_genes or screen.n_genes < screen.n_perturbations:
        raise InputError(
            "the screen does not fit the gene axis",
            where="`simulation` of the study",
            expected=f"n_perturbations <= n_genes <= {len(named)} genes with a coding symbol",
            found=f"{screen.n_perturbations} perturbations, {screen.n_genes} genes",
            todo="lower n_genes or n_perturbations",
        )
    genes = np.sort(rng.choice(named, screen.n_genes, replace=False))
    table = axis.genes[genes.tolist()]
    base = rng.lognormal(0.0, 1.2, screen.n_genes)
    base *= screen.mean_counts / base.sum()
    module = rng.integers(0, screen.n_modules, screen.n_genes)
    if screen.experiment:
        rng = np.random.default_rng([screen.seed, screen.experiment])
    batch_effect = rng.lognormal(0.0, 0.15, (screen.n_batches, screen.n_genes))
    # targets are expressed genes, so that a knock-down can be seen
    targets = rng.choice(np.argsort(base)[-screen.n_genes // 2 :], screen.n_perturbations, replace=False)
    has_effect = np.arange(screen.n_perturbations) < round(screen.effect_share * screen.n_perturbations)
    fold = np.ones((screen.n_perturbations + 1, screen.n_modules))
    for perturbation in np.flatnonzero(has_effect):
        changed = rng.choice(screen.n_modules, 2, replace=False)
        fold[perturbation, changed] = rng.uniform(2.0, 4.0, 2) ** rng.choice([-1.0, 1.0], 2)
    knocked_down = rng.uniform(0.1, 0.3, screen.n_perturbations)

    treated = np.arange(screen.n_cells - screen.n_controls) % screen.n_perturbations
    label = rng.permutation(np.concatenate([treated, np.full(screen.n_controls, screen.n_perturbations)]))
    batch = rng.integers(0, screen.n_batches, screen.n_cells)
    blocks = []
    for start in range(0, screen.n_cells, CELLS_PER_BLOCK):
        rows = slice(start, start + CELLS_PER_BLOCK)
        n = len(label[rows])
        state = rng.lognormal(0.0, screen.module_sd, (n, screen.n_modules)) * fold[label[rows]]
        mean = base * state[:, module] * batch_effect[batch[rows]] * rng.lognormal(0.0, 0.25, (n, 1))
        hit = np.flatnonzero(label[rows] < screen.n_perturbations)
        mean[hit, targets[label[rows][hit]]] *= knocked_down[label[rows][hit]]
        rate = rng.gamma(screen.dispersion, mean / screen.dispersion)
        blocks.append(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))
    symbols = table["symbol"].to_numpy()
    names = np.append(symbols[targets], CONTROL)
    obs = pd.DataFrame(
        {
            "gem_group": [f"gem{number + 1}" for number in batch],
            "gene": names[label],
            "cell_line": "K562",
            "simulated": True,
        },
        index=[f"simulated_{i:06d}" for i in range(screen.n_cells)],
    )
    var = pd.DataFrame(
        {"gene_name": symbols, "module": [f"m{number}" for number in module]}, index=table["ensembl_id"].to_numpy()
    )
    truth = {name: bool(effect) for name, effect in zip(names[:-1], has_effect, strict=True)}
    changes = {
        name: [f"m{number} {'up' if folds[number] > 1 else 'down'}" for number in np.flatnonzero(folds != 1)]
        for name, folds in zip(names[:-1], fold, strict=False)
        if (folds != 1).any()
    }
    uns = {"truth": truth, "changed_modules": changes, "simulated": True}
    return ad.AnnData(sparse.vstack(blocks, format="csr"), obs=obs, var=var, uns=uns)


def write_screen(screen: Screen, genes: Path, out: Path) -> None:
    """Simulate a screen on the axis at `genes` and write it to `out` (h5ad), whole or not at all."""
    simulated = simulate_screen(screen, GeneAxis.read(genes))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    simulated.write_h5ad(partial)
    partial.replace(out)
