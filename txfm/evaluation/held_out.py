"""The study that models are compared on, and the checks that it is one they have not seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import scipy.sparse as sp
import zarr

from txfm.artifact.provenance import seen_among, studies_seen
from txfm.booleans import strict_booleans
from txfm.corpus.variant import Variant
from txfm.errors import InputError
from txfm.evaluation.probes import N_FOLDS
from txfm.evaluation.shared_samples import refuse_other_variant

LABEL_COLUMNS = ("cell_line", "cell_type", "perturbation", "tissue", "donor", "batch")
EXPECTED = "a .zarr folder written by `curate-evaluation`"


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Labelled samples of a held-out study.

    Attributes
    ----------
    path : Path
        Of the store.
    adata : anndata.AnnData
        Raw counts (CSR) of the genes that the study measured, and of no other.
    labels : numpy.ndarray (n_samples,), str
    identity : dict
        study, recipe, digest, simulated and label of the store.
    left_out : dict
        Number of samples by the reason why they are not compared.
    """

    path: Path
    adata: anndata.AnnData
    labels: np.ndarray
    identity: dict[str, Any]
    left_out: dict[str, int]

    @property
    def measured_ids(self) -> list[str]:
        """Ensembl ids of the genes that the study measured."""
        return self.adata.var_names.tolist()

    def counts(self, gene_ids: list[str] | tuple[str, ...]) -> sp.csr_matrix:
        """Raw counts (n_samples, n) of the given genes, in their order."""
        return self.adata.X[:, self.adata.var_names.get_indexer(list(gene_ids))]


def read_held_out(store: Path, label: str, max_samples: int) -> HeldOut:
    """Read the labelled samples of a store.

    Parameters
    ----------
    store : Path
        Of a held-out study.
    label : str
        Column of obs. Samples without a label, and classes with fewer samples than the probe has folds, are left out.
    max_samples : int
        A larger study is reduced to this many samples, drawn with seed 0.

    Raises
    ------
    InputError
        There is no such store, it is none of ours, it has no such column, or fewer than two classes are left.
    """
    group = _open_store(store)
    # element by element: other files in the store's folder, such as a workflow's time stamps, are no concern of ours
    elements = {name: anndata.io.read_elem(group[name]) for name in ("X", "obs", "var")}
    counts = elements["X"]
    if isinstance(counts, sp.csr_matrix | sp.csr_array):  # indices of few genes are stored as uint16
        counts = (counts.data, counts.indices.astype(np.int32), counts.indptr)
    shape = (len(elements["obs"]), len(elements["var"]))
    adata = anndata.AnnData(X=sp.csr_matrix(counts, shape=shape), obs=elements["obs"], var=elements["var"])
    missing = [f"obs[{name!r}]" for name in ("study", "simulated") if name not in adata.obs]
    if missing or "measured" not in adata.var:
        raise _no_store(store, "no " + ", ".join([*missing, *([] if "measured" in adata.var else ["var['measured']"])]))
    if label not in adata.obs:
        usable = [name for name in LABEL_COLUMNS if name in adata.obs and adata.obs[name].astype(str).ne("").any()]
        raise InputError(f"There is no column {label!r}", where=str(store), expected=", ".join(usable), found=label)
    column = adata.obs[label]
    labels = np.where(column.isna(), "", column.astype(str)).astype(str)
    rows = np.flatnonzero(labels != "")
    left_out = {"no label": len(labels) - len(rows)}
    if len(rows) > max_samples:
        left_out[f"beyond a random {max_samples:,}"] = len(rows) - max_samples
        rows = np.sort(np.random.default_rng(0).choice(rows, max_samples, replace=False))
    names, sizes = np.unique(labels[rows], return_counts=True)
    large = np.isin(labels[rows], names[sizes >= N_FOLDS])
    left_out[f"class of fewer than {N_FOLDS} samples"] = int((~large).sum())
    rows = rows[large]
    if len(np.unique(labels[rows])) < 2:
        raise InputError(
            "Fewer than two classes can be compared",
            where=f"column {label} of {store}",
            expected=f"two classes with at least {N_FOLDS} samples each",
            found=", ".join(f"{name}: {size}" for name, size in zip(names, sizes, strict=True)) or "no label",
            todo="choose another --label",
        )
    identity = {
        "study": str(adata.obs["study"].iloc[0]),
        "recipe": group.attrs.get("recipe", ""),
        "digest": group.attrs.get("digest", ""),
        "simulated": bool(strict_booleans(adata.obs["simulated"], f"{store}, obs['simulated']").any()),
        "label": label,
    }
    samples = adata[rows, strict_booleans(adata.var["measured"], f"{store}, var['measured']")].copy()
    samples.X = sp.csr_matrix(samples.X)
    return HeldOut(
        path=store,
        adata=samples,
        labels=labels[rows],
        identity=identity,
        left_out={reason: number for reason, number in left_out.items() if number},
    )


def _open_store(store: Path) -> zarr.Group:
    if not store.exists():
        raise InputError("There is no such store", where=str(store), expected=EXPECTED)
    if not (store / "zarr.json").is_file():
        raise _no_store(store, "zarr format 2" if (store / ".zgroup").is_file() else "no zarr.json")
    return zarr.open_group(store, mode="r")


def _no_store(store: Path, found: str) -> InputError:
    return InputError(
        "This is no store of a held-out study",
        where=str(store),
        expected=EXPECTED,
        found=found,
        todo="score any other file by `txfm evaluate cells`",
    )


def refuse_leakage(study: str, model_folder: Path, card: Mapping[str, Any], variant: Variant) -> None:
    """Refuse a study that the model was trained or validated on, and a corpus that is not the model's.

    Parameters
    ----------
    study : str
        Of the held-out store.
    model_folder : Path
        For the message.
    card : mapping
        The model's model.json.
    variant : Variant
        The manifest of the model's variant in the corpus at hand.

    Raises
    ------
    InputError
        The study is among the training studies of the model or of one that it was fine-tuned from, or among the
        variant's stores; or the variant's digest differs.
    """
    if seen_among([study], card) or study in variant.studies:
        raise InputError(
            f"The model was trained on {study}: a comparison on it says nothing about unseen data",
            where=str(model_folder),
            expected=f"a study other than {', '.join(sorted(studies_seen(card) | set(variant.studies)))}",
            found=study,
            todo="evaluate on a held-out study, or on a model whose variant leaves this study out",
        )
    refuse_other_variant(model_folder, card, variant)
