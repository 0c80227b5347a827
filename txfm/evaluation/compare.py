"""Every model, its baselines and its controls on one held-out study."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from txfm.corpus import Corpus, open_corpus
from txfm.corpus.places import place_of
from txfm.corpus.variant import read_variant
from txfm.evaluation.baselines import Pca, fit_pca_on_corpus, log_normalise_sparse
from txfm.evaluation.held_out import HeldOut, refuse_leakage
from txfm.evaluation.probes import Score, clustering_nmi, few_shot, linear_probe, standardise
from txfm.evaluation.thinning import thin_counts
from txfm.masking import seeded_generator
from txfm.model import TxFM
from txfm.pretrained import PretrainedModel, load
from txfm.vocabulary import Vocabulary

METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Score]] = {
    "linear_probe": linear_probe,
    "few_shot": few_shot,
    "nmi": clustering_nmi,
}
READER_BATCH_SAMPLES = 1024
PROBE_THREADS = 1  # on two busy cores, 240 cells x 50: 0.3 s with one thread, 4 s with two that wait for each other
THINNING_SEED = 0
SHUFFLE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """Scores of one embedder on one depth of counts.

    Attributes
    ----------
    model, variant, seed, samples_seen : str, str, int, int
        The TxFM that the row belongs to; a baseline belongs to the model whose training samples it was fitted on.
    embedder : {"txfm", "untrained", "pca", "shuffled_labels"}
    genes : {"vocabulary", "all"}
    scaling : {"raw", "standardised"}
    depth : {"full", "thinned"}
    n_genes, n_dimensions : int
        Genes that the embedding was computed from, and its width.
    median_counts : float
        Of the samples, on these genes.
    n_training_samples : int
        Distinct training samples of model or PCA; 0 for an untrained model.
    scores : dict
        Metric to Score.
    """

    model: str
    variant: str
    seed: int
    samples_seen: int
    embedder: str
    genes: str
    scaling: str
    depth: str
    n_genes: int
    n_dimensions: int
    median_counts: float
    n_training_samples: int
    scores: dict[str, Score]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Embedder:
    name: str
    genes: str
    gene_ids: tuple[str, ...]
    n_training_samples: int
    model: PretrainedModel | None = None
    pca: Pca | None = None
    library_size: float = 1e5

    def embed(self, study: HeldOut) -> np.ndarray:
        if self.pca is not None:
            return self.pca.transform(log_normalise_sparse(study.counts(self.gene_ids), self.library_size))
        assert self.model is not None
        return self.model.embed(study.adata, verbose=False).astype(np.float64)


def compare(study: HeldOut, corpus: Path, model_folders: list[Path], counts_per_sample: int, device: str) -> list[Row]:
    """Score every model, an untrained twin of it, PCA on its training samples, and shuffled labels.

    Parameters
    ----------
    study : HeldOut
    corpus : Path
        The corpus that the models were trained on; PCA is fitted on its training stores.
    model_folders : list of Path
    counts_per_sample : int
        Of the thinned counts.
    device : str
        Of the models.

    Raises
    ------
    InputError
        A model has seen the study, or belongs to another corpus.
    """
    models = [load(folder, device) for folder in model_folders]
    variants = [read_variant(place_of(corpus), model.card["variant"]["name"]) for model in models]
    for folder, variant in zip(model_folders, variants, strict=True):
        refuse_leakage(study.identity["study"], folder, variant)
    depths = {"full": study, "thinned": thinned(study, counts_per_sample)}
    baselines: dict[tuple[str, tuple[str, ...], float], Pca] = {}
    rows = []
    for folder, model in zip(model_folders, models, strict=True):
        print(f"comparing {folder.name}", flush=True)
        for embedder in _embedders(model, study, corpus, baselines):
            for depth, at_depth in depths.items():
                rows += _score(embedder, at_depth, depth, folder.name, model)
    return rows


def thinned(study: HeldOut, counts_per_sample: int) -> HeldOut:
    """The same samples with about `counts_per_sample` counts over the genes that the study measured."""
    adata = study.adata.copy()
    adata.X = thin_counts(adata.X, counts_per_sample, THINNING_SEED)
    return HeldOut(adata=adata, labels=study.labels, identity=study.identity, left_out=study.left_out)


def _score(embedder: _Embedder, study: HeldOut, depth: str, name: str, model: PretrainedModel) -> list[Row]:
    embedding = embedder.embed(study)
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(study.labels)
    settings = [
        (embedder.name, "raw", embedding, study.labels),
        (embedder.name, "standardised", standardise(embedding), study.labels),
    ]
    if embedder.name == "txfm":
        settings.append(("shuffled_labels", "raw", embedding, shuffled))
    with threadpool_limits(PROBE_THREADS):
        scores = [
            {metric: measure(vectors, labels) for metric, measure in METRICS.items()}
            for _, _, vectors, labels in settings
        ]
    return [
        Row(
            model=name,
            variant=model.card["variant"]["name"],
            seed=int(model.card["seed"]),
            samples_seen=int(model.card["samples_seen"]),
            embedder=title,
            genes=embedder.genes,
            scaling=scaling,
            depth=depth,
            n_genes=len(embedder.gene_ids),
            median_counts=float(np.median(np.asarray(study.counts(embedder.gene_ids).sum(axis=1)))),
            n_dimensions=embedding.shape[1],
            n_training_samples=embedder.n_training_samples,
            scores=scores_of_setting,
        )
        for (title, scaling, _, _), scores_of_setting in zip(settings, scores, strict=True)
    ]


def _embedders(
    model: PretrainedModel, study: HeldOut, corpus: Path, baselines: dict[tuple[str, tuple[str, ...], float], Pca]
) -> Iterator[_Embedder]:
    variant = model.card["variant"]["name"]
    measured = set(study.measured_ids)
    known = tuple(gene for gene in model.vocabulary.ensembl_ids if gene in measured)
    n_training = sum(entry["n_samples"] for entry in model.card["training_studies"].values())
    yield _Embedder(name="txfm", genes="vocabulary", gene_ids=known, n_training_samples=n_training, model=model)
    yield _Embedder(
        name="untrained", genes="vocabulary", gene_ids=known, n_training_samples=0, model=untrained_twin(model)
    )
    shared = shared_genes(_open_training(corpus, variant), study)
    own = set(model.vocabulary.ensembl_ids)
    library_size = model.config.library_size_counts
    gene_sets = {"vocabulary": subset(shared, own), "all": shared}
    for title, genes in gene_sets.items():
        if len(genes) < 2:
            print(f"  no PCA on {title} genes: {len(genes)} genes are measured by every study", flush=True)
            continue
        key = (variant, genes.ensembl_ids, library_size)
        if key not in baselines:
            baselines[key] = fit_pca_on_corpus(_open_training(corpus, variant, genes), library_size)
        yield _Embedder(
            name="pca",
            genes=title,
            gene_ids=genes.ensembl_ids,
            n_training_samples=baselines[key].n_samples,
            pca=baselines[key],
            library_size=library_size,
        )


def _open_training(corpus: Path, variant: str, genes: Vocabulary | None = None) -> Corpus:
    return open_corpus(
        corpus, variant, "train", batch_size=READER_BATCH_SAMPLES, seed=0, shuffle=False, vocabulary=genes
    )


def shared_genes(training: Corpus, study: HeldOut) -> Vocabulary:
    """Genes that every training study and the held-out study measured: among these, every zero is a measured zero."""
    everywhere = np.all(training.measured, axis=0).tolist()
    ids = [gene for gene, known in zip(training.vocabulary.ensembl_ids, everywhere, strict=True) if known]
    return subset(training.vocabulary, set(ids) & set(study.measured_ids))


def subset(vocabulary: Vocabulary, ensembl_ids: set[str]) -> Vocabulary:
    """The genes of a vocabulary that are among `ensembl_ids`, in its order."""
    chosen = [index for index, gene in enumerate(vocabulary.ensembl_ids) if gene in ensembl_ids]
    return Vocabulary(
        axis_positions=vocabulary.axis_positions[chosen],
        ensembl_ids=tuple(vocabulary.ensembl_ids[index] for index in chosen),
        symbols=tuple(vocabulary.symbols[index] for index in chosen),
    )


def untrained_twin(model: PretrainedModel) -> PretrainedModel:
    """A model of the same shape whose encoder has the weights that `model` had before its first step."""
    network = TxFM(model.config, len(model.vocabulary))
    seed = int(model.card["seed"])
    network.initialise(torch.zeros(len(model.vocabulary)), seeded_generator(torch.device("cpu"), "weights", seed))
    return PretrainedModel(network.to(model.device).requires_grad_(False).eval(), model.vocabulary, model.card)
