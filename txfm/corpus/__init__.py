"""Reading a corpus: `open_corpus` streams batches of a variant, `as_anndata` opens one store."""

from txfm.corpus.as_anndata import as_anndata
from txfm.corpus.batch import Batch, TorchBatch
from txfm.corpus.opening import DEFAULT_MEMORY_BYTES, open_corpus
from txfm.corpus.stream import Corpus

__all__ = ["DEFAULT_MEMORY_BYTES", "Batch", "Corpus", "TorchBatch", "as_anndata", "open_corpus"]
