"""Samples of a store that a model was trained on under another name, found by fingerprints (docs/corpus-format.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from txfm.corpus.places import place_of
from txfm.corpus.variant import Variant, read_variant
from txfm.errors import InputError
from txfm.loading import find_artifact

# Of a sample with less, another one may have the same counts by chance: as curation compares them
MIN_COUNTS, MIN_GENES = 100, 30
COLUMNS = ("n_genes", "library_size", "fingerprint")


def compare_with_training(store: Path, models: Sequence[str | Path], corpus: Path | None) -> list[str]:
    """Refuse a store that shares samples with what some models were trained on; without a corpus nothing is compared.

    Parameters
    ----------
    store : Path
    models : sequence of path or str
        As `txfm.load` takes them.
    corpus : Path, optional
        That all of them were trained on.

    Returns
    -------
    list of str
        A warning for each variant that could not be compared.

    Raises
    ------
    InputError
        See `refuse_shared_samples`; or the corpus is not that of a model.
    """
    if corpus is None:
        return []
    variants: dict[str, Variant] = {}
    for source in models:
        card = find_artifact(source, verify=False).card
        variant = read_variant(place_of(corpus), card["variant"]["name"])
        refuse_other_variant(source, card, variant)
        variants[variant.name] = variant
    return [not_compared(name) for name, each in variants.items() if not refuse_shared_samples(store, corpus, each)]


def not_compared(variant: str) -> str:
    """The warning where `refuse_shared_samples` could not tell."""
    return f"Samples were not compared with those of variant {variant}: some have no fingerprints"


def refuse_other_variant(model: str | Path, card: Mapping[str, Any], variant: Variant) -> None:
    """Refuse a corpus whose variant of that name is not the one that a model was trained on.

    Raises
    ------
    InputError
        The digests differ.
    """
    if card["variant"]["digest"] != variant.digest:
        raise InputError(
            f"Variant {variant.name} of this corpus is not what the model was trained on",
            where=str(model),
            expected=card["variant"]["digest"],
            found=variant.digest,
            todo="name the corpus that the model was trained on, or train the model again",
        )


def refuse_shared_samples(store: Path, corpus: Path, variant: Variant) -> bool:
    """Refuse a store that shares samples with those that a model was trained or validated on, whatever their study.

    Parameters
    ----------
    store : Path
        Of the study that is scored on.
    corpus : Path
    variant : Variant
        Of the model, in that corpus.

    Returns
    -------
    bool
        Whether all stores have fingerprints; those of format 0.1 have none, and are not compared.

    Raises
    ------
    InputError
        Some samples are the same; the message counts them by study.
    """
    own, is_complete = fingerprints(store), True
    shared: dict[str, int] = {}
    for entry in variant.stores:
        found = fingerprints(corpus / entry.path)
        if own is None or found is None:
            is_complete = False
        elif n := int(np.isin(own, found).sum()):
            shared[entry.study] = shared.get(entry.study, 0) + n
    if shared:
        raise InputError(
            "Samples of this store were trained on: a comparison on them says nothing about unseen data",
            where=str(store),
            expected=f"no sample of a training study of variant {variant.name}",
            found=", ".join(f"{n:,} samples of {study}" for study, n in sorted(shared.items())),
            todo="evaluate on another study, or leave these samples out of training (recipe field `drop_samples_of`)",
        )
    return is_complete


def fingerprints(store: Path) -> np.ndarray | None:
    """Those of a store's samples with enough counts, uint64; None where the store has none."""
    if not all((store / "obs" / name / "zarr.json").is_file() for name in COLUMNS):
        return None
    n_genes, library_size, values = (np.asarray(zarr.open_array(store / "obs" / name, mode="r")[:]) for name in COLUMNS)
    return values[(n_genes >= MIN_GENES) & (library_size >= MIN_COUNTS)]
