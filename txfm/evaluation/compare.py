"""Every model, its baselines and its controls on one held-out study."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from txfm.baselines import fit
from txfm.baselines.model import Baseline
from txfm.baselines.training_samples import open_training, shared_genes
from txfm.corpus.places import place_of
from txfm.corpus.variant import read_variant
from txfm.embedder import Embedder
from txfm.errors import InputError
from txfm.evaluation.held_out import HeldOut, refuse_leakage
from txfm.evaluation.probes import Score, clustering_nmi, few_shot, linear_probe, standardise
from txfm.evaluation.scores import reason_of
from txfm.evaluation.shared_samples import not_compared, refuse_shared_samples
from txfm.evaluation.thinning import thin_counts
from txfm.loading import load
from txfm.masking import seeded_generator
from txfm.model import TxFM
from txfm.pretrained import PretrainedModel

METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Score]] = {
    "linear_probe": linear_probe,
    "few_shot": few_shot,
    "nmi": clustering_nmi,
}
PROBE_THREADS = 1  # on two busy cores, 240 cells x 50: 0.3 s with one thread, 4 s with two that wait for each other
THINNING_SEED = 0
SHUFFLE_SEED = 0


FitKey = tuple[str, tuple[str, ...], float]  # variant, genes and library size of a PCA


@dataclass(frozen=True, kw_only=True)
class _SettingScores:
    """Scores of an embedding in one setting."""

    embedder: str
    scaling: str
    n_dimensions: int
    scores: dict[str, Score]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Scores of one embedder on one depth of counts.

    Attributes
    ----------
    model, variant, seed, samples_seen : str, str, int, int
        The model that the row belongs to; a PCA that is fitted here belongs to the TxFM on whose training samples.
    embedder : {"txfm", "untrained", "pca", "lognorm", "hvg", "scvi", "shuffled_labels"}
    genes : {"vocabulary", "all"}
        Of a PCA that is fitted here; all others have a vocabulary of their own.
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
class _Candidate:
    """An embedder, and what its rows say of it; `fit_key` of a PCA is the same for models that share it."""

    name: str
    genes: str
    gene_ids: tuple[str, ...]
    n_training_samples: int
    embedder: Embedder
    fit_key: FitKey | None = None


def compare(
    study: HeldOut, corpus: Path, model_folders: list[Path], counts_per_sample: int, device: str
) -> tuple[list[Row], dict[str, str]]:
    """Score every model; beside a TxFM also an untrained twin, PCA on its training samples, and shuffled labels.

    Parameters
    ----------
    study : HeldOut
    corpus : Path
        The corpus that the models were trained on; PCA is fitted on its training stores.
    model_folders : list of Path
        Trained models and fitted baselines.
    counts_per_sample : int
        Of the thinned counts.
    device : str
        Of the models.

    Returns
    -------
    list of Row
    dict of str to str
        Models that cannot embed the study, and why.

    Raises
    ------
    InputError
        A model has seen the study or some of its samples, or belongs to another corpus; or none can embed it.
    """
    models = [load(folder, device) for folder in model_folders]
    variants = [read_variant(place_of(corpus), model.card["variant"]["name"]) for model in models]
    for folder, model, variant in zip(model_folders, models, variants, strict=True):
        refuse_leakage(study.identity["study"], folder, model.card, variant)
    for variant in {variant.name: variant for variant in variants}.values():
        if not refuse_shared_samples(study.path, corpus, variant):
            print(f"warning: {not_compared(variant.name)}", flush=True)
    depths = {"full": study, "thinned": thinned(study, counts_per_sample)}
    fitted: dict[FitKey, Baseline] = {}
    scored: dict[tuple[FitKey, str], list[_SettingScores]] = {}
    rows: list[Row] = []
    refused: dict[str, str] = {}
    for folder, model in zip(model_folders, models, strict=True):
        print(f"comparing {folder.name}", flush=True)
        try:
            rows += [
                row
                for candidate in _candidates(model, study, corpus, fitted)
                for depth, at_depth in depths.items()
                for row in _rows(candidate, at_depth, depth, folder.name, model, scored)
            ]
        except InputError as error:
            refused[folder.name] = reason_of(error)
    if not rows:
        raise InputError("Nothing could be scored", where=study.identity["study"], found="; ".join(refused.values()))
    return rows, refused


def thinned(study: HeldOut, counts_per_sample: int) -> HeldOut:
    """The same samples with about `counts_per_sample` counts over the genes that the study measured."""
    adata = study.adata.copy()
    adata.X = thin_counts(adata.X, counts_per_sample, THINNING_SEED)
    return replace(study, adata=adata)


def _rows(
    candidate: _Candidate,
    study: HeldOut,
    depth: str,
    name: str,
    model: Embedder,
    scored: dict[tuple[FitKey, str], list[_SettingScores]],
) -> list[Row]:
    key = candidate.fit_key and (candidate.fit_key, depth)
    settings = scored[key] if key in scored else _score(candidate, study)
    if key is not None:
        scored[key] = settings
    return [
        Row(
            model=name,
            variant=model.card["variant"]["name"],
            seed=int(model.card["seed"]),
            samples_seen=int(model.card["samples_seen"]),
            embedder=setting.embedder,
            genes=candidate.genes,
            scaling=setting.scaling,
            depth=depth,
            n_genes=len(candidate.gene_ids),
            median_counts=float(np.median(np.asarray(study.counts(candidate.gene_ids).sum(axis=1)))),
            n_dimensions=setting.n_dimensions,
            n_training_samples=candidate.n_training_samples,
            scores=setting.scores,
        )
        for setting in settings
    ]


def _score(candidate: _Candidate, study: HeldOut) -> list[_SettingScores]:
    """Raw and standardised; and of a TxFM with shuffled labels, too."""
    embedding = candidate.embedder.embed(study.adata, verbose=False).astype(np.float64)

    def score(title: str, scaling: str, vectors: np.ndarray, labels: np.ndarray, **known: Score) -> _SettingScores:
        with threadpool_limits(PROBE_THREADS):
            scores = {
                name: known[name] if name in known else measure(vectors, labels) for name, measure in METRICS.items()
            }
        return _SettingScores(embedder=title, scaling=scaling, n_dimensions=vectors.shape[1], scores=scores)

    raw = score(candidate.name, "raw", embedding, study.labels)
    probe = raw.scores["linear_probe"]  # it standardises by itself
    settings = [
        raw,
        score(candidate.name, "standardised", standardise(embedding), study.labels, linear_probe=probe),
    ]
    if candidate.name == "txfm":
        shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(study.labels)
        settings.append(score("shuffled_labels", "raw", embedding, shuffled))
    return settings


def _candidates(model: Embedder, study: HeldOut, corpus: Path, fitted: dict[FitKey, Baseline]) -> Iterator[_Candidate]:
    """The model; and beside a TxFM its untrained twin, and PCA of its training samples over genes that all measured."""
    measured = set(study.measured_ids)
    known = tuple(gene for gene in model.vocabulary.ensembl_ids if gene in measured)
    n_training = sum(entry["n_samples"] for entry in model.card["training_studies"].values())
    of_model = _Candidate(
        name=model.card["kind"], genes="vocabulary", gene_ids=known, n_training_samples=n_training, embedder=model
    )
    yield of_model
    if not isinstance(model, PretrainedModel):
        return
    yield replace(of_model, name="untrained", n_training_samples=0, embedder=untrained_twin(model))
    variant, library_size = model.card["variant"]["name"], model.config.library_size_counts
    shared = shared_genes(open_training(corpus, variant), measured)
    own = set(model.vocabulary.ensembl_ids)
    in_vocabulary = np.array([i for i, gene in enumerate(shared.ensembl_ids) if gene in own], dtype=np.int64)
    for title, genes in {"vocabulary": shared.subset(in_vocabulary), "all": shared}.items():
        if len(genes) < 2:
            print(f"  no PCA on {title} genes: {len(genes)} genes are measured by every study", flush=True)
            continue
        key = (variant, genes.ensembl_ids, library_size)
        if key not in fitted:
            fitted[key] = fit.pca(open_training(corpus, variant, vocabulary=genes), library_size=library_size)
        n_fitted = fitted[key].card["samples_seen"]
        yield _Candidate(
            name="pca",
            genes=title,
            gene_ids=genes.ensembl_ids,
            n_training_samples=n_fitted,
            embedder=fitted[key],
            fit_key=key,
        )


def untrained_twin(model: PretrainedModel) -> PretrainedModel:
    """A model of the same shape whose encoder has the weights that `model` had before its first step."""
    network = TxFM(model.config, len(model.vocabulary))
    seed = int(model.card["seed"])
    network.initialise(torch.zeros(len(model.vocabulary)), seeded_generator(torch.device("cpu"), "weights", seed))
    return PretrainedModel(network.to(model.device).requires_grad_(False).eval(), model.vocabulary, model.card)
