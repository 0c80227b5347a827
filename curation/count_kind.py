"""Whether the numbers of a matrix are of the kind that the catalogue says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath

import numpy as np
from scipy import sparse

from curation.blocks import PartReader
from curation.catalog import Study
from curation.errors import InputError
from curation.kind_evidence import Kind, detect_kind, examples
from curation.labels import label_samples
from curation.qc import kinds_of
from curation.value_traits import Traits, measure

# Up to 1,024 samples spread over the file: enough to meet every technology that has a share of 1 in 100 ...
N_BLOCKS, N_ROWS = 16, 64
# ... and as few as 64 of deep ones: 1,024 bulk samples of 50,000 genes would be 0.6 GB
FEW_ROWS, N_VALUES = 4, 2**21
# Kinds that a catalogue can state and a detected kind that contradicts each; what is no count contradicts all of them
NO_COUNTS = ("scaled", "log", "normalised", "fractions")
CONTRADICTIONS = {
    "umi": (*NO_COUNTS, "expected", "coverage", "smartseq_tpm", "reads"),
    "reads": (*NO_COUNTS, "expected", "coverage", "smartseq_tpm", "umi"),
    "expected": (*NO_COUNTS, "coverage", "smartseq_tpm"),
    "smartseq_tpm": (*NO_COUNTS, "expected", "coverage", "umi"),
    "coverage": (*NO_COUNTS, "expected"),
    "mixed": (*NO_COUNTS, "expected", "coverage"),
}
WHAT = {
    "scaled": "{n} of the {of} values looked at are negative",
    "log": "{n} of the {of} values looked at are not integers but logarithms",
    "normalised": "these values are normalised to one total, not counts",
    "fractions": "{n} of the {of} values looked at are not integers",
    "expected": "{n} of the {of} values looked at are not integers",
    "coverage": "these integers are too large for counts of reads: base-pair coverage",
    "smartseq_tpm": "these integers are rounded TPM, not counts",
    "umi": "these counts are too few for reads without UMI",
    "reads": "these counts are too many for UMI counts of single cells",
}


def check_count_kind(reader: PartReader, study: Study, part_name: str) -> None:
    """Compare some samples of a part with what the catalogue says of their kind.

    Parameters
    ----------
    reader : PartReader
        `some_blocks` is read, and `other_matrices()` where the reader has it: pairs of a matrix's name in the same file
        and whether its values look like counts.
    study : Study
        `count_kind`, and `count_kinds_by_technology` where `obs.technology` says what each sample is.
    part_name : str

    Raises
    ------
    InputError
        A value is missing or infinite, or the values contradict the kind; the message shows values and the way out.
    """
    for technology, traits in _traits_by_technology(reader, study, part_name).items():
        says = str(kinds_of(np.array([technology], dtype=object), study)[0])
        of_these = f" for technology {technology!r}" if technology else ""
        expected = f"raw counts (the catalogue says count_kind: {says}{of_these})"
        where = f"{reader.where} (study {study.name}, part {part_name})"
        missing = 0 if not len(traits.samples) else int(traits.samples["n_not_finite"].sum())
        if missing:
            raise InputError(
                f"{missing:,} of the values looked at are missing or infinite",
                where=where,
                expected=expected,
                found=f"{missing:,} NaN or infinite in {_place(reader)}",
                todo=_way_out(reader, study, Kind(name="scaled", evidence="")),
            )
        kind = detect_kind(traits)
        if _contradicts(kind, says, study, traits):
            n = {"scaled": "n_negative"}.get(kind.name, "n_fractions")
            what = WHAT[kind.name].format(
                n=f"{int(traits.samples[n].sum()):,}", of=f"{int(traits.samples['n_values'].sum()):,}"
            )
            raise InputError(
                what,
                where=where,
                expected=expected,
                found=f"values {examples(traits, kind)} in {_place(reader)} {kind.evidence}",
                todo=_way_out(reader, study, kind),
            )


def _contradicts(kind: Kind, says: str, study: Study, traits: Traits) -> bool:
    if kind.name not in CONTRADICTIONS[says]:
        return False
    if kind.name == "reads" and study.assay != "sc":
        return False  # bulk libraries with UMI reach any depth
    whole_numbers_stated = says != "expected" and traits.samples["n_fractions"].any()
    return kind.sure or bool(whole_numbers_stated)


def _traits_by_technology(reader: PartReader, study: Study, part_name: str) -> dict[str, Traits]:
    constants = next(part.constants for part in study.parts if part.name == part_name)
    matrices: dict[str, list[sparse.csr_matrix]] = {}
    for block in reader.some_blocks(N_BLOCKS, _rows_a_block(reader)):
        if study.obs.technology is None:
            matrices.setdefault("", []).append(block.counts)
            continue
        labels = label_samples(block.obs.assign(**constants), study, part_name, where=reader.where)
        technology = labels["technology"].to_numpy()
        for value in np.unique(technology.astype(str)):
            matrices.setdefault(str(value), []).append(block.counts[np.flatnonzero(technology == value)])
    return {technology: measure(found) for technology, found in matrices.items()}


def _rows_a_block(reader: PartReader) -> int:
    blocks = [block.counts for block in reader.some_blocks(FEW_ROWS, 1)]
    values = sum(counts.nnz for counts in blocks) / max(1, sum(counts.shape[0] for counts in blocks))
    return max(FEW_ROWS, min(N_ROWS, int(N_VALUES / (N_BLOCKS * max(1.0, values)))))


def _place(reader: PartReader) -> str:
    """Return the matrix inside the file as users write it, raw.X; the file's name where it holds one matrix."""
    path, _, matrix = reader.where.rpartition(", ")
    if path and re.match(r"(X|raw/X|layers/.+)$", matrix):
        return matrix.replace("/", ".", 1)
    return PurePath(reader.where).name


def _way_out(reader: PartReader, study: Study, found_kind: Kind) -> str:
    kind = found_kind.name
    if kind == "coverage":
        return "divide coverage by the read length (recount3's transform_counts) and use the result, or use read counts"
    if kind in ("umi", "reads"):
        return f"correct `count_kind` of the study in the catalogue (count_kind: {kind}), or its files"
    if kind == "smartseq_tpm":
        return (
            "set `count_kind: smartseq_tpm`, or name these samples in `count_kinds_by_technology`: recipes leave them "
            "out; or use the read counts of this study"
        )
    others: Callable[[], list[tuple[str, bool]]] | None = getattr(reader, "other_matrices", None)
    matrices = others() if others is not None else []
    if raw := [name for name, looks_like_counts in matrices if looks_like_counts]:
        return f"name the raw matrix in the catalogue: `matrix: {raw[0]}` of the same file holds integers"
    advice = "no other matrix of this file holds integers: " if others is not None else ""
    advice += "point the catalogue at the raw count matrix of this study"
    if (kind == "expected" or not found_kind.sure) and study.count_kind != "expected":
        advice += (
            ", or set `count_kind: expected` if these are RSEM expected counts, which are then rounded and recorded"
        )
    return advice
