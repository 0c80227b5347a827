"""TxFM: a masked autoencoder over gene expression, trained on DiverseRNA.

``txfm.load(folder)`` opens a trained model or a fitted baseline, ``txfm.open_corpus(...)`` a variant of a corpus,
``txfm.as_anndata(...)`` one of its stores. They are imported on first use: ``import txfm`` itself costs nothing and
does not import torch.
"""

from typing import TYPE_CHECKING, Any

from txfm.errors import InputError

if TYPE_CHECKING:
    from txfm.corpus import as_anndata, open_corpus
    from txfm.loading import load

__all__ = ["InputError", "as_anndata", "load", "open_corpus"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from txfm.loading import load

        return load
    if name in ("as_anndata", "open_corpus"):
        import txfm.corpus

        return getattr(txfm.corpus, name)
    raise AttributeError(f"module 'txfm' has no attribute {name!r}")
