"""Dense tables as text, either way round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from curation.blocks import Block, csr_from_dense, rows_per_block
from curation.catalog import Part
from curation.readers.text import header_of, join_metadata, numeric_chunks, read_metadata, separator_of
from curation.spool import TripletSpool


class DenseTextReader:
    """`matrix`: csv or tsv, plain or gz, one header line, names in the first column; `metadata`: optional table."""

    def __init__(self, part: Part, sources: Path, scratch: Path, *, skip: int = 0, n_labels: int = 1) -> None:
        self._path = sources / part.files["matrix"]
        self._separator = "\t" if skip else separator_of(self._path)
        self._skip = skip + 1
        self._n_labels = n_labels
        self._scratch = scratch
        self._spool: TripletSpool | None = None
        columns = header_of(self._path, self._separator, skip=skip)[n_labels - 1 :]
        self._genes_are_rows = part.orientation == "genes_by_samples"
        if self._genes_are_rows:
            self.gene_ids, sample_ids = self._turn(len(columns)), columns
        else:
            self.gene_ids = columns
            sample_ids = [name for names, _ in self._chunks(len(columns)) for name in names]
        metadata = read_metadata(sources / part.files["metadata"]) if "metadata" in part.files else None
        self._obs = join_metadata(sample_ids, metadata, where=str(self._path))

    def _chunks(self, n_values: int) -> Iterator[tuple[list[str], np.ndarray]]:
        return numeric_chunks(
            self._path, separator=self._separator, n_values=n_values, skip=self._skip, n_labels=self._n_labels
        )

    def _turn(self, n_samples: int) -> list[str]:
        """Spool a genes-by-samples table sample by sample; return its gene ids."""
        gene_ids: list[str] = []
        # the number of genes is not known before the end; 60,000 is above every annotation of catalogue studies
        spool = TripletSpool(
            self._scratch, n_rows=n_samples, n_columns=2**31 - 1, rows_per_run=rows_per_block(60_000, density=0.5)
        )
        for names, values in self._chunks(n_samples):
            genes, samples = np.nonzero(values)
            spool.append(samples, genes + len(gene_ids), values[genes, samples])
            gene_ids += names
        self._spool = spool
        return gene_ids

    @property
    def n_samples(self) -> int:
        """Samples of the table."""
        return len(self._obs)

    def blocks(self) -> Iterator[Block]:
        """Yield the samples in file order."""
        n_genes = len(self.gene_ids)
        if self._spool is not None:
            for first, counts in self._spool.blocks():
                counts = sparse.csr_matrix(
                    (counts.data, counts.indices, counts.indptr), shape=(counts.shape[0], n_genes)
                )
                yield Block(counts=counts, obs=self._obs.iloc[first : first + counts.shape[0]])
            return
        first = 0
        for names, values in self._chunks(n_genes):
            yield Block(counts=csr_from_dense(values), obs=self._obs.iloc[first : first + len(names)])
            first += len(names)

    def close(self) -> None:
        """Remove the temporary runs."""
        if self._spool is not None:
            self._spool.close()
