"""A study, an axis and its files, built in code: small enough to check by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from curation.axis import ALIAS_COLUMNS, GeneAxis
from curation.blocks import PartReader
from curation.catalog import Part, Study
from curation.file_sums import file_sum, sums_below
from curation.readers import open_part


@pytest.fixture
def axis() -> GeneAxis:
    """Eight genes: two share a symbol, one has none; HGNC knows older names of some."""
    symbols = ["TP53", "ACTB", "MARCHF1", "Y_RNA", "Y_RNA", "", "QARS1", "C1orf112"]
    genes = pl.DataFrame(
        {
            "ensembl_id": [f"ENSG{number:011d}" for number in range(1, 9)],
            "symbol": symbols,
            "biotype": "protein_coding",
            "chromosome": "chr1",
        }
    )
    names = [
        ("TP53", 1, "approved"),
        ("7157", 1, "entrez"),
        ("P53", 1, "alias"),
        ("60", 2, "entrez"),
        ("MARCH1", 3, "previous"),
        ("SHARED", 1, "alias"),
        ("SHARED", 2, "alias"),
        ("ACTB", 7, "alias"),
        ("AAVS1", 99, "approved"),
        ("AAVS1", 1, "alias"),
        ("HALFKNOWN", 99, "alias"),
        ("HALFKNOWN", 2, "alias"),
    ]
    rows = [(name, f"ENSG{number:011d}", kind) for name, number, kind in names]
    return GeneAxis(genes=genes, names=pl.DataFrame(rows, schema=list(ALIAS_COLUMNS), orient="row"))


@pytest.fixture
def make_study() -> Callable[..., Study]:
    """Build a study from the fields that a test cares about."""

    def build(**fields: Any) -> Study:
        files = sorted({path for part in fields["parts"] for path in part["files"].values()})
        entry: dict[str, Any] = {
            "name": "toy",
            "title": "toy",
            "citation": {},
            "licence": "CC0",
            "role": "train",
            "publication_key": ["toy", "toy"],
            "assay": "sc",
            "organism": "human",
            "simulated": False,
            "count_kind": "umi",
            "gene_ids": "symbol",
            "gene_prefix_keep": None,
            "expected": None,
            "obs": {},
            "filters": [],
            "files": {path: {"addresses": [f"file:{path}"]} for path in files},
            "simulation": None,
            "alternatives": [],
            "do_not_use": [],
            "notes": "",
            "status": {},
        }
        return Study.from_mapping(entry | fields)

    return build


@pytest.fixture(name="write_mtx")
def write_mtx_fixture() -> Callable[..., Mapping[str, str]]:
    """Return `write_mtx`."""
    return write_mtx


def write_mtx(folder: Path, counts: np.ndarray, genes: list[str], samples: list[str]) -> Mapping[str, str]:
    """Write samples-by-genes `counts` as a Cell Ranger v3 triplet, gene by gene; return the part's files."""
    folder.mkdir(parents=True, exist_ok=True)
    gene_of, sample_of = np.nonzero(counts.T)
    lines = [f"{g + 1} {s + 1} {counts[s, g]}" for g, s in zip(gene_of, sample_of, strict=True)]
    header = ["%%MatrixMarket matrix coordinate integer general", "%", f"{len(genes)} {len(samples)} {len(lines)}"]
    with gzip.open(folder / "matrix.mtx.gz", "wt") as handle:
        handle.write("\n".join([*header, *lines]) + "\n")
    with gzip.open(folder / "features.tsv.gz", "wt") as handle:
        handle.write("".join(f"{gene}\t{gene}\tGene Expression\n" for gene in genes))
    with gzip.open(folder / "barcodes.tsv.gz", "wt") as handle:
        handle.write("".join(f"{sample}\n" for sample in samples))
    return {"matrix": "matrix.mtx.gz", "features": "features.tsv.gz", "barcodes": "barcodes.tsv.gz"}


@pytest.fixture
def open_table(tmp_path: Path) -> Callable[..., PartReader]:
    """Open a part of `tmp_path` from its fields; temporary runs go to `tmp_path / "scratch"`."""
    (tmp_path / "scratch").mkdir()

    def open_(*, columns: frozenset[str] | None = None, **fields: Any) -> PartReader:
        part = Part(**{"name": "p", **fields})
        return open_part(part, sources=tmp_path, scratch=tmp_path / "scratch", columns=columns)

    return open_


@pytest.fixture(name="read_table")
def read_table_fixture() -> Callable[[PartReader], tuple[np.ndarray, pd.DataFrame]]:
    """Return `read_table`."""
    return read_table


def read_table(reader: PartReader) -> tuple[np.ndarray, pd.DataFrame]:
    """Read a part twice, and pieces of it; return its counts and obs once all of them agree. Closes the reader."""
    blocks = list(reader.blocks())
    counts = np.concatenate([block.counts.toarray() for block in blocks])
    obs = pd.concat([block.obs for block in blocks])
    np.testing.assert_array_equal(counts, np.concatenate([block.counts.toarray() for block in reader.blocks()]))
    assert len(obs) == reader.n_samples
    assert counts.shape[1] == len(reader.gene_ids)
    for n_blocks, n_rows in ((1, 2), (2, 1), (3, 1), (2, 100)):
        some = list(reader.some_blocks(n_blocks, n_rows))
        assert len(some) <= n_blocks
        places = [place for block in some for place in obs.index.get_indexer(block.obs.index)]
        assert places == sorted(set(places))
        assert places[0] == 0
        assert n_blocks == 1 or places[-1] == len(obs) - 1
        np.testing.assert_array_equal(np.concatenate([block.counts.toarray() for block in some]), counts[places])
        pd.testing.assert_frame_equal(pd.concat([block.obs for block in some]), obs.iloc[places])
    reader.close()
    return counts, obs


@pytest.fixture(name="edit_json")
def edit_json_fixture() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """Return `edit_json`."""
    return edit_json


@pytest.fixture(name="restate")
def restate_fixture() -> Callable[..., None]:
    """Return `restate`."""
    return restate


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON object of a file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def restate(corpus: Path, store: str, **attributes: Any) -> None:
    """Write the sums of a store's files anew, and that of its root metadata, as its writer would have."""
    root = corpus / store / "zarr.json"
    edit_json(root, lambda m: m["attributes"].update(attributes, files=sums_below(corpus / store, {})))
    sha256 = file_sum(root)["sha256"]

    def state(manifest: dict[str, Any]) -> None:
        next(entry for entry in manifest["stores"] if entry["path"] == store)["zarr_json_sha256"] = sha256

    edit_json(corpus / "corpus.json", state)
