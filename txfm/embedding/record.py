"""What is written beside vectors: which model made them, and how."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from txfm.artifact.format import WEIGHTS
from txfm.artifact.provenance import txfm_version
from txfm.embedding.options import EmbeddingOptions


def record_of(model: str, card: dict[str, Any], options: EmbeddingOptions) -> dict[str, Any]:
    """Model and options, as texts and numbers that every kind of file can hold.

    Parameters
    ----------
    model : str
        Folder or address.
    card : dict
        Of the model: docs/model-format.md. The sha256 of its weights tells it from any other.
    options : EmbeddingOptions
    """
    known: dict[str, Any] = {
        "model": model if "://" in model else Path(model).resolve().name,
        "kind": card["kind"],
        "weights_sha256": card["files"].get(WEIGHTS, {}).get("sha256"),
        "trained_on_variant": card["variant"]["name"],
        "trained_on_variant_digest": card["variant"]["digest"],
        "samples_seen": int(card["samples_seen"]),
        "txfm_version": txfm_version(),
    }
    chosen = {name: value for name, value in asdict(options).items() if name != "batch_size"}
    known |= chosen | {"genes": str(options.genes)}
    return {name: value for name, value in known.items() if value is not None}
