"""Decoders from an embedding to expression: ridge regression, and the network of Tx-Evaluation's code.

Shapes: n cells, d dimensions, g genes.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch

from txfm.errors import InputError
from txfm.evaluation.perturbation.linear_probe import ProbeSettings, learning_rate_at

PENALTIES = tuple(10.0**power for power in range(-2, 6))
WIDEST = 8192  # of cells and dimensions, the smaller: the matrix that is decomposed takes 0.5 GB
CONSTANT = 1e-12  # of the largest variance: a direction that holds but rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """A linear decoder; all genes share one penalty.

    Attributes
    ----------
    centre : numpy.ndarray (d,)
    rotation : numpy.ndarray (d, r)
        To components of the standardised training cells.
    weights : numpy.ndarray (r, g)
    intercept : numpy.ndarray (g,)
    penalty : float
    """

    centre: np.ndarray
    rotation: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    penalty: float

    def predict(self, embedding: np.ndarray, genes: slice) -> np.ndarray:
        """Expression (n, number of genes) of some genes."""
        return (embedding - self.centre) @ self.rotation @ self.weights[:, genes] + self.intercept[genes]


def fit_ridge(embedding: np.ndarray, target: sp.csr_matrix) -> Ridge:
    """Fit a decoder to training cells; the penalty of `PENALTIES` with the least generalised cross-validation error.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
        Every dimension is standardised.
    target : scipy.sparse.csr_matrix (n, g)
        Log-normalised counts. Only products with it are computed; it is never made dense.

    Raises
    ------
    InputError
        Cells and dimensions are both more than `WIDEST`.
    """
    n = len(embedding)
    if min(embedding.shape) > WIDEST:
        raise InputError(
            "The embedding is too wide for a ridge decoder of so many cells",
            expected=f"at most {WIDEST:,} dimensions, or training cells",
            found=f"{embedding.shape[1]:,} dimensions, {n:,} training cells",
        )
    centre = embedding.mean(axis=0)
    scale = embedding.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    z = (embedding - centre) / scale
    intercept = np.asarray(target.mean(axis=0), dtype=np.float64).ravel()
    if z.shape[1] <= n:
        variances, directions = np.linalg.eigh(z.T @ z)
        kept = variances > CONSTANT * max(variances.max(), 0)
        variances, directions = variances[kept], directions[:, kept]
        products = directions.T @ np.asarray(target.T @ z).T
    else:  # fewer cells than dimensions: the same from the cells' side
        variances, vectors = np.linalg.eigh(z @ z.T)
        kept = variances > CONSTANT * max(variances.max(), 0)
        variances, vectors = variances[kept], vectors[:, kept]
        directions = z.T @ vectors / np.sqrt(variances)
        products = np.sqrt(variances)[:, None] * np.asarray(target.T @ vectors).T
    # z has mean 0, so that centring the target changes nothing in the products
    total = float(target.multiply(target).sum()) - n * float(intercept @ intercept)
    explained = (products**2).sum(axis=1) / variances
    errors = []
    for penalty in PENALTIES:
        share = variances / (variances + penalty)
        residual = total - float((2 * share - share**2) @ explained)
        errors.append(residual / (1 - (1 + share.sum()) / n) ** 2 if share.sum() + 1 < n else math.inf)
    penalty = PENALTIES[int(np.argmin(errors))] if np.isfinite(errors).any() else PENALTIES[-1]
    return Ridge(
        centre=centre,
        rotation=directions / scale[:, None],
        weights=products / (variances + penalty)[:, None],
        intercept=intercept,
        penalty=penalty,
    )


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Tx-Evaluation's decoder: hidden layers with widths evenly between d and g, ReLU, mean squared error, AdamW."""

    n_hidden: int = 3
    epochs: int = 30
    warmup_epochs: int = 10
    batch_size_cells: int = 512
    learning_rate: float = 1e-4
    start_learning_rate: float = 3e-5
    weight_decay: float = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained network."""

    layers: torch.nn.Sequential
    device: str

    def predict(self, embedding: np.ndarray) -> np.ndarray:
        """Expression (n, g), float32."""
        with torch.no_grad():
            rows = torch.as_tensor(np.asarray(embedding, dtype=np.float32), device=self.device)
            return self.layers(rows).cpu().numpy()


def fit_network(
    embedding: np.ndarray,
    target: sp.csr_matrix,
    seed: int,
    *,
    settings: NetworkSettings | None = None,
    device: str = "cpu",
) -> Network:
    """Train a network on training cells; `seed` decides its first weights and the order of the cells."""
    settings = settings or NetworkSettings()
    widths = np.linspace(embedding.shape[1], target.shape[1], settings.n_hidden + 2).astype(int).tolist()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[torch.nn.Module] = []
        for before, after in pairwise(widths):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1]).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = ProbeSettings(learning_rate=settings.learning_rate, start_learning_rate=settings.start_learning_rate)
    x = torch.as_tensor(np.asarray(embedding, dtype=np.float32), device=device)
    random = np.random.default_rng(seed)
    steps_per_epoch = math.ceil(len(x) / settings.batch_size_cells)
    n_steps, n_warmup = settings.epochs * steps_per_epoch, settings.warmup_epochs * steps_per_epoch
    for step in range(n_steps):
        position = step % steps_per_epoch
        if position == 0:
            order = random.permutation(len(x))
        rows = order[position * settings.batch_size_cells : (position + 1) * settings.batch_size_cells]
        y = torch.as_tensor(target[rows].toarray().astype(np.float32), device=device)
        optimiser.param_groups[0]["lr"] = learning_rate_at(step, n_warmup, n_steps, schedule)
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(network(x[rows]), y).backward()
        optimiser.step()
    return Network(layers=network.eval(), device=device)
