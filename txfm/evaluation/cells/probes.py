"""Linear and MLP classifiers on an embedding (Kedzierska et al. 2025), with early stopping."""

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import cross_entropy

from txfm.errors import InputError
from txfm.evaluation.cells.splits import Split
from txfm.evaluation.components import leading_components
from txfm.evaluation.seeded_layers import linear_layer, shuffled_batches
from txfm.evaluation.small_steps import few_threads

HEADS = ("linear", "mlp")


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How a classifier is trained; where the paper is silent, the choices of docs/evaluation-cells.md.

    Attributes
    ----------
    learning_rates : tuple of float
        Each is tried; the one of the best (accuracy + macro-F1) / 2 on the validation samples is kept.
    epochs, patience : int
        At most; without a better validation loss.
    plateau_factor, plateau_patience : float, int
        The learning rate is multiplied after so many epochs without a better validation loss.
    batch_size_samples, weight_decay : int, float
        Of AdamW.
    hidden : tuple of int
        Widths of the MLP, with ReLU and dropout.
    dropout : float
    mlp_widest, mlp_components : int
        The MLP of an embedding with more dimensions than the first sees as many principal components as the second.
    """

    learning_rates: tuple[float, ...] = (1e-4, 5e-4, 1e-5)
    epochs: int = 500
    patience: int = 20
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    batch_size_samples: int = 2048
    weight_decay: float = 1e-4
    hidden: tuple[int, ...] = (512, 256)
    dropout: float = 0.5
    mlp_widest: int = 2048
    mlp_components: int = 512  # the width of its first layer, which passes on no more directions


DEFAULT = ProbeSettings()


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Scores on the test samples.

    Attributes
    ----------
    accuracy : float
    macro_f1 : float
        Mean over labels that are true or predicted of a test sample.
    learning_rate : float
        The one that was kept.
    n_hits, n_test : int
        Test samples that are named right, and all of them.
    n_inputs : int
        Numbers of a sample that the classifier saw: dimensions of the embedding, or components.
    """

    accuracy: float
    macro_f1: float
    learning_rate: float
    n_hits: int
    n_test: int
    n_inputs: int


def classify(
    embedding: np.ndarray,
    labels: np.ndarray,
    split: Split,
    head: str = "linear",
    *,
    seed: int = 0,
    settings: ProbeSettings = DEFAULT,
    device: str = "cpu",
) -> Probe:
    """Train a classifier on standardised dimensions and test it.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    labels : numpy.ndarray (n,)
    split : Split
    head : {"linear", "mlp"}
    seed : int
        Of first weights, order and dropout.
    settings : ProbeSettings
    device : str
        Of PyTorch.

    Raises
    ------
    InputError
        There is no such head.
    """
    if head not in HEADS:
        raise InputError("There is no such probe", expected=", ".join(HEADS), found=head)
    classes, codes = np.unique(labels[split.train], return_inverse=True)
    inputs = StandardScaler().fit(embedding[split.train]).transform(embedding).astype(np.float32)
    if head == "mlp" and inputs.shape[1] > settings.mlp_widest:
        inputs = _leading_components(inputs, split.train, settings.mlp_components)
    x = torch.as_tensor(inputs, device=device)
    # A label that only validation has is no class; the split left those of the test out
    validation = split.validation[np.isin(labels[split.validation], classes)]
    if len(validation) == 0:
        raise InputError("No validation sample has a label that training knows")
    y = torch.as_tensor(codes, device=device)
    y_validation = torch.as_tensor(np.searchsorted(classes, labels[validation]), device=device)
    best: tuple[float, float, nn.Module] | None = None
    for learning_rate in settings.learning_rates:
        random = torch.Generator().manual_seed(seed)
        network = _network(x.shape[1], len(classes), head, settings, random).to(device)
        with few_threads(network, min(len(split.train), settings.batch_size_samples)):
            _train(network, (x[split.train], y), (x[validation], y_validation), learning_rate, settings, random)
        predicted = classes[_predict(network, x[validation])]
        score = sum(_scores(labels[validation], predicted)) / 2
        if best is None or score > best[0]:
            best = score, learning_rate, network
    assert best is not None
    true, predicted = labels[split.test], classes[_predict(best[2], x[split.test])]
    accuracy, macro_f1 = _scores(true, predicted)
    return Probe(
        accuracy=accuracy,
        macro_f1=macro_f1,
        learning_rate=best[1],
        n_hits=int((true == predicted).sum()),
        n_test=len(true),
        n_inputs=inputs.shape[1],
    )


def _leading_components(inputs: np.ndarray, train: np.ndarray, n_components: int) -> np.ndarray:
    """Inputs (n, d) on the principal components of the training samples, by one factor of mean variance 1 for these.

    A rotation and a common factor: an MLP sees the same distances, of inputs as large as standardised dimensions are.
    """
    components = leading_components(inputs[train], n_components).transform(inputs)
    return (components / np.sqrt((components[train] ** 2).mean())).astype(np.float32)


class _Dropout(nn.Module):
    """Dropout from a generator of its own, so that nothing else that draws changes a probe."""

    def __init__(self, share: float, random: torch.Generator) -> None:
        super().__init__()
        self.share, self.random = share, random

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(x.shape, generator=self.random).to(x.device) >= self.share
        return x * kept / (1 - self.share)


def _network(n_inputs: int, n_classes: int, head: str, settings: ProbeSettings, random: torch.Generator) -> nn.Module:
    widths = [n_inputs, *(settings.hidden if head == "mlp" else ()), n_classes]
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(widths):
        layers += [linear_layer(width, following, random), nn.ReLU(), _Dropout(settings.dropout, random)]
    return nn.Sequential(*layers[:-2])


def _train(
    network: nn.Module,
    train: tuple[torch.Tensor, torch.Tensor],
    validation: tuple[torch.Tensor, torch.Tensor],
    learning_rate: float,
    settings: ProbeSettings,
    random: torch.Generator,
) -> None:
    """Train until the validation loss has not fallen for `patience` epochs; the best weights are put back."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=settings.plateau_factor, patience=settings.plateau_patience
    )
    lowest, since, weights = float("inf"), 0, copy.deepcopy(network.state_dict())
    for _ in range(settings.epochs):
        network.train()
        for rows in shuffled_batches(len(train[0]), settings.batch_size_samples, random):
            x, y = train[0][rows], train[1][rows]
            optimiser.zero_grad()
            cross_entropy(network(x), y).backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            loss = float(cross_entropy(network(validation[0]), validation[1]))
        plateau.step(loss)
        if loss < lowest:
            lowest, since, weights = loss, 0, copy.deepcopy(network.state_dict())
        else:
            since += 1
            if since >= settings.patience:
                break
    network.load_state_dict(weights)
    network.eval()


@torch.no_grad()
def _predict(network: nn.Module, x: torch.Tensor) -> np.ndarray:
    return torch.cat([network(rows).argmax(dim=1) for rows in x.split(8192)]).cpu().numpy()


def _scores(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    return float(accuracy_score(true, predicted)), float(f1_score(true, predicted, average="macro", zero_division=0))
