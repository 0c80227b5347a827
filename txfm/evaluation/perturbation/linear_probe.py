"""Linear separability: a linear layer that names the perturbation of cells of other batches (Tx-Evaluation's task)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

from txfm.errors import InputError
from txfm.evaluation.checked_arrays import checked_embedding, checked_labels, checked_rows
from txfm.evaluation.perturbation.accuracy import Accuracy, count_hits
from txfm.evaluation.seeded_layers import linear_layer, shuffled_batches
from txfm.evaluation.small_steps import few_threads


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How the layer is trained; the defaults are Tx-Evaluation's, but for `standardise`.

    Attributes
    ----------
    epochs, warmup_epochs, batch_size_cells : int
        The learning rate rises linearly from `start_learning_rate` over the warm-up, then falls as a cosine to 0.
    learning_rate, start_learning_rate, weight_decay : float
        Of AdamW.
    standardise : bool
        Scale every dimension by mean and standard deviation of the training cells. One that is the same in all of them
        tells no class from another and is left out: of log counts that is every gene that the study did not measure.
    """

    epochs: int = 250
    warmup_epochs: int = 10
    batch_size_cells: int = 64_768
    learning_rate: float = 1e-3
    start_learning_rate: float = 3e-5
    weight_decay: float = 1e-6
    standardise: bool = True


DEFAULT = ProbeSettings()


def linear_probe(
    embedding: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int = 0,
    *,
    settings: ProbeSettings = DEFAULT,
    device: str = "cpu",
) -> Accuracy:
    """Train on some cells, count hits on others.

    Parameters
    ----------
    embedding : numpy.ndarray (n, d)
    labels : numpy.ndarray (n,)
    train, test : numpy.ndarray
        Positions of rows, or masks (n,). Test cells whose class no training cell has are left out.
    seed : int
        Of the first weights and of the order of the training cells, where they are more than a batch.
    settings : ProbeSettings
    device : str
        Of PyTorch.

    Returns
    -------
    Accuracy
        Chance is 1 / number of classes for top-1, min(5, classes) / classes for top-5, if classes are of equal size.

    Raises
    ------
    InputError
        Fewer than two classes, no test cell of a known class, or what is given does not fit or is not finite.
    """
    embedding, labels, train, test = checked_probe(embedding, labels, train, test)
    classes, targets = np.unique(labels[train], return_inverse=True)
    test, test_targets = rows_of_known(labels, test, classes)
    rows = embedding[train], embedding[test]
    if settings.standardise:
        varies = np.ptp(rows[0], axis=0) > 0
        if varies.any() and not varies.all():
            rows = rows[0][:, varies], rows[1][:, varies]
        scaler = StandardScaler().fit(rows[0])
        rows = scaler.transform(rows[0]), scaler.transform(rows[1])
    x_train, x_test = (torch.as_tensor(np.asarray(each, dtype=np.float32), device=device) for each in rows)
    y_train = torch.as_tensor(targets, device=device)
    layer = _train(x_train, y_train, len(classes), seed, settings)
    top1 = top5 = 0
    for start in range(0, len(test), 4096):
        with torch.no_grad():
            scores = layer(x_test[start : start + 4096]).cpu().numpy()
        hits = count_hits(scores, test_targets[start : start + 4096])
        top1, top5 = top1 + hits[0], top5 + hits[1]
    return Accuracy(top1_hits=top1, top5_hits=top5, n_cells=len(test), n_classes=len(classes))


def checked_probe(
    embedding: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a probe is given, as arrays; InputError where it does not fit."""
    embedding = checked_embedding(embedding)
    labels = checked_labels(labels, len(embedding), "labels")
    train, test = (checked_rows(rows, len(embedding), what) for rows, what in ((train, "training"), (test, "test")))
    return embedding, labels, train, test


def rows_of_known(labels: np.ndarray, test: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The test rows whose class is one of `classes` (ascending), and its position there.

    Raises
    ------
    InputError
        There are fewer than two classes, or no such row.
    """
    of_test = labels[test]
    place = np.searchsorted(classes, of_test).clip(max=max(0, len(classes) - 1))
    known = classes[place] == of_test if len(classes) else np.zeros(len(test), dtype=bool)
    if len(classes) < 2 or not known.any():
        raise InputError(
            "A probe has nothing to tell apart",
            expected="two classes among the training cells, and test cells of these classes",
            found=f"{len(classes):,} classes, {int(known.sum()):,} of {len(test):,} test cells of one of them",
        )
    return test[known], place[known]


def learning_rate_at(step: int, n_warmup: float, n_steps: int, settings: ProbeSettings) -> float:
    """Of a step, counted from 0: linear warm-up, then half a cosine to 0."""
    if step < n_warmup:
        share = step / max(1, n_warmup - 1)
        return settings.start_learning_rate + share * (settings.learning_rate - settings.start_learning_rate)
    share = (step - n_warmup) / max(1, n_steps - n_warmup)
    return settings.learning_rate * (1 + math.cos(math.pi * share)) / 2


def _train(x: torch.Tensor, y: torch.Tensor, n_classes: int, seed: int, settings: ProbeSettings) -> torch.nn.Linear:
    """A layer from d to the classes."""
    random = torch.Generator().manual_seed(seed)
    layer = linear_layer(x.shape[1], n_classes, random).to(x.device)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps_per_epoch = math.ceil(len(x) / settings.batch_size_cells)
    n_steps, n_warmup = settings.epochs * steps_per_epoch, settings.warmup_epochs * steps_per_epoch
    step = 0
    with few_threads(layer, min(len(x), settings.batch_size_cells)):
        for _ in range(settings.epochs):
            # The order of one batch says nothing
            several = steps_per_epoch > 1
            for rows in shuffled_batches(len(x), settings.batch_size_cells, random) if several else (slice(None),):
                optimiser.param_groups[0]["lr"] = learning_rate_at(step, n_warmup, n_steps, settings)
                optimiser.zero_grad()
                cross_entropy(layer(x[rows]), y[rows]).backward()
                optimiser.step()
                step += 1
    return layer
