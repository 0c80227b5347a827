"""TxFM: a masked autoencoder over gene expression, trained on DiverseRNA.

``txfm.load(folder)`` opens a trained model and ``txfm.open_corpus(...)`` a variant of a corpus. Both are imported on
first use, so ``import txfm`` itself costs nothing and does not import torch.
"""

from typing import TYPE_CHECKING, Any

from txfm.errors import InputError

if TYPE_CHECKING:
    from txfm.corpus import open_corpus
    from txfm.pretrained import load

__all__ = ["InputError", "load", "open_corpus"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from txfm.pretrained import load

        return load
    if name == "open_corpus":
        from txfm.corpus import open_corpus

        return open_corpus
    raise AttributeError(f"module 'txfm' has no attribute {name!r}")
