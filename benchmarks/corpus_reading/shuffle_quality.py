"""Consecutive training batches beside those of a real full shuffle.

Composition: the sum over batches and categories of (found - expected)^2 / expected, once over studies and once over
experimental batches, and the same over runs of ten batches, which shows a drift that no single batch does. Rare
categories make its distribution no chi-square, and batches drawn without replacement are more even than multinomial
ones, so it is compared with what full shuffles of the same rows give: z is the distance from their mean in their
standard deviations. A high z is a lumpy stream, a low one a stream that is more even than chance: neither is a
full shuffle. Neighbours: Pearson correlation of the library sizes of samples that follow each other, and of their logs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import zarr

import txfm
from corpus_reading.ceilings import train_stores

N_REFERENCES = 400
RUN = 10


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The training samples of a variant, store after store.

    Attributes
    ----------
    study, batch : ndarray (n,), int64
        Numbers; batches of two studies are two.
    library_size : ndarray (n,), float64
    names : Index (n,)
    """

    study: np.ndarray
    batch: np.ndarray
    library_size: np.ndarray
    names: pd.Index

    @classmethod
    def read(cls, corpus: Path, variant: str) -> Samples:
        """Read them from the stores."""
        frames = [
            ad.io.read_elem(zarr.open_group(store, mode="r")["obs"])[["study", "batch", "library_size"]].astype(
                {"study": str, "batch": str}
            )
            for store in train_stores(corpus, variant)
        ]
        table = pd.concat(frames)
        return cls(
            study=pd.factorize(table["study"])[0],
            batch=pd.factorize(table["study"] + "/" + table["batch"])[0],
            library_size=table["library_size"].to_numpy(np.float64),
            names=table.index,
        )


def reader_rows(corpus: Path, variant: str, samples: Samples, *, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of each batch of txfm's reader, epoch after epoch."""
    options = {"threads": 2} if "threads" in inspect.signature(txfm.open_corpus).parameters else {}
    stream = txfm.open_corpus(corpus, variant, "train", batch_size=batch_size, seed=seed, **options)
    while True:
        for batch in stream:
            rows = samples.names.get_indexer(np.asarray(batch.sample_ids))
            sums = np.add.reduceat(batch.counts.astype(np.float64), batch.indptr[:-1])
            assert (rows >= 0).all()
            assert (sums == samples.library_size[rows]).all(), "the counts of a batch are those of its samples"
            yield rows


def shuffled_rows(n: int, *, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of each batch of full shuffles, epoch after epoch."""
    rng = np.random.default_rng([seed, 1])
    while True:
        order = rng.permutation(n)
        for first in range(0, n, batch_size):
            yield order[first : first + batch_size]


def statistics(batches: list[np.ndarray], samples: Samples) -> dict[str, float]:
    """Return what is compared."""
    found = {}
    for title, codes in (("study", samples.study), ("batch", samples.batch)):
        share = np.bincount(codes) / len(codes)
        counts = np.array([np.bincount(codes[rows], minlength=len(share)) for rows in batches])
        each = lumpiness(counts, share)
        found[f"{title}, each batch"] = each.sum()
        found[f"{title}, spread over batches"] = each.std()
        whole = len(counts) // RUN * RUN
        runs = counts[:whole].reshape(-1, RUN, len(share)).sum(axis=1)
        found[f"{title}, runs of {RUN}"] = lumpiness(runs, share).sum()
    size = samples.library_size[np.concatenate(batches)]
    found["neighbours, library size"] = lag_1(size)
    found["neighbours, its log"] = lag_1(np.log(size))
    return found


def lumpiness(counts: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the chi-square statistic of each row of counts against the shares."""
    expected = counts.sum(axis=1, keepdims=True) * share
    return ((counts - expected) ** 2 / expected).sum(axis=1)


def lag_1(values: np.ndarray) -> float:
    """Return the correlation of neighbours."""
    return float(np.corrcoef(values[:-1], values[1:])[0, 1])


def first_batches(stream: Iterator[np.ndarray], n: int) -> list[np.ndarray]:
    """Return the first n batches of a stream."""
    return [next(stream) for _ in range(n)]


def report(
    corpus: Path,
    variant: str,
    *,
    batch_size: int,
    n_seeds: int,
    n_batches: int,
    other: dict[str, list[list[np.ndarray]]] | None = None,
) -> None:
    """Print the comparison for one batch size; `other` has the batches of other readers, one list a seed."""
    samples = Samples.read(corpus, variant)
    n = len(samples.study)
    reference = pd.DataFrame(
        [
            statistics(first_batches(shuffled_rows(n, batch_size=batch_size, seed=seed), n_batches), samples)
            for seed in range(N_REFERENCES)
        ]
    )
    ours = [
        first_batches(reader_rows(corpus, variant, samples, batch_size=batch_size, seed=seed), n_batches)
        for seed in range(n_seeds)
    ]
    sizes = np.bincount(samples.study)
    print(
        f"\n{n:,} samples, {len(sizes)} studies ({', '.join(f'{size:,}' for size in sorted(sizes, reverse=True))}), "
        f"{samples.batch.max() + 1} experimental batches; {n_batches} batches of {batch_size:,}, {n_seeds} seeds; "
        f"{N_REFERENCES} full shuffles\n"
    )
    print("| reader | statistic | full shuffle: mean (95%) | reader: mean (range) | z: mean (range) | p of the mean |")
    print("|---|---|---:|---:|---:|---:|")
    # seeds that the reference does not have: shows what this page says of a reader that is a full shuffle
    control = [
        first_batches(shuffled_rows(n, batch_size=batch_size, seed=N_REFERENCES + seed), n_batches)
        for seed in range(n_seeds)
    ]
    verdicts = []
    for title, streams in {"ours": ours, **(other or {}), "a full shuffle": control}.items():
        found = pd.DataFrame([statistics(batches, samples) for batches in streams])
        lowest = min(print_line(title, name, reference[name].to_numpy(), found[name].to_numpy()) for name in reference)
        verdicts.append(f"{title}: lowest p {lowest:.4f} of {len(reference.columns)} (a full shuffle: above 0.001)")
    largest = pd.DataFrame([statistics(batches, samples) for batches in ours]).abs().max()
    lines = [f"{name}: at most {largest[name]:.4f}" for name in reference if name.startswith("neighbours")]
    print("\n" + "\n".join([*verdicts, f"ours, {'; '.join(lines)} (bar 0.02)"]))


def print_line(title: str, name: str, reference: np.ndarray, found: np.ndarray) -> float:
    """Print one statistic; return p: two-sided, of the mean over the seeds among means of as many full shuffles."""
    form = ".4f" if name.startswith("neighbours") else ",.1f"
    z = (found - reference.mean()) / reference.std(ddof=1)
    rng = np.random.default_rng(0)
    means = rng.choice(reference, (10_000, len(found))).mean(axis=1)
    below, above = (means <= found.mean()).mean(), (means >= found.mean()).mean()
    p = min(1.0, 2 * float(min(below, above)))
    low, high = np.quantile(reference, [0.025, 0.975])
    cells = [
        f"{reference.mean():{form}} ({low:{form}} to {high:{form}})",
        f"{found.mean():{form}} ({found.min():{form}} to {found.max():{form}})",
        f"{z.mean():+.1f} ({z.min():+.1f} to {z.max():+.1f})",
        f"{p:.4f}",
    ]
    print(f"| {title} | {name} | " + " | ".join(cells) + " |")
    return p
