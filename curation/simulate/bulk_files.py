"""Write bulk tables: GDC's STAR count files behind a receipt, and GTEx's GCT table with sample attributes."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import uuid
from pathlib import Path

import numpy as np
import polars as pl

from curation.simulate.study import SimulatedPart

RECEIPT_COLUMNS = ("file_id", "file_name", "md5", "size", "aliquot", "case", "project", "primary_site", "sample_type")
STAR_COLUMNS = (
    "gene_id",
    "gene_name",
    "gene_type",
    "unstranded",
    "stranded_first",
    "stranded_second",
    "tpm_unstranded",
    "fpkm_unstranded",
    "fpkm_uq_unstranded",
)
# Genes of a GCT table that are turned round at a time
GENES_AT_A_TIME = 512


def write_star_counts(part: SimulatedPart, receipt: Path) -> None:
    """Write one augmented STAR count file an aliquot, and the receipt that lists them.

    The receipt names the files by their full path, so that it can be copied without them.
    """
    folder = receipt.with_suffix("").resolve()
    with receipt.open("w") as listing:
        listing.write("\t".join((*RECEIPT_COLUMNS, "path")) + "\n")
        for samples in part.blocks():
            counts = samples.counts.toarray()
            for i, aliquot in enumerate(samples.ids):
                file_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"simulated:{aliquot}"))
                path = folder / file_id / f"{file_id}.rna_seq.augmented_star_gene_counts.tsv"
                path.parent.mkdir(parents=True, exist_ok=True)
                text = _star_text(part, counts[i])
                path.write_bytes(text)
                md5 = hashlib.md5(text, usedforsecurity=False).hexdigest()
                known = {name: values[i] for name, values in samples.obs.items()}
                row = {"file_id": file_id, "file_name": path.name, "md5": md5, "size": len(text), "aliquot": aliquot}
                listing.write("\t".join(str((row | known)[name]) for name in RECEIPT_COLUMNS) + f"\t{path}\n")


def _star_text(part: SimulatedPart, counts: np.ndarray) -> bytes:
    """Return one file: comment, header, four rows that are no genes, genes; TPM stands where a reader might look."""
    total = max(1, int(counts.sum()))
    scaled = counts * (1e6 / total)
    table = pl.DataFrame(
        {
            "gene_id": part.genes.ids,
            "gene_name": part.genes.labels,
            "gene_type": ["protein_coding"] * len(part.genes),
            "unstranded": counts,
            "stranded_first": counts // 2,
            "stranded_second": counts - counts // 2,
            "tpm_unstranded": scaled.round(4),
            "fpkm_unstranded": (scaled / 2).round(4),
            "fpkm_uq_unstranded": (scaled / 3).round(4),
        }
    )
    notes = ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    rows = "".join(f"{name}\t\t\t{total // 10}\t{total // 10}\t{total // 10}\t\t\t\n" for name in notes)
    head = "# gene-model: GENCODE v36\n" + "\t".join(STAR_COLUMNS) + "\n" + rows
    return head.encode() + table.write_csv(include_header=False, separator="\t").encode()


def write_gct(part: SimulatedPart, table: Path, attributes: Path) -> None:
    """Write a GCT 1.2 table, genes by samples, and the attributes of samples, one of which the table lacks."""
    with tempfile.TemporaryDirectory(dir=table.parent, prefix=".gct") as scratch:
        values = np.lib.format.open_memmap(
            Path(scratch) / "counts.npy", mode="w+", dtype=np.int32, shape=(part.n_samples, len(part.genes))
        )
        ids: list[str] = []
        with attributes.open("w") as listing:
            for samples in part.blocks():
                if not samples.first:
                    listing.write("\t".join(["SAMPID", *samples.obs]) + "\n")
                values[samples.first : samples.first + len(samples.ids)] = samples.counts.toarray()
                ids += samples.ids
                for i, sample in enumerate(samples.ids):
                    if samples.has_metadata[i]:
                        listing.write("\t".join([sample, *(column[i] for column in samples.obs.values())]) + "\n")
            listing.write("\t".join(["GTEX-ZZZZZ-9999-SM-OTHER", *("" for _ in samples.obs)]) + "\n")
        partial = table.with_name(f"{table.name}.part")
        # Name and time stay out of the gzip header: the same seed gives the same bytes
        with partial.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as target:
            target.write(f"#1.2\n{len(part.genes)}\t{part.n_samples}\n".encode())
            target.write(("\t".join(["Name", "Description", *ids]) + "\n").encode())
            for first in range(0, len(part.genes), GENES_AT_A_TIME):
                rows = slice(first, first + GENES_AT_A_TIME)
                lines = np.ascontiguousarray(values[:, rows].T).tolist()
                for gene, label, counts in zip(part.genes.ids[rows], part.genes.labels[rows], lines, strict=True):
                    target.write("\t".join([gene, label, *map(str, counts)]).encode() + b"\n")
        partial.replace(table)
