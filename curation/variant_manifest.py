"""What a manifest says of its stores: digest, masks of measured genes, vocabulary, totals (docs/corpus-format.md)."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from curation.digest import combined_digest

# Attributes of a store that the manifests repeat
STORE_FIELDS = (
    "study",
    "recipe",
    "split",
    "assay",
    "simulated",
    "count_kind",
    "n_samples",
    "n_genes_measured",
    "nnz",
    "digest",
)


def measured_mask(store: Path) -> np.ndarray:
    """Return which genes of the axis a store's study measured."""
    mask: np.ndarray = np.asarray(zarr.open_array(store / "var" / "measured", mode="r")[:], dtype=bool)
    return mask


def pack_mask(mask: np.ndarray) -> str:
    """Return a mask over the axis as text: its bits, the first gene the lowest, compressed by zlib, in base 64."""
    return base64.b64encode(zlib.compress(np.packbits(mask, bitorder="little").tobytes(), 9)).decode()


def unpack_mask(text: str, n_genes: int) -> np.ndarray:
    """Return the mask that `pack_mask` packed.

    Raises
    ------
    ValueError
        The text is damaged, or of an axis of another length.
    """
    try:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    except zlib.error as error:
        raise ValueError(f"a mask is damaged: {error}") from error
    if len(bits) != -(-n_genes // 8):
        raise ValueError(f"a mask has {len(bits)} bytes, not those of {n_genes} genes")
    return np.unpackbits(bits, count=n_genes, bitorder="little").astype(bool)


def vocabulary_of(masks: Iterable[np.ndarray]) -> dict[str, Any]:
    """Return size and sum of the genes that at least one study measured."""
    positions = np.flatnonzero(np.logical_or.reduce(list(masks))).tolist()
    return {"n_genes": len(positions), "axis_positions_sha256": _positions_digest(positions)}


def train_members(stores: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the stores that the links of a variant lead to, in the order of the links."""
    return [store for store in stores if store["split"] == "train" and store["n_samples"]]


def manifest_digest(axis_sha256: str, stores: Iterable[Mapping[str, Any]]) -> str:
    """Return the digest of a set of stores: the axis and each store's path and content."""
    return combined_digest({"axis": axis_sha256} | {str(store["path"]): str(store["digest"]) for store in stores})


def _positions_digest(positions: Sequence[int]) -> str:
    return hashlib.sha256("\n".join(map(str, positions)).encode()).hexdigest()


def totals_of(stores: Iterable[Mapping[str, Any]], split: str) -> dict[str, int]:
    """Return samples and non-zeros of the stores of a split."""
    chosen = [store for store in stores if store["split"] == split]
    totals = {field: sum(int(store[field]) for store in chosen) for field in ("n_samples", "nnz")}
    for assay in ("sc", "bulk"):
        totals[f"n_samples_{assay}"] = sum(int(store["n_samples"]) for store in chosen if store["assay"] == assay)
    return totals
